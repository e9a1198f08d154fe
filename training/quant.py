"""Fake quantization with the runtime's exact arithmetic (straight-through gradients).

Weights, `w4`: blocks of 32 along the input dimension. m = the block's value of
largest magnitude (signed), d = m / -8 rounded to bfloat16 (so exact in float16
too), q = clamp(round_half_even(x / d) + 8, 0, 15), value (q - 8) * d.
The value at m is exactly -8 * d, so quantizing dequantized weights again gives
the same d and q, and (q - 8) * d needs at most 11 bits: exact in float16.

Activations: blocks of 32, q = round_half_even(x * 127 / amax), value
q * (amax / 127). Keys (after RoPE) and values: the same with one block for each
(token, head).
"""
import torch

BLOCK = 32


def w4_parts(w):
    """Return (d, q) of a [N, K] weight: d [N, K/32] float32, q [N, K/32, 32] in 0..15."""
    b = w.detach().float().reshape(w.shape[0], -1, BLOCK)
    mx, mn = b.amax(-1), b.amin(-1)
    m = torch.where(mx > -mn, mx, mn)
    d = (m * -0.125).to(torch.bfloat16).float()
    inv = torch.where(d == 0, torch.zeros_like(d), 1.0 / d)
    q = (torch.round(b * inv.unsqueeze(-1)) + 8).clamp(0, 15)
    return d, q


def w4_round(w):
    """Nearest w4 values of a [N, K] weight, as float32."""
    d, q = w4_parts(w)
    return ((q - 8) * d.unsqueeze(-1)).reshape(w.shape)


def fake_w4(w):
    """w4 values forward, identity backward."""
    return w + (w4_round(w) - w).detach()


def int8_round(x, block):
    """Symmetric int8 over runs of `block` along the last axis, dequantized."""
    b = x.detach().float().reshape(*x.shape[:-1], -1, block)
    amax = b.abs().amax(-1, keepdim=True)
    inv = torch.where(amax > 0, 127.0 / amax, torch.zeros_like(amax))
    return (torch.round(b * inv) * (amax / 127.0)).reshape(x.shape)


def fake_a8(x):
    """int8 activations in blocks of 32 forward, identity backward."""
    return x + (int8_round(x, BLOCK) - x).detach()


def fake_kv8(x):
    """int8 keys or values, one scale for each (token, head), identity backward."""
    return x + (int8_round(x, x.shape[-1]) - x).detach()
