"""torch.compile(backend="turnstone"): right numbers, device time like the native simulator's, nothing left out in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from decoders import FF, D, Experts, RMSNorm, randomized
from torch import Tensor, nn

import turnstone

transformers = pytest.importorskip("transformers")

T = 48


@pytest.fixture(autouse=True)
def fresh() -> None:
    turnstone.reset()


class Block(nn.Module):
    """A decoder layer of transformers with its rotary tables."""

    def __init__(self, layer: nn.Module, head_dim: int, **options: Any):
        super().__init__()
        self.layer = layer
        self.options = options
        angles = torch.outer(torch.arange(4096).float(), 10000.0 ** (-torch.arange(0, head_dim, 2) / head_dim))
        angles = torch.cat([angles, angles], -1)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[1]
        out = self.layer(x, position_embeddings=(self.cos[None, :n], self.sin[None, :n]), attention_mask=None, **self.options)
        return out[0] if isinstance(out, tuple) else out


SIZES = dict(hidden_size=D, intermediate_size=FF, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, vocab_size=64)


def llama(**sizes: int) -> nn.Module:
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    config = transformers.LlamaConfig(**{**SIZES, **sizes}, attn_implementation="sdpa")
    return randomized(Block(LlamaDecoderLayer(config, 0), config.hidden_size // config.num_attention_heads))


def gemma() -> nn.Module:
    from transformers.models.gemma3.modeling_gemma3 import Gemma3DecoderLayer

    config = transformers.Gemma3TextConfig(**SIZES, head_dim=16, query_pre_attn_scalar=16, layer_types=["full_attention"], attn_implementation="sdpa")
    return randomized(Block(Gemma3DecoderLayer(config, 0), 16))


def vit() -> nn.Module:
    from transformers.models.vit.modeling_vit import ViTLayer

    config = transformers.ViTConfig(hidden_size=D, intermediate_size=FF, num_attention_heads=4, attn_implementation="sdpa")
    return randomized(ViTLayer(config))


class MoE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = RMSNorm(D)
        self.experts = Experts()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.experts(self.norm(x))


BLOCKS: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "Llama": (llama, set()),
    "Gemma": (gemma, set()),
    "ViT": (vit, set()),
    "MoE": (lambda: randomized(MoE()), {"topk", "scatter", "full", "new_zeros"}),
}
#: Largest difference from PyTorch's f32, over the largest value: f32 in another order, and what the roundings cost.
TOLERANCE = {"f32": 2e-6, "w8": 0.03, "w4": 0.35, "bf16": 0.02, "fp8": 0.15}


def run(module: nn.Module, x: Tensor, **options: Any) -> tuple[float, turnstone.Report]:
    with torch.no_grad():
        want = module(x)
        want = want[0] if isinstance(want, tuple) else want
        got = torch.compile(module, backend="turnstone", fullgraph=True, options=options)(x)
        got = got[0] if isinstance(got, tuple) else got
    assert got.shape == want.shape
    return float((got - want).abs().max() / want.abs().max()), turnstone.report()


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_have_the_right_numbers(name: str, tmp_path: Path) -> None:
    make, outside = BLOCKS[name]
    module, x = make(), torch.randn(2, T, D, generator=torch.Generator().manual_seed(1))
    difference, report = run(module, x, numbers="f32", function="device")
    assert difference < TOLERANCE["f32"]
    assert report.on_tiles == [True]
    assert {f.op for f in report.fallbacks} <= outside, str(report)
    assert all(f.why for f in report.fallbacks)
    assert not report.graph_breaks
    assert report.us == pytest.approx(sum(l["us"] for l in report.launches)) and report.us > 0
    again = turnstone.report(tmp_path, name)
    assert again.us == report.us
    timeline, page = (tmp_path / "timeline.svg").read_text(), (tmp_path / "report.html").read_text()
    assert timeline.count("<rect") > 20 and name in page
    assert len(json.loads((tmp_path / "trace.json").read_text())["traceEvents"]) > 50


@pytest.mark.parametrize("numbers", ["w8", "w4", "bf16", "fp8"])
def test_numbers(numbers: str) -> None:
    difference, report = run(llama(), torch.randn(1, T, D, generator=torch.Generator().manual_seed(2)), numbers=numbers)
    assert 1e-5 < difference < TOLERANCE[numbers]
    assert report.on_tiles == [numbers in ("w4", "w8")]
    assert not report.fallbacks


@pytest.mark.parametrize("numbers", ["bf16", "w4", "f32"])
def test_time_is_the_native_simulators(numbers: str) -> None:
    """A block of Llama 3 8B's shape (a quarter of its width) against Turnstone's own forward pass of one layer on the same device."""
    sizes = dict(hidden_size=1024, intermediate_size=3584, num_attention_heads=8, num_key_value_heads=2)
    prompt = 256
    _, report = run(llama(**sizes), torch.randn(1, prompt, 1024), numbers=numbers, function="torch")
    model = dict(
        family="llama",
        vocab=64,
        hidden=1024,
        layers=1,
        heads=8,
        kvHeads=2,
        headDim=128,
        ffn=3584,
        context=4096,
        normEps=1e-6,
        ropeTheta=1e4,
        tied=True,
        qkvBias=False,
        qkNorm=False,
    )
    native = turnstone.simulate(model, prompt, numbers=numbers, kv="f32" if numbers == "f32" else "i8")
    block = sum(l["us"] for l in native["launches"] if l["kind"] != "embed")
    assert report.us == pytest.approx(block, rel=0.02)
    assert not report.fallbacks


def test_a_device_of_ones_own(tmp_path: Path) -> None:
    spec = json.loads((turnstone.bridge.home() / "simulator/device/maia-200.json").read_text())
    fast, slow = {**spec, "name": "twice", "clockGHz": 2 * spec["clockGHz"], "stated": {}}, tmp_path / "half.json"
    slow.write_text(json.dumps({**spec, "name": "half", "clockGHz": spec["clockGHz"] / 2, "stated": {}}))
    x, times = torch.randn(1, T, D), {}
    for device in (fast, "maia-200", str(slow)):
        turnstone.reset()
        _, report = run(llama(), x, numbers="bf16", device=device)
        times[report.device] = report.us
    assert times["twice"] < times["maia-200"] < times["half"]
    with pytest.raises(Exception, match="no device"):
        run(llama(), x, device="maia-300")
    with pytest.raises(Exception, match="numbers is 'int3'"):
        run(llama(), x, numbers="int3")


def test_training_and_breaks() -> None:
    """Gradients are right; a break and what the device lacks are listed with their lines."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(32, 64), nn.Linear(64, 8)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.relu(self.a(x))
            torch._dynamo.graph_break()
            return self.b(h).cumsum(-1)

    net, x = randomized(Net()), torch.randn(5, 32)
    (net(x) ** 2).sum().backward()
    want = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    (torch.compile(net, backend="turnstone", options={"numbers": "f32"})(x) ** 2).sum().backward()
    for p, w in zip(net.parameters(), want, strict=True):
        assert p.grad is not None and torch.allclose(p.grad, w, rtol=1e-4, atol=1e-5)
    report = turnstone.report()
    assert len(report.graph_breaks) >= 1
    fallback = next(f for f in report.fallbacks if f.op == "cumsum")
    assert "return self.b(h).cumsum(-1)" in fallback.where and "test_compile.py" in fallback.where
    assert "cumsum" in str(report) and "graph break" in str(report)


def test_shapes_that_change() -> None:
    module = llama()
    compiled = torch.compile(module, backend="turnstone", options={"numbers": "f32"})
    with torch.no_grad():
        for n in (5, 20, 33):
            x = torch.randn(1, n, D)
            assert torch.allclose(compiled(x), module(x), atol=1e-5)
    assert not turnstone.report().fallbacks
