"""`turnstone.export`: a PyTorch module becomes a pack, by its graph."""

from __future__ import annotations

import copy
import inspect
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .bridge import bridge
from .errors import NotTheSame, Unrecognised
from .interpret import Interpreter
from .recognise import Attention, Decoder, Layer, Norm, recognise

#: Tokens of the trace from which structure is read.
_SHORT = 8
#: Longest trace, from which windows are read.
_LONG = 4096


@dataclass
class Exported:
    """What was written: the pack's folder and digest, the configuration, and how far the logits were from PyTorch's."""

    out: Path
    digest: str
    config: dict[str, Any]
    bytes: int
    #: Largest |Turnstone − PyTorch| over the verified prompts, over the largest |logit| where that is above 1.
    difference: float
    prompts: int
    decoder: Decoder = field(repr=False)


class _Logits(nn.Module):
    """Token ids in, logits out, whatever the module returns."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module
        parameters = inspect.signature(module.forward).parameters
        self.options = {"use_cache": False} if "use_cache" in parameters else {}

    def forward(self, ids: Tensor) -> Tensor:
        out = self.module(ids, **self.options)
        if isinstance(out, Tensor):
            return out
        logits = getattr(out, "logits", None)
        return out[0] if logits is None else logits


def export(
    module: nn.Module,
    example: Tensor | tuple[Tensor, ...] | None,
    out: str | Path,
    *,
    tokenizer: Any,
    context: int | None = None,
    name: str | None = None,
    format: str = "auto",
    head: str | None = None,
    chat_template: str | None = None,
    tolerance: float = 1e-4,
    prompts: int = 3,
    seed: int = 0,
) -> Exported:
    """Writes `module`, a decoder of token ids, as a pack into the folder `out`, after its logits were compared.

    Args:
        module: takes token ids [1, T] and gives logits [1, T, V] (or an object with `.logits`, or a tuple that begins with them). Modules
            after `torch.compile` and with LoRA layers are taken as they are.
        example: token ids [1, T], which bound the ids of the trace; None takes random ones of the tokenizer's.
        tokenizer: a `tokenizers.Tokenizer`, a fast tokenizer of transformers, the path of a `tokenizer.json` or of its folder, or "bytes".
        context: longest sequence, tokens. Default: `module.config.max_position_embeddings`, else 2,048.
        format: of the matrices: "auto" and "f32" keep them, "w8" and "w4" quantize to the nearest. `head`: that of the output head.
        tolerance: largest difference of logits from PyTorch's (in f32), over the largest |logit| where that is above 1.

    Raises Unrecognised with the piece of graph and the source line for what is no such decoder, NotTheSame when the logits differ, and
    TurnstoneError when no family has what was recognised. Nothing is written then.
    """
    original = uncompiled(module)
    context = context or getattr(getattr(original, "config", None), "max_position_embeddings", None) or 2048
    plain = copy.deepcopy(original).float().eval()
    wrapped = _Logits(plain)
    texts = read_tokenizer(tokenizer)
    limit = int(example[0].max() if isinstance(example, tuple) else example.max()) + 1 if example is not None else texts.size
    decoder = capture(wrapped, max(2, limit), context)
    decoder = folded(decoder)
    shape = describe(decoder, context)

    run = bridge()
    config, _ = run.call("onboard.begin", {"decoder": shape})
    for tensor_name, tensor in tensors(decoder).items():
        run.call("onboard.tensor", {"name": tensor_name}, [tensor.float()])
    template = chat_template if chat_template is not None else texts.chat_template
    run.call(
        "onboard.model",
        {"decoder": shape, "name": name or Path(out).name, "tokenizer": texts.json, "tokenizerConfig": texts.config, "chatTemplate": template},
    )

    V = decoder.embedding.shape[0]
    generator = torch.Generator().manual_seed(seed)
    windows = [layer.attention.window or 0 for layer in decoder.layers]
    longest = min(context, max(24, min(96, max(windows) * 3 // 2)))
    ids = [torch.randint(0, min(V, limit) if example is not None else V, (n,), generator=generator) for n in _lengths(longest, prompts)]
    _, got = run.call("onboard.logits", {"prompts": [i.tolist() for i in ids]})
    difference = 0.0
    with torch.no_grad():
        for prompt, ours in zip(ids, got, strict=True):
            theirs = wrapped(prompt[None])[0].float()
            ours = ours[-theirs.shape[0] :]
            difference = max(difference, float((ours - theirs).abs().max()) / max(1.0, float(theirs.abs().max())))
    if not difference <= tolerance:
        raise NotTheSame(
            f"Turnstone's logits differ from PyTorch's by {difference:.3g}, more than {tolerance:g}; nothing was written. "
            f"The graph was read as {describe_short(decoder)}"
        )
    written, _ = run.call("onboard.write", {"out": str(Path(out).resolve()), "format": format, "head": head})
    return Exported(Path(out), written["digest"], config, written["bytes"], difference, len(ids), decoder)


def capture(module: nn.Module, ids_below: int, context: int) -> Decoder:
    """Traces the module twice, short for its structure and long for its windows, and reads the decoder."""

    def trace(T: int) -> Interpreter:
        ids = torch.arange(T)[None] % ids_below
        with torch.no_grad():
            try:
                program = torch.export.export(module, (ids,), strict=False)
            except Exception as e:
                raise Unrecognised(None, f"torch.export could not trace the module: {e}", "a forward without branches on the tokens' values") from e
        return Interpreter(program.run_decompositions({}))

    long = min(context, _LONG)
    return recognise(trace(min(_SHORT, context)), trace(long) if long > _SHORT else None)


def uncompiled(module: nn.Module) -> nn.Module:
    """The module itself where `torch.compile` wrapped it, inside too."""
    module = getattr(module, "_orig_mod", module)
    for child_name, child in list(module.named_children()):
        inner = getattr(child, "_orig_mod", None)
        if inner is not None:
            module = copy.copy(module)
            module._modules = dict(module._modules)
            module._modules[child_name] = inner
    return module


def folded(d: Decoder) -> Decoder:
    """The same function with its scales inside its weights: those of the softmax in q, of the embedding in the stream (or left, where it is tied)."""
    layers = []
    for layer in d.layers:
        a = copy.copy(layer.attention)
        extra = a.scale * math.sqrt(a.head_dim)
        if not math.isclose(extra, 1, rel_tol=1e-6):
            if a.q_norm is not None:
                a.q_norm = Norm(a.q_norm.gain * extra, a.q_norm.eps)
            else:
                a.q = a.q * extra
                a.bias = None if a.bias is None else (a.bias[0] * extra, a.bias[1], a.bias[2])
            a.scale = 1 / math.sqrt(a.head_dim)
        layers.append(Layer(layer.attn_norm, a, layer.post_attn_norm, layer.ffn_norm, layer.mlp, layer.post_ffn_norm))
    m = d.embedding_scale
    if m == 1:
        return Decoder(d.embedding, 1.0, layers, d.norm, d.head, d.tied, d.softcap)
    eps = {n.eps for l in layers for n in (l.attn_norm, l.ffn_norm)} | {d.norm.eps}
    simple = not any(l.attention.q_norm or l.post_attn_norm or l.post_ffn_norm for l in layers)
    if d.tied and simple and len(eps) == 1:
        # the whole stream divided by m: RMSNorm does not see it when its eps is divided by m²
        def smaller(n: Norm) -> Norm:
            return Norm(n.gain, n.eps / m**2)

        for i, l in enumerate(layers):
            attention = copy.copy(l.attention)
            attention.o = attention.o / m
            mlp = copy.copy(l.mlp)
            mlp.down = mlp.down / m
            layers[i] = Layer(smaller(l.attn_norm), attention, None, smaller(l.ffn_norm), mlp, None)
        return Decoder(d.embedding, 1.0, layers, smaller(d.norm), d.head, True, d.softcap)
    if d.tied:
        return Decoder(d.embedding, m, layers, d.norm, d.head, True, d.softcap)
    return Decoder(d.embedding * m, 1.0, layers, d.norm, d.head, False, d.softcap)


def describe(d: Decoder, context: int) -> dict[str, Any]:
    """The decoder's shape as python/bridge/onboard.ts takes it. Raises ValueError for layers of different widths."""
    widths = {(l.attention.heads, l.attention.kv_heads, l.attention.head_dim, l.mlp.gate.shape[0]) for l in d.layers}
    if len(widths) != 1:
        raise ValueError(f"layers of different widths (heads, key heads, head width, MLP width): {sorted(widths)}; families have one for all layers")
    eps = {
        n.eps for l in d.layers for n in (l.attn_norm, l.ffn_norm, l.attention.q_norm, l.attention.k_norm, l.post_attn_norm, l.post_ffn_norm) if n is not None
    }
    eps.add(d.norm.eps)
    if max(eps) - min(eps) > 1e-3 * max(eps):
        raise ValueError(f"norms with different eps: {sorted(eps)}; families have one")
    heads, kv_heads, head_dim, ffn = widths.pop()
    has_bias = any(l.attention.bias is not None for l in d.layers)
    return {
        "vocab": d.embedding.shape[0],
        "hidden": d.embedding.shape[1],
        "heads": heads,
        "kvHeads": kv_heads,
        "headDim": head_dim,
        "ffn": ffn,
        "context": context,
        "normEps": max(eps),
        "tied": d.tied,
        "softcap": d.softcap,
        "embedScale": d.embedding_scale,
        "layers": [_layer(l, has_bias) for l in d.layers],
    }


def _layer(l: Layer, has_bias: bool) -> dict[str, Any]:
    a = l.attention
    theta, factors = rope(a)
    return {
        "activation": l.mlp.activation,
        "window": a.window,
        "rotates": a.frequencies is not None,
        "ropeTheta": theta,
        "ropeFactors": factors,
        "qkvBias": has_bias,
        "qkNorm": a.q_norm is not None,
        "postNorms": l.post_attn_norm is not None,
        "softcap": a.softcap,
    }


def rope(a: Attention) -> tuple[float, list[float] | None]:
    """Base of the rotation, and a divisor for each frequency where base^(-2i/d) alone does not give them."""
    if a.frequencies is None:
        return 10000.0, None
    f = a.frequencies.tolist()
    half = len(f)
    powers = [2 * i / a.head_dim for i in range(half)]
    theta = f[-1] ** (-1 / powers[-1]) if half > 1 else 10000.0
    nearest = round(theta)
    for candidate in (float(nearest), theta):
        if candidate >= 1 and all(math.isclose(f[i], candidate ** -powers[i], rel_tol=3e-6) for i in range(half)):
            return candidate, None
    return 10000.0, [10000.0 ** -powers[i] / f[i] for i in range(half)]


def tensors(d: Decoder) -> dict[str, Tensor]:
    """The weights under the names of engine/config.ts."""
    out = {"embed": d.embedding}
    has_bias = any(l.attention.bias is not None for l in d.layers)
    for i, l in enumerate(d.layers):
        a = l.attention
        at = f"layers.{i}."
        out[at + "attnNorm"] = l.attn_norm.gain
        out[at + "qkv"] = torch.cat([a.q, a.k, a.v])
        if has_bias:
            out[at + "qkvBias"] = torch.cat(a.bias) if a.bias is not None else torch.zeros(out[at + "qkv"].shape[0])
        if a.q_norm is not None and a.k_norm is not None:
            out[at + "qNorm"], out[at + "kNorm"] = a.q_norm.gain, a.k_norm.gain
        out[at + "o"] = a.o
        if l.post_attn_norm is not None:
            out[at + "attnPostNorm"] = l.post_attn_norm.gain
        out[at + "ffnNorm"] = l.ffn_norm.gain
        out[at + "gateUp"] = torch.cat([l.mlp.gate, l.mlp.up])
        out[at + "down"] = l.mlp.down
        if l.post_ffn_norm is not None:
            out[at + "ffnPostNorm"] = l.post_ffn_norm.gain
    out["norm"] = d.norm.gain
    if not d.tied:
        out["head"] = d.head
    return out


def describe_short(d: Decoder) -> str:
    a = d.layers[0].attention
    return f"{len(d.layers)} layers, {a.heads} heads of {a.head_dim} over {a.kv_heads} key heads, {d.layers[0].mlp.activation} MLPs of {d.layers[0].mlp.gate.shape[0]}"


def _lengths(longest: int, prompts: int) -> list[int]:
    return [max(2, longest * (i + 1) // prompts) for i in range(prompts)]


@dataclass
class _Tokenizer:
    json: dict[str, Any]
    config: dict[str, Any]
    chat_template: str | None
    size: int


def read_tokenizer(tokenizer: Any) -> _Tokenizer:
    """What Turnstone reads of a tokenizer: its tokenizer.json, tokenizer_config.json and chat template."""
    config: dict[str, Any] = {}
    template = None
    if tokenizer == "bytes":
        text = json.dumps(byte_tokenizer())
    elif isinstance(tokenizer, (str, Path)):
        path = Path(tokenizer)
        folder = path if path.is_dir() else path.parent
        text = (path / "tokenizer.json" if path.is_dir() else path).read_text()
        if (folder / "tokenizer_config.json").exists():
            config = json.loads((folder / "tokenizer_config.json").read_text())
        template = (folder / "chat_template.jinja").read_text() if (folder / "chat_template.jinja").exists() else config.get("chat_template")
    elif hasattr(tokenizer, "backend_tokenizer"):
        text = tokenizer.backend_tokenizer.to_str()
        config = {k: str(v) for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
        template = tokenizer.chat_template
    elif hasattr(tokenizer, "to_str"):
        text = tokenizer.to_str()
    else:
        raise TypeError(f'tokenizer is a {type(tokenizer).__name__}; give a tokenizers.Tokenizer, a fast transformers tokenizer, a path or "bytes"')
    read = json.loads(text)
    size = len(read["model"]["vocab"]) + len(read.get("added_tokens", []))
    return _Tokenizer(read, config, template if isinstance(template, str) else None, size)


def byte_tokenizer() -> dict[str, Any]:
    """One token a byte, ids 0..255 by value, in Hugging Face's form."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in printable}
    for b in range(256):
        if b not in letters:
            letters[b] = chr(256 + len([x for x in range(b) if x not in printable]))
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": {letters[b]: b for b in range(256)}, "merges": []},
    }
