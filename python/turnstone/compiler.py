"""`torch.compile(model, backend="turnstone")`: any module on the simulated accelerator, its time and its numbers.

Dynamo captures, AOTAutograd brings the graph down to core ATen (a few ops kept whole: attention, silu, gelu, softmax, LayerNorm), `plan.py` decides
what the device has, and the rest runs eagerly and is listed. `report()` says what it cost and what was left out.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from functorch.compile import make_boxed_func
from torch import Tensor, fx
from torch._decomp import core_aten_decompositions
from torch._dynamo.backends.common import aot_autograd
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.fx.experimental.proxy_tensor import make_fx

from .bridge import bridge
from .plan import Segment, make_plan

#: Formats whose products the tiles compute; the others are timed there, and PyTorch computes with rounded operands.
ON_TILES = ("f32", "w4", "w8")
NUMBERS = (*ON_TILES, "bf16", "fp8")
#: Multiply-adds of a graph up to which the tiles compute it: simulating moves every byte.
TILE_MACS = 3e8


@dataclass
class Options:
    """How `torch.compile(..., options={...})` is set."""

    #: A shipped device's name, a description (dict), or the path of one (JSON; docs/npu.md).
    device: str | dict[str, Any] = "maia-200"
    #: Of matmuls: "bf16", "fp8", "w4", "w8" or "f32".
    numbers: str = "bf16"
    chips: int = 1
    #: "device": the tiles compute (f32, w4, w8); "torch": PyTorch does, the device is timed; "auto": the tiles, where the graph is small enough.
    function: str = "auto"

    def __post_init__(self) -> None:
        if self.numbers not in NUMBERS:
            raise ValueError(f"numbers is {self.numbers!r}, must be one of {', '.join(NUMBERS)}")
        if self.function not in ("auto", "device", "torch"):
            raise ValueError(f'function is {self.function!r}, must be "auto", "device" or "torch"')
        if self.function == "device" and self.numbers not in ON_TILES:
            raise ValueError(f"the tiles have no function for {self.numbers}; they compute {', '.join(ON_TILES)}")
        if isinstance(self.device, str) and self.device.endswith(".json"):
            self.device = json.loads(Path(self.device).read_text())


@dataclass
class Fallback:
    """An op that ran eagerly."""

    op: str
    shape: tuple[int, ...]
    where: str
    why: str


@dataclass
class Report:
    """What ran since the last `reset()`: device time of every launch, and what was not on the device."""

    device: str
    numbers: str
    #: Device time of one run of every graph, µs.
    us: float
    #: Runs of every graph, in the order they were compiled.
    runs: list[int]
    #: Whether the tiles computed (by graph); otherwise PyTorch did, and the device was timed.
    on_tiles: list[bool]
    launches: list[dict[str, Any]]
    fallbacks: list[Fallback]
    graph_breaks: list[str]
    summary: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        kinds: dict[str, tuple[int, float]] = {}
        for l in self.launches:
            n, us = kinds.get(l["kind"], (0, 0.0))
            kinds[l["kind"]] = n + 1, us + l["us"]
        roof = self.summary["roofline"]
        lines = [f"{self.device}, {self.numbers}: {self.us:.2f} µs of device time in {len(self.launches)} launches of {len(self.runs)} graphs"]
        lines += [f"  {kind:<22}{n:>5} launches {us:>12.2f} µs" for kind, (n, us) in sorted(kinds.items(), key=lambda k: -k[1][1])]
        lines.append(f"  {roof['tops']:.1f} of {roof['peakTops']:.1f} TOP/s, {100 * roof['reached']:.1f} % of the roofline, {roof['bound']} bound")
        if not all(self.on_tiles):
            lines.append("  numbers: PyTorch's, with operands rounded; the device was timed")
        lines += [f"  not on the device: {f.op} {list(f.shape)} ({f.why}) {f.where}" for f in self.fallbacks] or ["  nothing ran outside the device"]
        lines += [f"  graph break: {b}" for b in self.graph_breaks]
        return "\n".join(lines)


class Compiled:
    """One graph: its plan, and how it is run."""

    def __init__(self, gm: fx.GraphModule, options: Options):
        self.gm = gm
        self.options = options
        with unset_fake_temporarily():  # the plan works with indices of its own
            self.plan = make_plan(gm)
        self.runs = 0
        self.us = 0.0
        self.launches: list[dict[str, Any]] = []
        wanted = options.function == "device" or (options.function == "auto" and self.plan.macs <= TILE_MACS)
        self.on_tiles = wanted and options.numbers in ON_TILES
        self.ids: dict[Segment, int] = {}
        self.sent: dict[tuple[Segment, int], tuple[int, int]] = {}
        self.order = {n: i for i, n in enumerate(gm.graph.nodes)}
        for s in self.plan.segments:
            args = {"device": options.device, "numbers": options.numbers, "chips": options.chips, "timed": not self.on_tiles, "plan": s.described()}
            self.ids[s], _ = bridge().call("device.load", args)
        if not self.on_tiles:
            for s in self.plan.segments:
                value, _ = bridge().call("device.run", {"graph": self.ids[s]})
                self._count(value)

    def _count(self, value: dict[str, Any]) -> None:
        self.us += value["us"]
        self.launches += value["launches"]

    def __call__(self, *inputs: Any) -> Any:
        self.runs += 1
        if not self.on_tiles:
            return Rounding(self.gm, self.options.numbers).run(*inputs)
        self.us, self.launches = 0.0, []
        env: dict[fx.Node, Any] = {}
        for node, value in zip((n for n in self.gm.graph.nodes if n.op == "placeholder"), inputs, strict=True):
            env[node] = value
        runner = fx.Interpreter(self.gm)
        for level in range(self.plan.levels):
            for n in self.plan.host[level]:
                args = fx.node.map_arg(n.args, lambda a: env[a])
                kwargs = fx.node.map_arg(n.kwargs, lambda a: env[a])
                env[n] = getattr(runner, n.op)(n.target, args, kwargs)
            segment = self.plan.segments_at.get(level)
            if segment is not None:
                self._run(segment, env)
        result = self.plan.result
        return fx.node.map_arg(result, lambda a: env[a])

    def _run(self, segment: Segment, env: dict[fx.Node, Any]) -> None:
        changed, arrays = [], []
        for i, source in enumerate(segment.inputs):
            value = source.value(env)
            key = (value.data_ptr(), value._version) if source.constant else None
            if key is not None and self.sent.get((segment, i)) == key:
                continue
            changed.append(i)
            arrays.append(value.detach().float())
            if key is not None:
                self.sent[(segment, i)] = key
        value, outputs = bridge().call("device.run", {"graph": self.ids[segment], "changed": changed}, arrays)
        self._count(value)
        for node, out in zip(segment.outputs, outputs, strict=True):
            meta = node.meta["val"]
            env[node] = out.reshape(meta.shape).to(meta.dtype)


class Rounding(fx.Interpreter):
    """Runs the graph eagerly, matmuls with operands rounded to the device's numbers and sums in f32."""

    def __init__(self, gm: fx.GraphModule, numbers: str):
        super().__init__(gm)
        self.numbers = numbers

    def rounded(self, x: Tensor, weight: bool) -> Tensor:
        if self.numbers == "bf16":
            return x.bfloat16().float()
        if self.numbers == "fp8":
            scale = x.abs().amax().clamp(min=1e-12) / 448
            return (x / scale).to(torch.float8_e4m3fn).float() * scale
        if self.numbers == "f32":
            return x
        from .ops import a8_values, w4_values, w8_values

        if x.shape[-1] % 32:
            return x
        return ({"w4": w4_values, "w8": w8_values}[self.numbers] if weight else a8_values)(x)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        aten = torch.ops.aten
        if target is aten.mm.default:
            return self.rounded(args[0], False) @ self.rounded(args[1].t(), True).t()
        if target is aten.addmm.default:
            return args[0] + self.rounded(args[1], False) @ self.rounded(args[2].t(), True).t()
        return super().call_function(target, args, kwargs)


_lock = threading.Lock()
_compiled: list[Compiled] = []

_KEPT = ("silu", "gelu", "native_layer_norm", "_softmax", "_fused_rms_norm")


def _decompositions() -> dict[Any, Callable[..., Any]]:
    table = dict(core_aten_decompositions())
    for op in list(table):
        if getattr(op, "overloadpacket", op).__name__ in _KEPT:
            del table[op]
    return table


@torch.library.custom_op("turnstone::attention", mutates_args=())
def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> Tensor:
    """Attention kept whole in the graph: q [B, H, T, d], k and v [B, G, T, d], H a multiple of G."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale, enable_gqa=True).contiguous()


@attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> Tensor:
    return q.new_empty(q.shape)


def _attention_setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.causal, ctx.scale = inputs[3:]


def _attention_backward(ctx: Any, grad: Tensor) -> tuple:
    q, k, v = ctx.saved_tensors
    g = q.shape[1] // k.shape[1]
    kk, vv = (x.repeat_interleave(g, 1) for x in (k, v))
    scores = q @ kk.transpose(-1, -2) * ctx.scale
    if ctx.causal:
        T = q.shape[2]
        scores = scores + torch.full((T, T), float("-inf"), dtype=q.dtype, device=q.device).triu(1)
    p = scores.softmax(-1)
    dv = p.transpose(-1, -2) @ grad
    dp = grad @ vv.transpose(-1, -2)
    ds = p * (dp - (dp * p).sum(-1, keepdim=True)) * ctx.scale
    dq, dk = ds @ kk, ds.transpose(-1, -2) @ q

    def shared(x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], k.shape[1], g, *x.shape[2:]).sum(2)

    return dq, shared(dk), shared(dv), None, None


attention.register_autograd(_attention_backward, setup_context=_attention_setup)


def keep_attention(gm: fx.GraphModule) -> None:
    """Puts `turnstone::attention` in the place of SDPA calls that it can stand for: no mask but the causal one, no dropout, one length."""
    sdpa = F.scaled_dot_product_attention
    for n in list(gm.graph.nodes):
        if n.op != "call_function" or n.target is not sdpa:
            continue
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        a = {**dict(zip(names, n.args, strict=False)), **n.kwargs}
        q, k, v = (a[x].meta.get("example_value") for x in names[:3])
        mask = a.get("attn_mask")
        causal = bool(a.get("is_causal", False))
        if mask is not None or a.get("dropout_p", 0.0) or any(t is None or t.dim() != 4 for t in (q, k, v)):
            continue
        if q.shape[2] != k.shape[2] or q.shape[3] != v.shape[3] or q.shape[1] % k.shape[1]:
            continue
        scale = a.get("scale")
        with gm.graph.inserting_before(n):
            new = gm.graph.call_function(
                torch.ops.turnstone.attention, (a["query"], a["key"], a["value"], causal, q.shape[3] ** -0.5 if scale is None else scale)
            )
        new.meta = dict(n.meta)
        n.replace_all_uses_with(new)
        gm.graph.erase_node(n)
    gm.recompile()


def compiled(gm: fx.GraphModule, options: Options) -> Compiled:
    made = Compiled(gm, options)
    with _lock:
        _compiled.append(made)
    return made


class ByShape:
    """A graph of any shape: tile programs are made for each that comes."""

    def __init__(self, gm: fx.GraphModule, options: Options):
        self.gm, self.options = gm, options
        self.made: dict[tuple[Any, ...], Compiled] = {}

    def __call__(self, *inputs: Any) -> Any:
        key = tuple(tuple(i.shape) if isinstance(i, Tensor) else i for i in inputs)
        if key not in self.made:
            self.made[key] = compiled(make_fx(self.gm, tracing_mode="fake")(*inputs), self.options)
        return self.made[key](*inputs)


def backend(gm: fx.GraphModule, example_inputs: Sequence[Any], **kwargs: Any) -> Callable[..., Any]:
    """The backend that `torch.compile(model, backend="turnstone", options={...})` finds; options as `Options` has them."""
    options = Options(**(kwargs.get("options") or {}))
    keep_attention(gm)

    def compile_graph(graph: fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
        symbolic = any(isinstance(n.meta.get("val"), torch.SymInt) for n in graph.graph.nodes if n.op == "placeholder")
        return make_boxed_func(ByShape(graph, options) if symbolic else compiled(graph, options))

    return aot_autograd(fw_compiler=compile_graph, bw_compiler=compile_graph, decompositions=_decompositions())(gm, example_inputs)


if "turnstone" not in torch._dynamo.list_backends(exclude_tags=()):  # where the package is not installed, only imported
    torch._dynamo.register_backend(backend, "turnstone")


def report(out: str | Path | None = None, title: str = "PyTorch on the simulated device") -> Report:
    """What was compiled and run since `reset()`. With `out`, a folder: report.html, roofline.svg, timeline.svg and trace.json (for Perfetto) too.

    Raises RuntimeError when nothing ran.
    """
    with _lock:
        ran = [c for c in _compiled if c.runs > 0]
    if not ran:
        raise RuntimeError('nothing was run with torch.compile(model, backend="turnstone")')
    ids = [i for c in ran for i in c.ids.values()]
    fallbacks = [Fallback(f.op, f.shape, f.where, f.why) for c in ran for f in c.plan.fallbacks]
    breaks = [f"{reason}" for reason in torch._dynamo.utils.counters["graph_break"]]
    if not ids:
        raise RuntimeError("nothing of it could run on the device:\n" + "\n".join(f"  {f.op} {list(f.shape)} ({f.why}) {f.where}" for f in fallbacks))
    summary, _ = bridge().call("device.report", {"graphs": ids, "out": None if out is None else str(Path(out).resolve()), "title": title})
    launches = [l for c in ran for l in c.launches]
    return Report(
        summary["device"],
        ran[0].options.numbers,
        sum(c.us for c in ran),
        [c.runs for c in ran],
        [c.on_tiles for c in ran],
        launches,
        fallbacks,
        breaks,
        summary,
    )


def reset() -> None:
    """Forgets what was compiled, here and in Dynamo."""
    with _lock:
        ids = [i for c in _compiled for i in c.ids.values()]
        _compiled.clear()
    if ids:
        bridge().call("device.drop", {"graphs": ids})
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def simulate(
    model: dict[str, Any],
    prompt: int,
    *,
    device: str | dict[str, Any] = "maia-200",
    numbers: str = "bf16",
    cached: int = 0,
    batch: int = 1,
    chips: int = 1,
    logits: bool = False,
    kv: str = "i8",
) -> dict[str, Any]:
    """Prefill of a model's shape by Turnstone's own forward pass on the device: µs, parts, launches. `model` as engine/config.ts has it."""
    value, _ = bridge().call(
        "device.simulate",
        {
            **{"device": device, "model": model, "prompt": prompt, "cached": cached},
            "batch": batch,
            "numbers": numbers,
            "chips": chips,
            "logits": logits,
            "kv": kv,
        },
    )
    return value
