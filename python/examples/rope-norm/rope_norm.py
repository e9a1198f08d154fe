"""The PyTorch side of an op from outside: what it computes, its shapes, and where its tile program is."""

from pathlib import Path

import torch
from torch import Tensor

from turnstone import device_op


@torch.library.custom_op("example::rope_norm", mutates_args=())
def rope_norm(x: Tensor, g: Tensor, table: Tensor, eps: float) -> Tensor:
    """RMSNorm of every head of x [T, H, d], then its rotation; table [T, d]: d/2 cosines, then d/2 sines."""
    a, b = (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * g).chunk(2, -1)
    cos, sin = table[:, None].chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


@rope_norm.register_fake
def _(x: Tensor, g: Tensor, table: Tensor, eps: float) -> Tensor:
    return torch.empty_like(x)


device_op(
    "example::rope_norm",
    name="example.rope-norm",
    module=Path(__file__).parent / "rope-norm.ts",
    args=("x", "g", "table"),
    shape=lambda x, g, table, eps: {"T": x.shape[0], "H": x.shape[1], "d": x.shape[2], "eps": eps},
)
