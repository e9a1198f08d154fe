"""Custom ops: the bits of NUMERICS.md, opcheck, gradients, and no breaks in export and compile."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from turnstone import ops


def blocks_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """i8 activations by NUMERICS.md: q [T, K/32, 32], da [T, K/32]."""
    b = x.reshape(x.shape[0], -1, 32)
    amax = b.abs().amax(-1, keepdim=True)
    inverse = torch.where(amax >= 2.0**-100, 127 / amax, torch.zeros_like(amax))
    return torch.round((b * inverse).clamp(-127, 127)), (amax / 127)[..., 0]


def exact(x: Tensor, q: Tensor, d: Tensor, bias: Tensor | None) -> Tensor:
    """matmul of NUMERICS.md, operation by operation: acc = acc + idot · (dw · da), blocks ascending."""
    a, da = blocks_of(x)
    acc = torch.zeros(x.shape[0], q.shape[0])
    for b in range(a.shape[1]):
        idot = (a[:, b].double() @ q[:, b].double().t()).float()
        acc = acc + idot * (d[None, :, b] * da[:, b, None])
    return acc if bias is None else acc + bias


def rounded(w: Tensor, format: str) -> tuple[Tensor, Tensor]:
    """q [N, K/32, 32] about zero and d [N, K/32] of the nearest values."""
    b = w.reshape(w.shape[0], -1, 32).double()
    largest = b.gather(-1, b.abs().argmax(-1, keepdim=True))
    d = (largest / -8 if format == "w4" else largest.abs() / 127).half().double()
    lo, hi = (-8, 7) if format == "w4" else (-127, 127)
    return torch.floor(b / d + 0.5).clamp(lo, hi).float(), d[..., 0].float()


@pytest.mark.parametrize("format", ["w4", "w8"])
@pytest.mark.parametrize("T", [1, 5, 70])
def test_linear_has_the_servers_bits(format: str, T: int) -> None:
    g = torch.Generator().manual_seed(T)
    x, w, bias = torch.randn(T, 96, generator=g) * 3, torch.randn(40, 96, generator=g), torch.randn(40, generator=g)
    op = getattr(torch.ops.turnstone, f"{format}_linear")
    assert torch.equal(op(x, w, bias), exact(x, *rounded(w, format), bias))
    assert torch.equal(op(x[:, None], w, None)[:, 0], exact(x, *rounded(w, format), None))


def test_a_weight_that_changed_is_sent_again() -> None:
    w = torch.nn.Parameter(torch.randn(8, 32), requires_grad=False)
    x = torch.randn(3, 32)
    first = ops.w8_linear(x, w)
    assert torch.equal(ops.w8_linear(x, w), first)
    w.mul_(-1)
    assert torch.equal(ops.w8_linear(x, w), -first)


def test_k_quants_take_gguf_blocks() -> None:
    """Q8_0 is the w8 of the server without loss; Q4_K's values agree with its definition."""
    g = torch.Generator().manual_seed(1)
    q, d = rounded(torch.randn(8, 64, generator=g), "w8")
    raw = np.concatenate([d.half().numpy().view(np.uint8).reshape(8, 2, 2), q.numpy().astype(np.int8).view(np.uint8)], -1).reshape(8, -1)
    x = torch.randn(5, 64, generator=g)
    assert torch.equal(torch.ops.turnstone.k_quant_linear(x, torch.from_numpy(raw), "Q8_0", None), exact(x, q, d, None))

    blocks = torch.randint(0, 256, (8, 144), generator=g, dtype=torch.uint8)
    blocks[:, :4] = torch.tensor([0.01, 0.02]).half().view(torch.uint8)
    values = q4_k(blocks)
    x = torch.randn(4, 256, generator=g)
    got = torch.ops.turnstone.k_quant_linear(x, blocks, "Q4_K", None)
    want = x @ values.t()
    assert (got - want).norm() / want.norm() < 0.05
    with pytest.raises(ValueError, match="must be one of"):
        ops.k_quant_linear(x, blocks, "Q9", None)


def q4_k(blocks: Tensor) -> Tensor:
    """Values of Q4_K blocks, by ggml's definition."""
    out = torch.zeros(blocks.shape[0], 256)
    for n, raw in enumerate(blocks.numpy()):
        d, dmin = raw[:4].view(np.float16).astype(np.float32)
        s = raw[4:16].astype(int)
        for j in range(8):
            sc, m = (s[j] & 63, s[j + 4] & 63) if j < 4 else ((s[j + 4] & 15) | (s[j - 4] >> 6) << 4, (s[j + 4] >> 4) | (s[j] >> 6) << 4)
            q = raw[16 + j // 2 * 32 : 48 + j // 2 * 32]
            out[n, j * 32 : j * 32 + 32] = torch.from_numpy(d * sc * ((q >> 4) if j % 2 else (q & 15)).astype(np.float32) - dmin * m)
    return out


#: Where the float16 scales of a block lie.
SCALES = {
    **{"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "IQ4_XS": (0,)},
    **{"Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "IQ4_NL": (0,), "MXFP4": ()},
}


def any_blocks(type: str, N: int, K: int, g: torch.Generator) -> Tensor:
    """Blocks [N, bytes] of random bytes with finite scales of both signs."""
    elements, size = ops.K_QUANTS[type]
    blocks = torch.randint(0, 256, (N, K // elements, size), generator=g, dtype=torch.uint8)
    for at in SCALES[type]:
        blocks[..., at : at + 2] = (torch.randn(N, K // elements, 1, generator=g) * 0.02).half().view(torch.uint8)
    if type == "MXFP4":  # a power of two
        blocks[..., 0] = torch.randint(118, 126, blocks.shape[:-1], generator=g, dtype=torch.uint8)
    return blocks.reshape(N, -1)


def same_bits(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.view(torch.int32), b.view(torch.int32))


@pytest.mark.parametrize("type", ops.K_QUANTS)
def test_k_quants_have_the_bits_of_the_reference(type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wasm kernels and kernels/reference agree in every bit: one row, a few, more than a tile; rows that fill no group of eight."""
    g = torch.Generator().manual_seed(5)
    N, K = 37, 768
    blocks, bias = any_blocks(type, N, K, g), torch.randn(N, generator=g)
    inputs = [torch.randn(T, K, generator=g) * 3 for T in (1, 6, 70)]
    inputs[1][2, 32:64] = 0
    got = [torch.ops.turnstone.k_quant_linear(x, blocks, type, b) for x in inputs for b in (None, bias)]
    assert all(bool(y.isfinite().all()) and y.std() > 0 for y in got)
    monkeypatch.setattr(ops, "BACKEND", "reference")
    want = [torch.ops.turnstone.k_quant_linear(x, blocks, type, b) for x in inputs for b in (None, bias)]
    assert all(same_bits(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("format", ["i8", "f32"])
@pytest.mark.parametrize("H,G,d", [(4, 2, 16), (9, 3, 64), (8, 1, 128)])
def test_pages_and_attention_have_the_bits_of_the_reference(format: str, H: int, G: int, d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.Generator().manual_seed(6)
    ks, vs = ([torch.randn(n, G, d, generator=g) * 2 for n in (37, 5)] for _ in range(2))
    q = torch.randn(7, H, d, generator=g)
    positions, sequences = torch.tensor([36, 3, 4, 0, 15, 16, 31]), torch.tensor([0, 1, 1, 0, 0, 0, 0])

    def both() -> tuple[Tensor, Tensor]:
        pool = torch.cat([ops.write_pages(k, v, format) for k, v in zip(ks, vs, strict=True)])
        return pool, torch.ops.turnstone.paged_attention(q, pool, positions, sequences, torch.tensor([[0, 1, 2], [3, 3, 3]]), G, format, 1, 0)

    pool, out = both()
    assert bool(out.isfinite().all()) and out.std() > 0
    monkeypatch.setattr(ops, "BACKEND", "reference")
    expected_pool, expected = both()
    assert torch.equal(pool, expected_pool)
    assert same_bits(out, expected)


def test_a_backend_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "BACKEND", "gpu")
    with pytest.raises(RuntimeError, match='"gpu", must be one of wasm, reference'):
        ops.w8_linear(torch.randn(1, 32), torch.randn(8, 32))


@pytest.mark.parametrize("format,tolerance", [("f32", 1e-5), ("i8", 2e-2)])
def test_paged_attention(format: str, tolerance: float) -> None:
    g = torch.Generator().manual_seed(2)
    lengths, H, G, d = (37, 5), 4, 2, 16
    ks, vs = ([torch.randn(n, G, d, generator=g) for n in lengths] for _ in range(2))
    pages = [ops.write_pages(k, v, format) for k, v in zip(ks, vs, strict=True)]
    pool = torch.cat([pages[1], pages[0]])  # the second sequence's page lies first
    blocks = torch.tensor([[1, 2, 3], [0, 0, 0]])
    positions = torch.tensor([36, 3, 4, 0])
    sequences = torch.tensor([0, 1, 1, 0])
    q = torch.randn(4, H, d, generator=g)
    got = torch.ops.turnstone.paged_attention(q, pool, positions, sequences, blocks, G, format, 1, 0)
    for t, (p, s) in enumerate(zip(positions.tolist(), sequences.tolist(), strict=True)):
        k, v = (x[s][: p + 1].repeat_interleave(H // G, 1).transpose(0, 1) for x in (ks, vs))
        want = F.scaled_dot_product_attention(q[t, :, None], k, v)[:, 0]
        assert torch.allclose(got[t], want, atol=tolerance)
    again = torch.ops.turnstone.paged_attention(q[2:3], pool, positions[2:3], sequences[2:3], blocks, G, format, 1, 0)
    assert torch.equal(again[0], got[2])  # whatever else is in the batch
    with pytest.raises(RuntimeError, match="pages"):
        ops.paged_attention(q, pool, positions + 100, sequences, blocks, G, format)


def test_opcheck() -> None:
    x, w, b = torch.randn(3, 64, requires_grad=True), torch.randn(8, 64, requires_grad=True), torch.randn(8, requires_grad=True)
    for op in (torch.ops.turnstone.w4_linear, torch.ops.turnstone.w8_linear):
        torch.library.opcheck(op.default, (x, w, b))
        torch.library.opcheck(op.default, (x.detach(), w.detach(), None))
    blocks = torch.zeros(8, 68, dtype=torch.uint8)
    torch.library.opcheck(torch.ops.turnstone.k_quant_linear.default, (torch.randn(3, 64), blocks, "Q8_0", None))
    pages = ops.write_pages(torch.randn(5, 2, 16), torch.randn(5, 2, 16))
    args = (torch.randn(2, 4, 16), pages, torch.tensor([3, 4]), torch.tensor([0, 0]), torch.tensor([[0]]), 2, "i8", 1, 0)
    torch.library.opcheck(torch.ops.turnstone.paged_attention.default, args)


@pytest.mark.parametrize("format", ["w4", "w8"])
def test_gradients_are_those_at_the_quantized_values(format: str) -> None:
    g = torch.Generator().manual_seed(3)
    x, w, b = (torch.randn(*s, generator=g, requires_grad=True) for s in ((2, 3, 64), (8, 64), (8,)))
    op, values = getattr(ops, f"{format}_linear"), getattr(ops, f"{format}_values")
    up = torch.randn(2, 3, 8, generator=g)
    (op(x, w, b) * up).sum().backward()
    q, d = rounded(w.detach(), format)
    assert torch.equal(values(w), (q * d[..., None]).reshape(8, 64))
    wq, xq = (q * d[..., None]).reshape(8, 64).requires_grad_(), ops.a8_values(x).requires_grad_()
    b2 = b.detach().clone().requires_grad_()
    (F.linear(xq, wq, b2) * up).sum().backward()
    for got, want in ((x.grad, xq.grad), (w.grad, wq.grad), (b.grad, b2.grad)):
        assert got is not None and want is not None and torch.allclose(got, want, atol=1e-5)


def test_no_breaks() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = ops.W4Linear(64, 32), ops.W4Linear(32, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.relu(self.a(x)))

    torch.manual_seed(0)
    model, x = Two(), torch.randn(5, 64)
    want = model(x)
    assert torch.equal(torch.compile(model, backend="aot_eager", fullgraph=True)(x), want)
    program = torch.export.export(model, (x,))
    assert sum("w4_linear" in str(n.target) for n in program.graph.nodes) == 2
    assert torch.equal(program.module()(x), want)
