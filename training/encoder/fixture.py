"""What the tests hold the Worker to: PyTorch's vectors, of the shipped int8 model and of a small f32 one; and graphs that must be refused.

    python training/encoder/fixture.py --checkpoint runs/encoder/encoder.pt --model models/dunlin/model.onnx
"""
import argparse
import json
import os

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

import tokenizer as tk
from data import HERE, RUNS
from export import export
from model import Encoder, pool
from quantized import quantized
from train import pad
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

OUT = os.path.join(HERE, "..", "..", "tests", "fixtures", "embedder")
TEXTS = ["The ship left the harbour at dawn.", "How old is Mara?", "It rained.", "Élan vital: naïve café, ÜBER-straße!", "x", "1,204.50 dollars & 17 cents",
         "turnstones turn stones over at the water's edge, looking for sandhoppers", "日本語 and emoji 🐦 are mostly unknown words",
         "She sells sea shells by the sea shore. " * 12, "A\tB\nC   D", "unbelievablylongwordthatisnotinthevocabularyatall", "What does the passage say about the lighthouse keeper's daughter?"]


def vectors(model, tok, texts):
    rows = [np.array(tok.encode(t).ids) for t in texts]
    with torch.no_grad():  # one by one: no padding, no neighbours
        out = [pool(model(*x), x[1])[0] for x in (pad([r]) for r in rows)]
    return {"texts": texts, "ids": [r.tolist() for r in rows], "vectors": [[float(f"{x:.9g}") for x in v.tolist()] for v in out]}


def save(name, value):
    with open(os.path.join(OUT, name), "w") as f:
        json.dump(value, f, separators=(",", ":"), ensure_ascii=False)


def small():
    """A model of the same architecture with random weights in f32, and a tokenizer of its own."""
    torch.manual_seed(11)
    tok = tk.Tokenizer(models.WordPiece(unk_token=tk.UNK))
    tok.normalizer, tok.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    tok.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=[tk.PAD, tk.UNK], show_progress=False))
    model = Encoder(vocab=tok.get_vocab_size(), dim=32, heads=4, inner=16)
    for layer in model.layers:
        for last in (layer.out, layer.down):
            torch.nn.init.normal_(last.weight, std=0.2)
            torch.nn.init.normal_(last.bias, std=0.1)
    folder = os.path.join(OUT, "small")
    os.makedirs(folder, exist_ok=True)
    export(model.eval(), os.path.join(folder, "model.onnx"))
    tok.save(os.path.join(folder, "tokenizer.json"))
    return vectors(model, tok, TEXTS)


def refused():
    """Graphs that look like an encoder and hold an operator that is not there."""
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "tokens"])
    out = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", 8])
    table = helper.make_tensor("table", TensorProto.FLOAT, [300, 8], np.ones(2400, dtype=np.float32))
    bias = helper.make_tensor("bias", TensorProto.FLOAT, [16], np.ones(16, dtype=np.float32))
    gather = helper.make_node("Gather", ["table", "input_ids"], ["x"], name="look_up")
    ends = {"own-domain": (helper.make_node("FlashEncoder", ["x"], ["last_hidden_state"], name="encode", domain="com.example"), "com.example"),
            "no-such-operator": (helper.make_node("FlashEncoder", ["x"], ["last_hidden_state"], name="encode"), ""),
            "not-built-in": (helper.make_node("BiasSplitGelu", ["x", "bias"], ["last_hidden_state"], name="activate", domain="com.microsoft"), "com.microsoft")}
    for name, (node, domain) in ends.items():
        sets = [helper.make_opsetid("", 20)] + ([helper.make_opsetid(domain, 1)] if domain else [])
        graph = helper.make_graph([gather, node], "encoder", [ids, mask], [out], [table, bias])
        onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=10), os.path.join(OUT, f"{name}.onnx"))


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--checkpoint", default=os.path.join(RUNS, "encoder.pt"))
    p.add_argument("--model", default=os.path.join(HERE, "..", "..", "models", "dunlin", "model.onnx"))
    p.add_argument("--only-small", action="store_true")
    a = p.parse_args()
    os.makedirs(OUT, exist_ok=True)
    refused()
    save("small.json", small())
    if not a.only_small:
        model = Encoder()
        model.load_state_dict(torch.load(a.checkpoint))
        tok = Tokenizer.from_file(os.path.join(os.path.dirname(a.model), "tokenizer.json"))
        save("dunlin.json", vectors(quantized(model, a.model), tok, TEXTS))


if __name__ == "__main__":
    main()
