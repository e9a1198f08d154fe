"""Onboarding by graph: packs whose logits were compared with PyTorch's, and refusals that name the line."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import decoders
import pytest
import torch
from decoders import Compact, ComplexLlama, Experts, LearnedPositions, Lora, NanoGPT, randomized
from torch import nn

import turnstone

transformers = pytest.importorskip("transformers")


def hf(kind: str, **options: object) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        sizes = dict(
            vocab_size=decoders.V,
            hidden_size=decoders.D,
            intermediate_size=decoders.FF,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
        config = getattr(transformers, f"{kind}Config")(**{**sizes, **options})
        return randomized(getattr(transformers, f"{kind.removesuffix('Text')}ForCausalLM")(config))

    return make


def compiled() -> nn.Module:
    return torch.compile(randomized(Compact(qk_norm=False)), backend="eager")  # type: ignore[return-value]


def with_lora() -> nn.Module:
    model = Compact(qk_norm=False)
    for block in model.blocks:
        block.q, block.v, block.proj, block.w2 = Lora(block.q), Lora(block.v), Lora(block.proj), Lora(block.w2)
    return randomized(model)


LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}

MODULES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "Llama": (hf("Llama"), "llama"),
    "Llama, tied, llama3 rotary": (hf("Llama", tie_word_embeddings=True, rope_parameters=LLAMA3), "llama"),
    "Llama, eager attention": (hf("Llama", attn_implementation="eager"), "llama"),
    "Qwen2": (hf("Qwen2"), "qwen2"),
    "Qwen3": (hf("Qwen3", head_dim=16), "qwen3"),
    "Granite": (
        hf("Granite", embedding_multiplier=3.0, logits_scaling=2.0, residual_multiplier=0.5, attention_multiplier=0.3, tie_word_embeddings=True),
        "llama",
    ),
    "Gemma 3": (
        hf(
            "Gemma3Text",
            head_dim=16,
            sliding_window=24,
            num_hidden_layers=3,
            query_pre_attn_scalar=32,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            rope_parameters={
                "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
                "full_attention": {"rope_type": "linear", "rope_theta": 20000.0, "factor": 4.0},
            },
        ),
        "gemma3",
    ),
    "SmolLM3": (hf("SmolLM3", num_hidden_layers=4, tie_word_embeddings=True), "llama"),
    "Mistral, a window": (hf("Mistral", sliding_window=40), "llama"),
    "Phi-3, fused projections": (hf("Phi3"), "llama"),
    "complex rotary, written out": (lambda: randomized(ComplexLlama()), "llama"),
    "compact, QK-norm, tied": (lambda: randomized(Compact()), "qwen3"),
    "last logits alone": (lambda: randomized(Compact(qk_norm=False, last=True)), "llama"),
    "after torch.compile": (compiled, "llama"),
    "with LoRA layers": (with_lora, "llama"),
}


TIED = {
    "Llama, tied, llama3 rotary",
    "Granite",
    "Gemma 3",
    "SmolLM3",
    "compact, QK-norm, tied",
    "last logits alone",
    "after torch.compile",
    "with LoRA layers",
}


@pytest.mark.parametrize("name", MODULES)
def test_onboards(name: str, tmp_path: Path) -> None:
    make, family = MODULES[name]
    out = turnstone.export(make(), None, tmp_path / "pack", tokenizer="bytes", context=128)
    assert out.config["family"] == family
    assert out.difference < 1e-4
    manifest = json.loads((tmp_path / "pack" / "model.json").read_text())
    assert manifest["config"] == out.config
    assert out.config["tied"] == (name in TIED)
    assert sum(f.stat().st_size for f in (tmp_path / "pack").glob("weights-*.bin")) == out.bytes > 0


def test_a_difference_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(turnstone.NotTheSame, match="nothing was written"):
        turnstone.export(randomized(ComplexLlama()), None, tmp_path / "pack", tokenizer="bytes", context=128, tolerance=1e-9)
    assert not (tmp_path / "pack").exists()


def with_experts() -> nn.Module:
    model = Compact()
    for block in model.blocks:
        block.w1, block.w3, block.w2 = nn.Identity(), nn.Identity(), nn.Identity()
        block.add_module("experts", Experts())
        block.forward = lambda x, own=block: x + own.experts(own.ln_2(x))  # type: ignore[method-assign]
    return randomized(model)


REFUSED = {
    "learned positions": (
        lambda: randomized(LearnedPositions()),
        LearnedPositions,
        "x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))",
        "rotary positions",
    ),
    "experts": (with_experts, Experts, "weights, chosen = self.router(x).softmax(-1).topk(2, -1)", "routed experts"),
    "LayerNorm": (lambda: randomized(NanoGPT()), NanoGPT, "return self.head(self.ln(x))", "LayerNorm"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_with_the_line(name: str, tmp_path: Path) -> None:
    make, where, line, needed = REFUSED[name]
    with pytest.raises(turnstone.Unrecognised) as caught:
        turnstone.export(make(), None, tmp_path / "pack", tokenizer="bytes", context=128)
    source, first = inspect.getsourcelines(where)
    number = first + next(i for i, text in enumerate(source) if text.strip() == line)
    assert caught.value.source == line
    assert f"{inspect.getsourcefile(where)}:{number} in forward" in str(caught.value)
    assert needed in caught.value.needed
    assert caught.value.graph
    assert not (tmp_path / "pack").exists()


def test_no_family(tmp_path: Path) -> None:
    """Recognised, with what no family has yet, by name."""
    with pytest.raises(turnstone.TurnstoneError, match="soft cap on logits"):
        turnstone.export(hf("Gemma2", head_dim=16, sliding_window=32)(), None, tmp_path / "pack", tokenizer="bytes", context=128)
