"""The arithmetic of the int8 graph in PyTorch, from the graph's own numbers: what ONNX Runtime must give."""
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper


class IntLinear(torch.nn.Module):
    """y = (clamp(round(x / s) + z, 0, 255) - z) s · (w ws) + b, with w int8 [K, N] and ws a scale a column."""

    def __init__(self, scale, zero, w, ws, bias):
        super().__init__()
        self.scale, self.zero, self.bias, self.in_features = scale, zero, bias, w.shape[0]
        self.w, self.ws = torch.tensor(w.astype(np.float32)), torch.tensor(ws)

    def forward(self, x):
        q = torch.clamp(torch.round(x / self.scale) + self.zero, 0, 255) - self.zero
        return (q @ self.w) * (self.ws * self.scale) + self.bias  # sums of products of integers are exact below 2^24


def quantized(model, path):
    """`model` (trained, f32) with the table and the matrices of the int8 graph at `path`, in its order of layers."""
    m = onnx.load(path)
    value = {t.name: numpy_helper.to_array(t) for t in m.graph.initializer}
    made = {n.output[0]: n for n in m.graph.node}
    gather = next(n for n in m.graph.node if n.op_type == "Gather" and n.input[1] == "input_ids")
    table = next(n for n in m.graph.node if n.op_type == "DequantizeLinear" and n.input[0] == gather.output[0])
    q, s, z = (value[x] for x in (gather.input[0], table.input[1], table.input[2]))
    with torch.no_grad():
        model.embed.weight.copy_(torch.tensor((q.astype(np.float32) - np.float32(z)) * s))
    products = [n for n in m.graph.node if n.op_type == "MatMul" and n.input[1] in made and made[n.input[1]].op_type == "DequantizeLinear"]
    slots = [(layer, k) for layer in model.layers for k in ("qkv", "out", "up", "down")]
    assert len(products) == len(slots)
    for n, (layer, k) in zip(products, slots):
        a, w = made[made[n.input[0]].input[0]], made[n.input[1]]
        assert a.op_type == "QuantizeLinear" and not value[w.input[2]].any()
        setattr(layer, k, IntLinear(float(value[a.input[1]]), float(value[a.input[2]]), value[w.input[0]], value[w.input[1]], getattr(layer, k).bias.detach()))
    return model.eval()
