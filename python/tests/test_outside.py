"""The op from outside of docs/pytorch.md, as somebody's own package brings it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import turnstone
from turnstone.bridge import bridge

EXAMPLE = Path(__file__).parents[1] / "examples" / "rope-norm"


@pytest.fixture(scope="module")
def rope_norm() -> object:
    spec = importlib.util.spec_from_file_location("rope_norm", EXAMPLE / "rope_norm.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.rope_norm


class Heads(nn.Module):
    def __init__(self, op: object):
        super().__init__()
        self.op = op
        self.q = nn.Linear(64, 64, bias=False)
        self.g = nn.Parameter(torch.rand(16) + 0.5)
        angles = torch.outer(torch.arange(100).float(), 10000.0 ** (-torch.arange(0, 16, 2) / 16))
        self.register_buffer("table", torch.cat([angles.cos(), angles.sin()], -1))

    def forward(self, x: Tensor) -> Tensor:
        heads = self.op(self.q(x).view(-1, 4, 16), self.g, self.table, 1e-6)  # type: ignore[operator]
        return torch.relu(heads)


def test_runs_between_ops_of_the_tree(rope_norm: object) -> None:
    turnstone.reset()
    torch.manual_seed(0)
    module, x = Heads(rope_norm).eval(), torch.randn(100, 64)
    with torch.no_grad():
        got = torch.compile(module, backend="turnstone", fullgraph=True, options={"numbers": "f32", "function": "device"})(x)
        assert torch.allclose(got, module(x), atol=1e-5)
    report = turnstone.report()
    assert not report.fallbacks
    assert [l["kind"] for l in report.launches] == ["matmul", "example.rope-norm", "turnstone.chain"]
    mine = report.launches[1]
    assert 0 < mine["us"] < 5 and mine["flops"] == 10 * 100 * 64


def test_wrong_registrations(tmp_path: Path) -> None:
    bad = tmp_path / "bad.mjs"
    outside = (EXAMPLE.parents[2] / "simulator/ops/outside.ts").as_uri()
    bad.write_text(f"import {{ registerOp }} from '{outside}';\nregisterOp({{ name: 'nopackage', compile() {{}}, functions: {{}} }});\n")
    with pytest.raises(turnstone.TurnstoneError, match="a name is package.op"):
        bridge().call("device.use", {"module": str(bad)})
    with pytest.raises(turnstone.TurnstoneError, match="missing.mjs"):
        bridge().call("device.use", {"module": str(tmp_path / "missing.mjs")})
