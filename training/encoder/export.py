"""ONNX by torch.onnx (dynamo exporter), int8 by ONNX Runtime's own quantizers; both checked against PyTorch."""
import argparse
import os
import shutil

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

import tokenizer as tk
from batches import Pairs
from data import RUNS
from model import Encoder, pool
from train import pad


def export(model, path):
    """input_ids, attention_mask int64 [batch, tokens] -> last_hidden_state f32 [batch, tokens, dim]; one file."""
    model.eval()
    x = [torch.ones(2, 9, dtype=torch.int64) for _ in range(2)]  # two tensors: of one the exporter makes one input
    size = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    torch.onnx.export(model, tuple(x), path, dynamo=True, external_data=False, opset_version=20, input_names=["input_ids", "attention_mask"],
                      output_names=["last_hidden_state"], dynamic_shapes=(size, size), optimize=True, verbose=False)
    m = onnx.load(path)
    for n in m.graph.node:  # where every line of PyTorch went is of no use at run time
        del n.metadata_props[:]
        n.doc_string = ""
    for v in list(m.graph.value_info) + list(m.graph.input) + list(m.graph.output):
        del v.metadata_props[:]
    del m.graph.metadata_props[:]
    onnx.checker.check_model(m)
    onnx.save(m, path)


class Texts(CalibrationDataReader):
    """Training texts, one at a time: activations' ranges come from them."""

    def __init__(self, count=256):
        q, p = Pairs(seed=3).batch(count, 128)
        self.rows = iter(q[:count // 2] + p[:count // 2])

    def get_next(self):
        row = next(self.rows, None)
        if row is None:
            return None
        ids, mask = pad([row])
        return {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}


def int8(f32, path):
    """The table and every matrix in int8, activations in uint8 with ranges measured beforehand.

    Not with ranges of each run (dynamic quantization): those are of a whole batch, and a vector would depend on what is computed with it.
    """
    products = [n for n in onnx.load(f32).graph.node if n.op_type == "MatMul"]
    weights = {t.name for t in onnx.load(f32).graph.initializer}
    table = path + ".table"
    quantize_dynamic(f32, table, weight_type=QuantType.QInt8, op_types_to_quantize=["Gather"])
    quantize_static(table, path, Texts(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    op_types_to_quantize=["MatMul"], nodes_to_exclude=[n.name for n in products if n.input[1] not in weights],
                    extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]})
    os.remove(table)


def embed(session, rows):
    ids, mask = pad(rows)
    out = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]
    return pool(torch.from_numpy(out), mask).numpy()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--checkpoint", default=os.path.join(RUNS, "encoder.pt"))
    a = p.parse_args()
    model = Encoder()
    model.load_state_dict(torch.load(a.checkpoint))
    paths = {k: os.path.join(RUNS, k, "model.onnx") for k in ("f32", "int8")}
    for x in paths.values():
        os.makedirs(os.path.dirname(x), exist_ok=True)
        shutil.copy(os.path.join(RUNS, "tokenizer.json"), os.path.dirname(x))
    export(model, paths["f32"])
    int8(paths["f32"], paths["int8"])
    tok = tk.Tokenizer.from_file(os.path.join(RUNS, "tokenizer.json"))
    rows = [np.array(e.ids) for e in tok.encode_batch(["The ship left the harbour at dawn.", "How old is Mara?", "It rained."])]
    with torch.no_grad():
        ids, mask = pad(rows)
        want = pool(model(ids, mask), mask).numpy()
    for k, x in paths.items():
        got = embed(ort.InferenceSession(x, providers=["CPUExecutionProvider"]), rows)
        ops = sorted({n.op_type for n in onnx.load(x).graph.node})
        print(f"{k:8} {os.path.getsize(x) / 1e6:.2f} MB, largest difference from PyTorch {np.abs(got - want).max():.2e}\n         {' '.join(ops)}")


if __name__ == "__main__":
    main()
