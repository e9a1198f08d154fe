"""Turnstone's kernels as PyTorch ops: `torch.ops.turnstone.{w4_linear, w8_linear, k_quant_linear, paged_attention}`.

On CPU they run the server's wasm kernels and give its bits (NUMERICS.md). Activations are quantized to int8 in blocks of 32, weights to the
nearest value of their format. Gradients are straight-through: those of a linear layer at the quantized values.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .bridge import bridge

BLOCK = 32
#: Tokens a KV page.
PAGE = 16
#: What computes: `wasm`, the server's kernels, or `reference`, the slow specification of their bits.
BACKEND = "wasm"
#: GGUF's block formats: elements and bytes of a block.
K_QUANTS = {
    **{"Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210), "IQ4_XS": (256, 136)},
    **{"Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34), "IQ4_NL": (32, 18), "MXFP4": (32, 17)},
}


def w4_values(weight: Tensor) -> Tensor:
    """The values [N, K] that w4 holds for these: blocks of 32, scale (float16) the element of largest magnitude / −8."""
    b = weight.detach().double().reshape(*weight.shape[:-1], -1, BLOCK)
    largest = b.gather(-1, b.abs().argmax(-1, keepdim=True))
    d = (largest / -8).half().double()
    q = torch.where(d == 0, torch.zeros_like(b), torch.floor(b / d + 0.5)).clamp(-8, 7)
    return (q * d).reshape(weight.shape).to(weight.dtype)


def w8_values(weight: Tensor) -> Tensor:
    """The values [N, K] that w8 holds for these: blocks of 32, scale (float16) the largest magnitude / 127."""
    b = weight.detach().double().reshape(*weight.shape[:-1], -1, BLOCK)
    d = (b.abs().amax(-1, keepdim=True) / 127).half().double()
    q = torch.where(d == 0, torch.zeros_like(b), torch.floor(b / d + 0.5)).clamp(-127, 127)
    return (q * d).reshape(weight.shape).to(weight.dtype)


def a8_values(x: Tensor) -> Tensor:
    """What int8 activations hold for x: blocks of 32, q = round-half-even(x · 127/amax), value q · amax/127."""
    b = x.detach().float().reshape(*x.shape[:-1], -1, BLOCK)
    amax = b.abs().amax(-1, keepdim=True)
    inverse = torch.where(amax >= 2.0**-100, 127.0 / amax, torch.zeros_like(amax))
    return (torch.round((b * inverse).clamp(-127, 127)) * (amax / 127.0)).reshape(x.shape)


def _check(x: Tensor, N: int, K: int, bias: Tensor | None) -> None:
    if x.shape[-1] != K:
        raise ValueError(f"x has rows of {x.shape[-1]}, the weight has K = {K}")
    if K % BLOCK:
        raise ValueError(f"K is {K}, must be a multiple of {BLOCK}")
    if bias is not None and bias.shape != (N,):
        raise ValueError(f"bias has the shape {tuple(bias.shape)}, must be [{N}]")


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, N: int, K: int, type: str, format: str) -> Tensor:
    _check(x, N, K, bias)
    rows = x.reshape(-1, K).float()
    if rows.shape[0] == 0:
        return x.new_zeros(*x.shape[:-1], N)
    holds = f"{weight.data_ptr()} {weight._version} {tuple(weight.shape)} {type}"
    args = {"backend": BACKEND, "N": N, "K": K, "type": type, "format": format, "holds": holds, "bias": bias is not None}
    tail = [] if bias is None else [bias.float()]
    data = weight.float() if type == "F32" else weight
    # a version says whether a tensor was changed in place, not whether another now lies where it lay: only parameters are kept
    kept = isinstance(weight, torch.nn.Parameter) and not weight.requires_grad
    value, out = bridge().call("ops.linear", args, [rows, *([] if kept else [data]), *tail])
    if value.get("missing"):
        value, out = bridge().call("ops.linear", args, [rows, data, *tail])
    return out[0].reshape(*x.shape[:-1], N).to(x.dtype)


@torch.library.custom_op("turnstone::w4_linear", mutates_args=(), device_types="cpu")
def w4_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [.., K] · weight[N, K]ᵀ + bias in w4 and int8: y [.., N]. K is a multiple of 32."""
    return _linear(x, weight, bias, weight.shape[0], weight.shape[1], "F32", "w4")


@torch.library.custom_op("turnstone::w8_linear", mutates_args=(), device_types="cpu")
def w8_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [.., K] · weight[N, K]ᵀ + bias in w8 and int8: y [.., N]. K is a multiple of 32."""
    return _linear(x, weight, bias, weight.shape[0], weight.shape[1], "F32", "w8")


def _k_shape(blocks: Tensor, type: str) -> tuple[int, int]:
    if type not in K_QUANTS:
        raise ValueError(f"type is {type!r}, must be one of {', '.join(K_QUANTS)}")
    elements, size = K_QUANTS[type]
    if blocks.dtype != torch.uint8 or blocks.dim() != 2 or blocks.shape[1] % size:
        raise ValueError(f"blocks must be uint8 [N, n · {size}] for {type}")
    return blocks.shape[0], blocks.shape[1] // size * elements


@torch.library.custom_op("turnstone::k_quant_linear", mutates_args=(), device_types="cpu")
def k_quant_linear(x: Tensor, blocks: Tensor, type: str, bias: Tensor | None = None) -> Tensor:
    """x [.., K] times a matrix in GGUF's blocks (uint8 [N, bytes a row]) of `type`, in the format in which the server serves that type: y [.., N]."""
    N, K = _k_shape(blocks, type)
    return _linear(x, blocks, bias, N, K, type, "auto")


@torch.library.custom_op("turnstone::paged_attention", mutates_args=(), device_types="cpu")
def paged_attention(
    q: Tensor, pages: Tensor, positions: Tensor, sequences: Tensor, blocks: Tensor, kv_heads: int, format: str = "i8", layers: int = 1, layer: int = 0
) -> Tensor:
    """Causal attention over KV pages, as the server computes it: q [T, H, d] → [T, H, d].

    `pages` uint8 [P, bytes] (engine/layout.ts; `write_pages` makes them), `positions` and `sequences` int [T], `blocks` int [S, M] the page numbers
    of each sequence. A token sees positions 0 to its own.
    """
    words = [t.to(torch.int64).numpy().astype("uint32") for t in (positions, sequences, blocks)]
    args = {"backend": BACKEND, "format": format, "kvHeads": kv_heads, "layers": layers, "layer": layer}
    _, out = bridge().call("ops.attention", args, [q.float(), pages, *words])
    return out[0].to(q.dtype)


def write_pages(k: Tensor, v: Tensor, format: str = "i8") -> Tensor:
    """Keys and values [T, G, d] of one sequence as pages, uint8 [ceil(T / 16), bytes], quantized as the server does. Keys are rotated already."""
    _, out = bridge().call("ops.pages", {"backend": BACKEND, "format": format}, [k.float(), v.float()])
    return out[0]


@w4_linear.register_fake
@w8_linear.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@k_quant_linear.register_fake
def _(x: Tensor, blocks: Tensor, type: str, bias: Tensor | None = None) -> Tensor:
    return x.new_empty(*x.shape[:-1], blocks.shape[0])


@paged_attention.register_fake
def _(
    q: Tensor, pages: Tensor, positions: Tensor, sequences: Tensor, blocks: Tensor, kv_heads: int, format: str = "i8", layers: int = 1, layer: int = 0
) -> Tensor:
    return torch.empty_like(q)


def _remember(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:
    x, weight, bias = inputs
    ctx.save_for_backward(x, weight)
    ctx.has_bias = bias is not None  # type: ignore[attr-defined]


def _backward_with(values):  # type: ignore[no-untyped-def]
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        x, weight = ctx.saved_tensors
        N = weight.shape[0]
        gx = grad @ values(weight) if ctx.needs_input_grad[0] else None
        gw = grad.reshape(-1, N).t() @ a8_values(x).reshape(-1, x.shape[-1]) if ctx.needs_input_grad[1] else None
        gb = grad.reshape(-1, N).sum(0) if ctx.has_bias else None
        return gx, gw, gb

    return backward


w4_linear.register_autograd(_backward_with(w4_values), setup_context=_remember)
w8_linear.register_autograd(_backward_with(w8_values), setup_context=_remember)


class W4Linear(torch.nn.Linear):
    """nn.Linear that computes as the server does in w4, and trains straight through (QAT)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias) if input.is_cuda else w4_linear(input, self.weight, self.bias)
