"""Llama: RMSNorm, rotate-half RoPE, grouped-query attention, SwiGLU, tied head."""
import math
from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from quant import fake_a8, fake_kv8, fake_w4


@dataclass
class Config:
    vocab: int = 4096
    dim: int = 192
    layers: int = 6
    heads: int = 6
    kv_heads: int = 2
    head_dim: int = 32
    ffn: int = 512
    context: int = 2048
    theta: float = 10000.0
    eps: float = 1e-5

    def dict(self):
        return asdict(self)


class Norm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rope_tables(cfg):
    inv = 1.0 / (cfg.theta ** (torch.arange(0, cfg.head_dim, 2).float() / cfg.head_dim))
    f = torch.outer(torch.arange(cfg.context).float(), inv)
    f = torch.cat((f, f), -1)
    return f.cos(), f.sin()


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


def attention(q, k, v):
    """Causal attention. Short bfloat16 rows on a CPU go faster as plain matmuls than as the fused kernel."""
    T = q.shape[2]
    if q.dtype != torch.bfloat16 or q.is_cuda or T > 448:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    with torch.autocast("cpu", enabled=False):
        bias = torch.full((T, T), float("-inf"), dtype=q.dtype).triu(1)
        return F.softmax((q * q.shape[-1] ** -0.5) @ k.mT + bias, -1) @ v


class Layer(nn.Module):
    """One block; `qat` makes every matmul see w4 weights and int8 activations."""

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        d, h, k, hd = cfg.dim, cfg.heads, cfg.kv_heads, cfg.head_dim
        self.qkv = nn.Parameter(torch.empty((h + 2 * k) * hd, d))
        self.o = nn.Parameter(torch.empty(d, h * hd))
        self.gate_up = nn.Parameter(torch.empty(2 * cfg.ffn, d))
        self.down = nn.Parameter(torch.empty(d, cfg.ffn))
        self.norm1, self.norm2 = Norm(d, cfg.eps), Norm(d, cfg.eps)
        for p in (self.qkv, self.gate_up):
            nn.init.normal_(p, std=0.6 / math.sqrt(d))
        for p, n in ((self.o, h * hd), (self.down, cfg.ffn)):
            nn.init.normal_(p, std=0.6 / math.sqrt(n) / math.sqrt(2 * cfg.layers))

    def qkv_heads(self, x, cos, sin, qat):
        c = self.cfg
        B, T, _ = x.shape
        y = matmul(self.norm1(x), self.qkv, qat)
        q, k, v = y.split((c.heads * c.head_dim, c.kv_heads * c.head_dim, c.kv_heads * c.head_dim), -1)
        q = rotate(q.view(B, T, c.heads, c.head_dim).transpose(1, 2).float(), cos, sin)
        k = rotate(k.view(B, T, c.kv_heads, c.head_dim).transpose(1, 2).float(), cos, sin)
        v = v.view(B, T, c.kv_heads, c.head_dim).transpose(1, 2)
        if qat:
            k, v = fake_kv8(k), fake_kv8(v)
        return q.to(v.dtype), k.to(v.dtype), v

    def finish(self, x, att, qat):
        B, T, _ = x.shape
        x = x + matmul(att.transpose(1, 2).reshape(B, T, -1), self.o, qat)
        g, u = matmul(self.norm2(x), self.gate_up, qat).chunk(2, -1)
        return x + matmul(F.silu(g) * u, self.down, qat)

    def forward(self, x, cos, sin, qat):
        c = self.cfg
        q, k, v = self.qkv_heads(x, cos, sin, qat)
        n = c.heads // c.kv_heads
        k, v = k.repeat_interleave(n, 1), v.repeat_interleave(n, 1)
        return self.finish(x, attention(q, k, v), qat)


def matmul(x, w, qat):
    if qat == "kernels":  # the server's own, straight-through backward
        return torch.ops.turnstone.w4_linear(x.float(), w)
    if qat:
        x = fake_a8(x)
        w = w if qat == "baked" else fake_w4(w)  # "baked": the weights are w4 values already
    return F.linear(x, w)


class Pebble(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.embed = nn.Parameter(torch.randn(cfg.vocab, cfg.dim) * 0.05)
        self.layers = nn.ModuleList(Layer(cfg) for _ in range(cfg.layers))
        self.norm = Norm(cfg.dim, cfg.eps)
        cos, sin = rope_tables(cfg)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def trunk(self, ids, qat=False):
        """Final normalized states [B, T, D]."""
        T = ids.shape[1]
        x = F.embedding(ids, fake_w4(self.embed) if qat and qat != "baked" else self.embed)
        cos, sin = self.cos[:T], self.sin[:T]
        for layer in self.layers:
            x = layer(x, cos, sin, qat)
        return self.norm(x)

    def head(self, x, qat=False):
        return matmul(x, self.embed, qat)

    def forward(self, ids, qat=False):
        return self.head(self.trunk(ids, qat), qat)

    def count(self):
        return sum(p.numel() for p in self.parameters())
