"""The programs of docs/pytorch.md, run as they stand there, and what it says they print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from decoders import D, Compact, CompactBlock, Experts, randomized
from torch import Tensor, nn

import turnstone
from turnstone import ops

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "pytorch.md").read_text()
BLOCKS = [(language, re.sub("^" + indent, "", text, flags=re.M)) for indent, language, text in re.findall(r"^( *)```(\w+)\n(.*?)^ *```$", PAGE, re.M | re.S)]


def block(language: str, begins: str) -> str:
    (found,) = [text for kind, text in BLOCKS if kind == language and text.startswith(begins)]
    return found


def shape_of(text: str) -> str:
    """Without its numbers, which depend on the module."""
    return re.sub(r"[\d.,]+", "#", re.sub(r" +", " ", text)).strip()


def test_a_module_becomes_a_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    program = block("python", "import turnstone\n\nout").replace("path/to/tokenizer.json", "bytes")
    exec(program, {"model": randomized(Compact(), seed=3)})
    assert (tmp_path / "my-pack" / "model.json").exists()
    assert "'family': 'qwen3'" in capsys.readouterr().out


class ExpertBlock(CompactBlock):
    def __init__(self) -> None:
        super().__init__(qk_norm=True)
        self.experts = Experts()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.experts(self.ln_2(x))


def test_a_refusal(tmp_path: Path) -> None:
    model = Compact()
    model.blocks = nn.ModuleList([ExpertBlock() for _ in model.blocks])
    with pytest.raises(turnstone.Unrecognised) as caught:
        turnstone.export(randomized(model), None, tmp_path / "pack", tokenizer="bytes", context=128)
    said, shown = (re.sub(r"\S*decoders\.py:\d+", "decoders.py", text).strip() for text in (str(caught.value), block("text", "topk")))
    assert said == shown


def test_any_module_on_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    turnstone.reset()
    model = randomized(Compact()).blocks[0]
    with torch.no_grad():
        exec(block("python", "compiled = "), {"torch": torch, "turnstone": turnstone, "model": model, "x": torch.randn(1, 16, D)})
    assert {f.name for f in (tmp_path / "report").iterdir()} >= {"report.html", "roofline.svg", "timeline.svg", "trace.json"}
    printed = capsys.readouterr().out
    lines = block("text", "maia-200").splitlines()
    for line in (lines[0], *lines[-3:]):
        assert shape_of(line) in shape_of(printed)


def test_the_kernels_as_ops() -> None:
    names: dict[str, object] = {"torch": torch, "x": torch.randn(2, 256), "weight": torch.randn(8, 256), "bias": torch.randn(8)}
    names["blocks"] = torch.zeros(8, 144, dtype=torch.uint8)  # of Q4_K: 144 bytes for 256 numbers
    names |= {"q": torch.randn(2, 4, 16), "pages": ops.write_pages(torch.randn(5, 2, 16), torch.randn(5, 2, 16)), "kv_heads": 2}
    names |= {"positions": torch.tensor([3, 4]), "sequences": torch.tensor([0, 0]), "block_tables": torch.tensor([[0]])}
    exec(block("python", "import turnstone.ops"), names)
    y, o = names["y"], names["o"]
    assert isinstance(y, torch.Tensor) and isinstance(o, torch.Tensor)
    assert tuple(y.shape) == (2, 8) and tuple(o.shape) == (2, 4, 16) and bool(o.isfinite().all())


def test_the_op_from_outside() -> None:
    """What is shown of the example is the example's, but for its layout."""
    shown = block("python", "device_op(")
    words = re.findall(r'"[\w.:-]+"', shown)
    there = (ROOT / "python" / "examples" / "rope-norm" / "rope_norm.py").read_text()
    assert all(word in there for word in words), words
