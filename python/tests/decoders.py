"""Decoders as people write them, small and random."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

V, D, H, G, FF, T = 288, 64, 4, 2, 96, 128
HEAD = D // H


def randomized(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights that make every part count: gains around 1, biases, matrices of unit gain."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            noise = torch.randn(p.shape, generator=g)
            p.copy_(1 + 0.1 * noise if p.dim() == 1 and p.mean() > 0.5 else noise * (0.1 if p.dim() == 1 else p.shape[-1] ** -0.5))
    return module.eval()


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.eps) * self.weight


class ComplexLlama(nn.Module):
    """As Meta's own code: pairs (2i, 2i + 1) as complex numbers, fused qkv, keys repeated by expand, attention written out, silu as x · sigmoid(x)."""

    def __init__(self, layers: int = 2):
        super().__init__()
        self.embed = nn.Embedding(V, D)
        self.layers = nn.ModuleList([ComplexLayer() for _ in range(layers)])
        self.norm = RMSNorm(D)
        self.head = nn.Linear(D, V, bias=False)
        freqs = 1.0 / 10000 ** (torch.arange(0, HEAD, 2).float() / HEAD)
        angles = torch.outer(torch.arange(T).float(), freqs)
        self.register_buffer("turns", torch.polar(torch.ones_like(angles), angles), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        n = ids.shape[1]
        mask = torch.full((n, n), float("-inf")).triu(1)
        for layer in self.layers:
            x = layer(x, self.turns[:n], mask)
        return self.head(self.norm(x))


def turned(x: Tensor, turns: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns[None, :, None]).flatten(3)


class ComplexLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(D), RMSNorm(D)
        self.qkv = nn.Linear(D, (H + 2 * G) * HEAD, bias=False)
        self.o = nn.Linear(D, D, bias=False)
        self.gate_up = nn.Linear(D, 2 * FF, bias=False)
        self.down = nn.Linear(FF, D, bias=False)

    def forward(self, x: Tensor, turns: Tensor, mask: Tensor) -> Tensor:
        B, n, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).split([H * HEAD, G * HEAD, G * HEAD], -1)
        q = turned(q.view(B, n, H, HEAD), turns)
        k = turned(k.view(B, n, G, HEAD), turns)
        v = v.view(B, n, G, HEAD)
        k = k[:, :, :, None].expand(B, n, G, H // G, HEAD).reshape(B, n, H, HEAD).transpose(1, 2)
        v = v[:, :, :, None].expand(B, n, G, H // G, HEAD).reshape(B, n, H, HEAD).transpose(1, 2)
        scores = q.transpose(1, 2) @ k.transpose(2, 3) / math.sqrt(HEAD) + mask
        x = x + self.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(B, n, D))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(gate * torch.sigmoid(gate) * up)


class Compact(nn.Module):
    """In nanoGPT's manner, with today's parts: F.rms_norm, rotate-half, SDPA with enable_gqa, QK-norm, tied head, last logits alone."""

    def __init__(self, layers: int = 2, qk_norm: bool = True, last: bool = False):
        super().__init__()
        self.wte = nn.Embedding(V, D)
        self.blocks = nn.ModuleList([CompactBlock(qk_norm) for _ in range(layers)])
        self.ln_f = nn.RMSNorm(D, eps=1e-6)
        self.lm_head = nn.Linear(D, V, bias=False)
        self.lm_head.weight = self.wte.weight
        self.last = last

    def forward(self, ids: Tensor) -> tuple[Tensor, None]:
        x = self.wte(ids)
        for block in self.blocks:
            x = block(x)
        x = self.ln_f(x)
        return self.lm_head(x[:, [-1]] if self.last else x), None


class CompactBlock(nn.Module):
    def __init__(self, qk_norm: bool):
        super().__init__()
        self.ln_1, self.ln_2 = nn.RMSNorm(D, eps=1e-6), nn.RMSNorm(D, eps=1e-6)
        self.q, self.k, self.v = (nn.Linear(D, n * HEAD, bias=False) for n in (H, G, G))
        self.q_norm, self.k_norm = (nn.RMSNorm(HEAD, eps=1e-6) if qk_norm else nn.Identity() for _ in range(2))
        self.proj = nn.Linear(D, D, bias=False)
        self.w1, self.w3, self.w2 = nn.Linear(D, FF, bias=False), nn.Linear(D, FF, bias=False), nn.Linear(FF, D, bias=False)

    def rotate(self, x: Tensor) -> Tensor:
        n = x.shape[2]
        freqs = 5000.0 ** (-torch.arange(0, HEAD, 2) / HEAD)
        angles = torch.arange(n)[:, None] * freqs
        cos, sin = angles.cos(), angles.sin()
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def forward(self, x: Tensor) -> Tensor:
        B, n, _ = x.shape
        h = self.ln_1(x)
        q = self.rotate(self.q_norm(self.q(h).view(B, n, H, HEAD)).transpose(1, 2))
        k = self.rotate(self.k_norm(self.k(h).view(B, n, G, HEAD)).transpose(1, 2))
        v = self.v(h).view(B, n, G, HEAD).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.proj(y.transpose(1, 2).contiguous().view(B, n, D))
        h = self.ln_2(x)
        return x + self.w2(F.silu(self.w1(h)) * self.w3(h))


class Lora(nn.Module):
    """A linear layer with an adapter beside it, as PEFT's."""

    def __init__(self, base: nn.Linear, rank: int = 4, alpha: float = 8.0):
        super().__init__()
        self.base = base
        self.A = nn.Linear(base.in_features, rank, bias=False)
        self.B = nn.Linear(rank, base.out_features, bias=False)
        self.dropout = nn.Dropout(0.1)
        self.scaling = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.B(self.A(self.dropout(x))) * self.scaling


class NanoGPT(nn.Module):
    """nanoGPT as it is: LayerNorm, learned positions, GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(V, D), nn.Embedding(T, D)
        self.ln = nn.LayerNorm(D)
        self.head = nn.Linear(D, V, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        return self.head(self.ln(x))


class LearnedPositions(Compact):
    """Rotary and learned positions."""

    def __init__(self) -> None:
        super().__init__()
        self.wpe = nn.Embedding(T, D)

    def forward(self, ids: Tensor) -> tuple[Tensor, None]:
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.lm_head(self.ln_f(x)), None


class Experts(nn.Module):
    """An MLP with a router: top 2 of 4."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(D, 4, bias=False)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(D, FF), nn.SiLU(), nn.Linear(FF, D)) for _ in range(4)])

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = self.router(x).softmax(-1).topk(2, -1)
        share = torch.zeros(*x.shape[:-1], 4).scatter(-1, chosen, weights)
        return sum(share[..., i : i + 1] * e(x) for i, e in enumerate(self.experts))
