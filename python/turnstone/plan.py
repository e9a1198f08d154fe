"""What of an ATen graph the device has: matches norms, projections, gated MLPs, attention and runs of elementwise ops, and orders them into segments."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from .device_ops import registered
from .errors import source_of

aten = torch.ops.aten
Node = fx.Node

#: Ops that give the same bytes another shape.
_VIEWS = {aten.view.default, aten._unsafe_view.default, aten.unsqueeze.default, aten.squeeze.dims, aten.squeeze.dim, aten.alias.default, aten.detach.default}
#: Ops that move elements, done to indices when queries, keys and values are traced to their projections.
_MOVES = _VIEWS | {
    aten.permute.default, aten.transpose.int, aten.expand.default, aten.clone.default, aten.slice.Tensor, aten.select.int, aten.split_with_sizes.default,
    aten.split.Tensor, aten.unbind.int, aten.t.default,
}  # fmt: skip
_UNARY = {
    aten.neg.default: "neg", aten.abs.default: "abs", aten.relu.default: "relu", aten.exp.default: "exp", aten.log.default: "log", aten.sqrt.default: "sqrt",
    aten.rsqrt.default: "rsqrt", aten.reciprocal.default: "reciprocal", aten.sigmoid.default: "sigmoid", aten.silu.default: "silu", aten.tanh.default: "tanh",
    aten.erf.default: "erf",
}  # fmt: skip
_BINARY = {
    aten.add.Tensor: "add", aten.sub.Tensor: "sub", aten.mul.Tensor: "mul", aten.div.Tensor: "div", aten.maximum.default: "maximum",
    aten.minimum.default: "minimum", aten.add.Scalar: "add", aten.sub.Scalar: "sub", aten.mul.Scalar: "mul", aten.div.Scalar: "div",
}  # fmt: skip
_REDUCE = {aten.mean.dim: "mean", aten.sum.dim_IntList: "sum", aten.amax.default: "amax"}
_GETITEM = "getitem"


def val(n: Node) -> Any:
    return n.meta.get("val")


def shape_of(n: Node) -> tuple[int, ...]:
    v = val(n)
    return tuple(v.shape) if isinstance(v, Tensor) else ()


def is_float(n: Any) -> bool:
    return isinstance(n, Node) and isinstance(val(n), Tensor) and val(n).dtype == torch.float32


@dataclass(eq=False)
class Source:
    """An input of a segment: a node's value, rearranged on the host."""

    node: Node
    R: int
    C: int
    #: "rows": as it is; "transposed": a matrix [K, N] as [N, K]; "pick": rows of matrices, joined; "table": cosines, then sines; "joined": vectors.
    make: str = "rows"
    more: tuple[Any, ...] = ()
    weight: bool = False
    constant: bool = False

    def value(self, env: dict[Node, Any]) -> Tensor:
        x: Tensor = env[self.node]
        if self.make == "transposed":
            x = x.t()
        elif self.make == "pick":
            x = torch.cat([env[n][rows] if n.op != "call_function" else env[n].t()[rows] for n, rows in self.more])
        elif self.make == "table":
            cos, sin = (env[n].reshape(-1, env[n].shape[-1])[: self.R, : self.C // 2] for n in (self.node, self.more[0]))
            x = torch.cat([cos, sin], -1)
        elif self.make == "joined":
            x = torch.cat([env[n][rows] for n, rows in self.more])
        elif self.make == "expanded":
            x = x.expand(self.more)
        return x.contiguous().reshape(self.R, self.C)


@dataclass(eq=False)
class Op:
    """An op of the device: what it reads (roots of values, or Sources), what it gives, the nodes that it stands for."""

    kind: str
    out: Node
    reads: list[Node | Source]
    covers: set[Node]
    attrs: dict[str, Any] = field(default_factory=dict)
    macs: int = 0
    level: int = 0


@dataclass(eq=False)
class Segment:
    """Ops that run on the device one after the other, without the host between."""

    ops: list[Op]
    inputs: list[Source] = field(default_factory=list)
    outputs: list[Node] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)
    described_ops: list[dict[str, Any]] = field(default_factory=list)
    ids: dict[Any, int] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        return {
            "values": self.values,
            "inputs": [self.ids[i] for i in self.inputs],
            "ops": self.described_ops,
            "outputs": [self.ids[n] for n in self.outputs],
        }


@dataclass
class Fallback:
    op: str
    shape: tuple[int, ...]
    where: str
    why: str


@dataclass
class Plan:
    segments: list[Segment]
    segments_at: dict[int, Segment]
    #: Nodes that the host runs before the segment of each level.
    host: list[list[Node]]
    levels: int
    result: Any
    macs: int
    fallbacks: list[Fallback]


def make_plan(gm: fx.GraphModule) -> Plan:
    return _Planner(gm.graph).plan()


class _Planner:
    def __init__(self, graph: fx.Graph):
        self.graph = graph
        self.nodes = list(graph.nodes)
        self.order = {n: i for i, n in enumerate(self.nodes)}
        self.ops: dict[Node, Op] = {}
        self.covered: dict[Node, Op] = {}
        self.why: dict[Node, str] = {}
        self.fixed = self._independent()
        self.prepared = self._prepared()

    def _independent(self) -> set[Node]:
        """Nodes that depend on no input: positions, masks, scalars."""
        out: set[Node] = set()
        for n in self.nodes:
            if n.op == "get_attr" or (n.op == "call_function" and all(i in out for i in n.all_input_nodes)):
                out.add(n)
        return out

    def _prepared(self) -> set[Node]:
        """Vectors made of vectors alone, such as 1 + w: the host makes them, as it lays weights out."""
        out: set[Node] = set(self.fixed)
        for n in self.nodes:
            if (n.op == "placeholder" and len(shape_of(n)) == 1) or (
                n.op == "call_function" and n.all_input_nodes and len(shape_of(n)) == 1 and all(i in out for i in n.all_input_nodes)
            ):
                out.add(n)
        return out

    # values and their shapes

    def root(self, n: Node) -> Node:
        """The node whose bytes this one shows in another shape."""
        while n.op == "call_function" and n not in self.ops and (n.target in _VIEWS or self._same_clone(n)):
            n = n.all_input_nodes[0]
        return n

    def _same_clone(self, n: Node) -> bool:
        if n.target not in (aten.clone.default, aten.expand.default):
            return False
        source = n.all_input_nodes[0]
        v = val(source)
        return isinstance(v, Tensor) and shape_of(source) == shape_of(n) and v.is_contiguous()

    def users(self, n: Node) -> list[Node]:
        """Users of a value, through views."""
        out: list[Node] = []
        for u in n.users:
            if u.op == "call_function" and u not in self.ops and (u.target in _VIEWS or self._same_clone(u)):
                out += self.users(u)
            else:
                out.append(u)
        return out

    def add(self, op: Op) -> Op:
        self.ops[op.out] = op
        for n in op.covers:
            self.covered[n] = op
        return op

    def free(self, nodes: Iterable[Node], out: Node) -> bool:
        """Whether the nodes are nobody's yet, and nothing outside of them reads any but `out`."""
        inside = set(nodes)
        return all(n not in self.covered and (n is out or all(u in inside for u in n.users)) for n in inside)

    # patterns

    def plan(self) -> Plan:
        calls = [n for n in self.nodes if n.op == "call_function"]
        for n in calls:
            if n.target is torch.ops.turnstone.attention.default:
                self.attention(n)
            elif str(n.target).removesuffix(".default").replace(".", "::") in registered:
                self.outside(n)
        for n in calls:
            if n.target is aten.mul.Tensor and n not in self.covered:
                self.gated(n)
        for n in calls:
            if n not in self.covered and n.target is aten.mul.Tensor:
                self.norm(n)
        for n in calls:
            if n not in self.covered and n.target in (aten.mm.default, aten.addmm.default):
                self.matmul(n)
        for n in calls:
            if n not in self.covered and n.target is aten.add.Tensor:
                self.residual(n)
        for n in calls:
            if n not in self.covered:
                self.chain(n)
        self.whole_rows()
        return self.ordered()

    def weight(self, n: Node) -> tuple[Node, bool] | None:
        """The second operand of mm [K, N]: an input's matrix, and whether it lies transposed (as nn.Linear has it). None when it is computed."""
        if n.op == "call_function" and n.target in (aten.permute.default, aten.t.default, aten.transpose.int):
            inner = n.all_input_nodes[0]
            if inner.op in ("placeholder", "get_attr") and val(inner).dim() == 2:
                return inner, True
        if n.op in ("placeholder", "get_attr"):
            return n, False
        return None

    def linear(self, n: Node) -> tuple[Node, Node, bool, Node | None] | None:
        """x, weight, whether it lies as [N, K], bias of mm or addmm."""
        if n.target is aten.mm.default:
            x, w = n.args
            bias = None
        elif n.target is aten.addmm.default and not n.kwargs:
            bias, x, w = n.args
            if len(shape_of(bias)) != 1:
                return None
        else:
            return None
        found = self.weight(w)
        return None if found is None or not is_float(x) else (x, found[0], found[1], bias)

    def matmul(self, n: Node) -> None:
        found = self.linear(n)
        if found is None:
            self.why[n] = "a product of two computed matrices"
            return
        x, w, lies, bias = found
        T, K = shape_of(x)
        N = shape_of(n)[1]
        if self.width(x) != K:
            self.why[n] = "rows that are cut differently before"
            return
        weight = Source(w, N, K, "rows" if lies else "transposed", weight=True, constant=True)
        reads: list[Node | Source] = [self.root(x), weight]
        if bias is not None:
            reads.append(Source(bias, 1, N, constant=True))
        self.add(Op("matmul", n, reads, {n}, {"bias": bias is not None}, macs=T * N * K))

    def width(self, n: Node) -> int:
        """Elements a row of the value as it lies on the device."""
        r = self.root(n)
        op = self.ops.get(r)
        return op.attrs["C"] if op and "C" in op.attrs else shape_of(r)[-1]

    def norm(self, n: Node) -> None:
        """(x · rsqrt(mean(x²) + eps)) · g"""
        for inner, g in ((n.args[0], n.args[1]), (n.args[1], n.args[0])):
            if not (isinstance(inner, Node) and isinstance(g, Node) and inner.target in (aten.mul.Tensor, aten.div.Tensor) and g in self.prepared):
                continue
            found = self.rms(inner)
            if found is None:
                continue
            x, eps, inside = found
            D = shape_of(x)[-1]
            if shape_of(g) != (D,) or self.width(x) != D or not is_float(x):
                continue
            nodes = inside | {inner, n}
            if self.free(nodes, n):
                self.add(Op("norm", n, [self.root(x), Source(g, 1, D, constant=g.op == "placeholder")], nodes, {"eps": eps}))
                return

    def rms(self, n: Node) -> tuple[Node, float, set[Node]] | None:
        """x, eps and the nodes of x · rsqrt(mean(x²) + eps), or of x / sqrt(…)."""
        for x, r in ((n.args[0], n.args[1]), (n.args[1], n.args[0])):
            if not (isinstance(x, Node) and isinstance(r, Node)):
                continue
            divided = n.target is aten.div.Tensor and r is n.args[1] and r.target is aten.sqrt.default
            if not divided and not (n.target is aten.mul.Tensor and r.target is aten.rsqrt.default):
                continue
            plus = r.args[0]
            if not (isinstance(plus, Node) and plus.target in (aten.add.Tensor, aten.add.Scalar) and isinstance(plus.args[1], (int, float))):
                continue
            mean = plus.args[0]
            if not (isinstance(mean, Node) and mean.target is aten.mean.dim and list(mean.args[1]) in ([-1], [len(shape_of(x)) - 1])):
                continue
            square = mean.args[0]
            if not isinstance(square, Node):
                continue
            of = square.args[0]
            is_square = (square.target is aten.pow.Tensor_Scalar and square.args[1] == 2) or (square.target is aten.mul.Tensor and square.args[1] is of)
            if is_square and of is x:
                return x, float(plus.args[1]), {r, plus, mean, square}
        return None

    def gated(self, n: Node) -> None:
        """act(x · gateᵀ) · (x · upᵀ): one product of both, then the gate."""
        for s, up in ((n.args[0], n.args[1]), (n.args[1], n.args[0])):
            if not (isinstance(s, Node) and isinstance(up, Node)):
                continue
            tanh = s.target is aten.gelu.default and s.kwargs.get("approximate") == "tanh"
            if s.target is not aten.silu.default and not tanh:
                continue
            gate = self.traced(s.args[0])
            other = self.traced(up)
            if gate is None or other is None or gate.bias is not None or other.bias is not None or self.root(gate.x) is not self.root(other.x):
                continue
            T, K = shape_of(gate.x)
            F = shape_of(n)[-1]
            flat = (-1, F)
            gi, ui = gate.index.reshape(flat), other.index.reshape(flat)
            if gi.shape[0] != T or not _same_rows(gi, gate.N) or not _same_rows(ui, other.N) or self.width(gate.x) != K:
                continue
            nodes = gate.nodes | other.nodes | {s, n}
            if not self.free(nodes, n):
                continue
            rows = ((gate.w, gi[0] % gate.N), (other.w, ui[0] % other.N))
            w = Source(gate.w, 2 * F, K, "pick", rows, weight=True, constant=True)
            self.add(Op("glu", n, [self.root(gate.x), w], nodes, {"C": F, "activation": "gelu" if tanh else "silu"}, macs=T * 2 * F * K))
            return

    def attention(self, n: Node) -> None:
        """Queries, keys and values of projections of one input, rotated or not."""
        q, k, v, causal, scale = n.args
        B, H, T, d = shape_of(q)
        parts = [self.traced(x) for x in (q, k, v)]
        if any(p is None for p in parts):
            self.why[n] = "queries, keys or values that are not projections, rotated or not"
            return
        tq, tk, tv = parts
        assert tq is not None and tk is not None and tv is not None
        if d % 8 or tv.rope is not None or tv.norm is not None or (tq.rope is None) != (tk.rope is None) or (tq.norm is None) != (tk.norm is None):
            self.why[n] = "heads of a width that is no multiple of 8, or parts that turn differently"
            return
        if any(self.root(p.x) is not self.root(tq.x) for p in (tk, tv)) or len({p.bias is None for p in parts}) != 1:
            self.why[n] = "queries, keys and values of different inputs"
            return
        picks = [_heads(p, B, T) for p in (tq, tk, tv)]
        if any(p is None for p in picks):
            self.why[n] = "heads that are cut differently from token to token"
            return
        pq, pk, pv = picks
        assert pq is not None and pk is not None and pv is not None
        kinds = [h for h in range(pk.shape[0]) if h == 0 or not (torch.equal(pk[h], pk[h - 1]) and torch.equal(pv[h], pv[h - 1]))]
        G = len(kinds)
        if H % G or pk.shape[0] % G or kinds != list(range(0, pk.shape[0], pk.shape[0] // G)):
            self.why[n] = "query heads that share key heads unevenly"
            return
        x = tq.x
        rows, K = shape_of(x)
        if rows != B * T or self.width(x) != K:
            self.why[n] = "tokens that are cut differently before"
            return
        joined = tuple((p.w, pick.reshape(-1)) for p, pick in ((tq, pq), (tk, pk[kinds]), (tv, pv[kinds])))
        N = (H + 2 * G) * d
        nodes = tq.nodes | tk.nodes | tv.nodes | {n}
        if not self.free(nodes, n):
            self.why[n] = "queries, keys or values that are used elsewhere too"
            return
        reads: list[Node | Source] = [self.root(x), Source(tq.w, N, K, "pick", joined, weight=True, constant=True)]
        attrs: dict[str, Any] = {
            "heads": H,
            "kvHeads": G,
            "d": d,
            "batch": B,
            "causal": causal,
            "scale": scale,
            "C": H * d,
            "N": N,
            "bias": tq.bias is not None,
        }
        if tq.bias is not None:
            assert tk.bias is not None and tv.bias is not None
            vectors = tuple((p.bias, pick.reshape(-1)) for p, pick in ((tq, pq), (tk, pk[kinds]), (tv, pv[kinds])))
            reads.append(Source(tq.bias, 1, N, "joined", vectors, constant=True))
        attrs["rope"] = tq.rope is not None
        if tq.rope is not None:
            reads.append(Source(tq.rope[0], T, d, "table", (tq.rope[1],)))
        attrs["norm"] = None
        if tq.norm is not None and tk.norm is not None:
            attrs["norm"] = tq.norm[1]
            reads += [Source(tq.norm[0], 1, d), Source(tk.norm[0], 1, d)]
        # its result lies [B·T, H·d]: the views behind it, back to tokens, are of the same bytes
        out, chain = self.to_tokens(n, B, H, T, d)
        if out is None:
            self.why[n] = "a result that is not brought back to [tokens, heads · width]"
            return
        scores = B * H * T * T * d * 2
        self.add(Op("attention", out, reads, nodes | chain, attrs, macs=B * T * N * K + scores))

    def to_tokens(self, n: Node, B: int, H: int, T: int, d: int) -> tuple[Node | None, set[Node]]:
        """The node behind attention that has [B, T, H·d] in order, and those between."""
        index = torch.arange(B * H * T * d).reshape(B, H, T, d)
        want = index.permute(0, 2, 1, 3).reshape(-1)
        seen: set[Node] = set()
        node = n
        while True:
            users = list(node.users)
            if len(users) != 1 or users[0].op != "call_function" or users[0].target not in _MOVES:
                return None, seen
            node = users[0]
            seen.add(node)
            index = _moved(node, index)
            if index.numel() == want.numel() and index.shape[-1] == H * d and torch.equal(index.reshape(-1), want):
                return node, seen

    def traced(self, n: Node) -> _Traced | None:
        """Follows moves, rotation and QK-norm back to a projection."""
        if n.op != "call_function":
            return None
        found = self.linear(n)
        if found is not None:
            x, w, lies, bias = found
            T, N = shape_of(n)
            stands = w if lies else n.args[-1]
            index = torch.arange(T * N).reshape(T, N)
            return _Traced(x, stands if isinstance(stands, Node) else w, lies, bias, N, index, {n})
        if n.target in _MOVES or _name(n) == _GETITEM:
            source = n.args[0]
            if not isinstance(source, Node):
                return None
            if _name(n) == _GETITEM:
                inner = self.traced(source.args[0]) if source.op == "call_function" and source.target in _MOVES and isinstance(source.args[0], Node) else None
                if inner is None:
                    return None
                parts = source.target(inner.index, *source.args[1:], **source.kwargs)
                return inner.with_(index=parts[n.args[1]], nodes={n, source})
            inner = self.traced(source)
            return None if inner is None else inner.with_(index=_moved(n, inner.index), nodes={n})
        turned = self.rotated(n)
        if turned is not None:
            x, cos, sin, nodes = turned
            inner = self.traced(x)
            return None if inner is None or inner.rope is not None else inner.with_(rope=(cos, sin), nodes=nodes)
        if n.target is aten.mul.Tensor:
            for a, g in ((n.args[0], n.args[1]), (n.args[1], n.args[0])):
                if isinstance(a, Node) and isinstance(g, Node) and g in self.prepared and a.target in (aten.mul.Tensor, aten.div.Tensor):
                    found_rms = self.rms(a)
                    if found_rms is not None and shape_of(g) == shape_of(n)[-1:]:
                        x, eps, inside = found_rms
                        inner = self.traced(x)
                        if inner is not None and inner.rope is None and inner.norm is None and inner.bias is None:
                            return inner.with_(norm=(g, eps), nodes=inside | {a, n})
        return None

    def rotated(self, n: Node) -> tuple[Node, Node, Node, set[Node]] | None:
        """x, cosines, sines and nodes of a rotation of pairs (i, i + d/2)."""
        if n.target is aten.add.Tensor:  # x · cos + cat(−x₂, x₁) · sin
            for a, b in ((n.args[0], n.args[1]), (n.args[1], n.args[0])):
                if not (isinstance(a, Node) and isinstance(b, Node) and a.target is aten.mul.Tensor and b.target is aten.mul.Tensor):
                    continue
                for turned, sin in ((b.args[0], b.args[1]), (b.args[1], b.args[0])):
                    if not (isinstance(turned, Node) and isinstance(sin, Node) and turned.target is aten.cat.default):
                        continue
                    pieces = turned.args[0]
                    neg, low = pieces if isinstance(pieces, (list, tuple)) and len(pieces) == 2 else (None, None)
                    if neg is None or neg.target is not aten.neg.default:
                        continue
                    x, h1, inside1 = self.half(neg.args[0])
                    x2, h2, inside2 = self.half(low)
                    if x is None or x is not x2 or (h1, h2) != (1, 0):
                        continue
                    cos = a.args[1] if a.args[0] is x else a.args[0]
                    if a.args[0] is not x and a.args[1] is not x:
                        continue
                    tables = self.tables(cos, sin)
                    if tables is not None:
                        return x, *tables, {n, a, b, turned, neg} | inside1 | inside2
        if n.target is aten.cat.default and isinstance(n.args[0], (list, tuple)) and len(n.args[0]) == 2:  # cat(a·c − b·s, b·c + a·s)
            first, second = n.args[0]
            if not (isinstance(first, Node) and first.target is aten.sub.Tensor and isinstance(second, Node) and second.target is aten.add.Tensor):
                return None
            products = [p for m in (first, second) for p in m.args]
            if not all(isinstance(p, Node) and p.target is aten.mul.Tensor for p in products):
                return None
            halves = []
            inside: set[Node] = {n, first, second}
            for p in products:
                x, h, nodes = self.half(p.args[0])
                halves.append((x, h, p.args[1]))
                inside |= nodes | {p}
            (x, h0, c), (x1, h1, s), (x2, h2, c2), (x3, h3, s2) = halves
            if x is None or any(o is not x for o in (x1, x2, x3)) or (h0, h1) != (0, 1) or c is not c2 or s is not s2 or (h2, h3) != (1, 0):
                return None
            tables = self.tables(c, s)
            if tables is not None:
                return x, *tables, inside
        return None

    def tables(self, cos: Any, sin: Any) -> tuple[Node, Node] | None:
        """Cosines and sines as the host has them: the same for all sequences and heads."""
        out = []
        for t in (cos, sin):
            if not isinstance(t, Node):
                return None
            while t.op == "call_function" and t.target in (aten.unsqueeze.default, aten.expand.default):
                t = t.args[0]
            if math.prod(shape_of(t)[:-2]) != 1:
                return None
            out.append(t)
        return out[0], out[1]

    def half(self, n: Any) -> tuple[Node | None, int, set[Node]]:
        """The node of which this is the first or second half of the last dimension."""
        if isinstance(n, Node) and n.op == "call_function":
            if n.target is aten.slice.Tensor:
                x = n.args[0]
                d = shape_of(x)[-1]
                if n.args[1] in (-1, len(shape_of(x)) - 1) and shape_of(n)[-1] * 2 == d:
                    return x, int(n.args[2] != 0), {n}
            if _name(n) == _GETITEM and isinstance(n.args[0], Node) and n.args[0].target in (aten.split_with_sizes.default, aten.split.Tensor):
                x = n.args[0].args[0]
                if shape_of(n)[-1] * 2 == shape_of(x)[-1]:
                    return x, n.args[1], {n, n.args[0]}
        return None, -1, set()

    def outside(self, n: Node) -> None:
        """An op that somebody registered."""
        op = registered[str(n.target).removesuffix(".default").replace(".", "::")]
        tensors = [a for a in n.args if isinstance(a, Node)]
        if not all(is_float(a) for a in [*tensors, n]) or len(tensors) != len(op.args):
            self.why[n] = f"{op.name} takes {len(op.args)} f32 tensors"
            return
        shape = op.shape(*[val(a) if isinstance(a, Node) else a for a in n.args])
        reads: list[Node | Source] = []
        for a in tensors:
            r = self.root(a)
            C = shape_of(r)[-1]
            known = r in self.ops or r.op == "call_function"
            reads.append(r if known and r not in self.fixed else Source(r, math.prod(shape_of(r)) // C, C))
        self.add(Op("outside", n, reads, {n}, {"name": op.name, "shape": shape, "args": op.args, "y": op.out}))

    def residual(self, n: Node) -> None:
        """x + (a projection): the product is added to x where it lies."""
        if n.kwargs:
            return
        for x, y in ((n.args[0], n.args[1]), (n.args[1], n.args[0])):
            if not (isinstance(x, Node) and isinstance(y, Node)) or shape_of(x) != shape_of(n):
                continue
            product = self.ops.get(self.root(y))
            if product is None or product.kind != "matmul" or product.attrs["bias"] or self.users(product.out) != [n] or shape_of(y) != shape_of(n):
                continue
            base = self.root(x)
            if self.width(x) != shape_of(product.out)[-1] or not is_float(x) or base.op == "get_attr":
                continue
            if any(self.order[u] > self.order[n] or u.op == "output" for u in self.users(base)):
                continue
            between = self.path(y, product.out)
            del self.ops[product.out]
            self.add(Op("matmul", n, [*product.reads, base], product.covers | between | {n}, {**product.attrs, "into": True}, product.macs))
            return

    def path(self, n: Node, to: Node) -> set[Node]:
        out: set[Node] = set()
        while n is not to:
            out.add(n)
            n = n.all_input_nodes[0]
        return out

    # runs of elementwise ops

    def chain(self, n: Node) -> None:
        """An elementwise op or a sum over rows; joins the chains that it alone reads."""
        steps = self.elementwise(n)
        if steps is None:
            return
        shape, operands, make = steps
        roots = {a: self.root(a) for a in operands if isinstance(a, Node)}
        joined = {r: op for r in roots.values() if (op := self.ops.get(r)) is not None and op.kind == "chain" and self.users(r) == [n]}
        if shape[-1] == 1:  # one value a row, of rows that are wider
            shape = next((op.attrs["full"] for op in joined.values() if op.attrs["full"][:-1] == shape[:-1]), shape)
        joined = {r: op for r, op in joined.items() if op.attrs["full"] == shape}
        reads = {}
        for a, r in roots.items():
            if r not in joined:
                reads[a] = self.operand(a, r, shape)
                if reads[a] is None:
                    self.why[n] = f"an operand of the shape {list(shape_of(a))} beside {list(shape)}"
                    return
        builder = _Chain(math.prod(shape) // shape[-1], shape[-1])
        covers = {n}
        taken = {r: builder.take(op.attrs["chain"]) for r, op in joined.items()}
        for r, op in joined.items():
            covers |= op.covers
            del self.ops[r]
        for a, r in roots.items():
            covers |= self.path(a, r) if r in joined else set()
        make(builder, [{"c": float(a)} if not isinstance(a, Node) else taken[roots[a]] if roots[a] in joined else builder.input(*reads[a]) for a in operands])
        inside = {u for u in n.users if _name(u) == _GETITEM} if n.target is aten.native_layer_norm.default else set()
        out = next((u for u in inside if u.args[1] == 0), n)
        self.add(Op("chain", out, builder.reads, covers | inside, {"chain": builder, "C": shape[-1], "full": shape}))

    def whole_rows(self) -> None:
        """Takes back the chains that give one value a row: the device stores whole rows."""
        for n in list(self.ops):
            op = self.ops[n]
            if op.kind == "chain" and op.attrs["full"] != shape_of(n):
                del self.ops[n]
                for c in op.covers:
                    self.covered.pop(c, None)
                self.why[n] = "one value a row that is read in several places"

    def operand(self, a: Node, r: Node, shape: tuple[int, ...]) -> tuple[str, Node | Source] | None:
        """How a chain reads a value: element, row or column."""
        C = shape[-1]
        R = math.prod(shape) // C
        have = shape_of(a)
        on_device = r in self.ops
        if have == shape and (not on_device or self.width(a) == C):
            return "element", r if on_device else Source(r if r is not a else a, R, C)
        if on_device:
            return None
        if have and math.prod(have) == have[-1] == C:
            return "column", Source(a, 1, C, constant=a.op == "placeholder")
        if len(have) <= len(shape) and all(h in (1, s) for h, s in zip(reversed(have), reversed(shape), strict=False)):
            return "element", Source(a, R, C, "expanded", shape)
        return None

    def elementwise(self, n: Node) -> tuple[tuple[int, ...], list[Any], Any] | None:
        """Shape, operands and how to write the steps; None for what is something else."""
        if n.op != "call_function" or n in self.prepared:
            return None
        shape = shape_of(n)
        if n.target is aten.native_layer_norm.default:
            x, dims, g, b, eps = n.args
            if len(dims) != 1 or not is_float(x) or g is None or b is None:
                return None
            if any(u.args[1] != 0 and u.users for u in n.users):
                self.why[n] = "LayerNorm whose statistics are kept for the backward pass"
                return None
            return shape_of(x), [x, g, b], lambda c, r: c.layer_norm(*r, eps)
        if not is_float(n) or not shape or math.prod(shape) == 0:
            return None
        first = n.args[0] if n.args else None
        if n.target in _UNARY and is_float(first):
            return shape, [first], lambda c, r: c.step(_UNARY[n.target], *r)
        if n.target is aten.gelu.default and is_float(first):
            name = "gelu-tanh" if n.kwargs.get("approximate") == "tanh" else "gelu"
            return shape, [first], lambda c, r: c.step(name, *r)
        if n.target is aten._softmax.default and is_float(first) and n.args[1] in (-1, len(shape) - 1):
            return shape, [first], lambda c, r: c.softmax(*r)
        if n.target is aten.pow.Tensor_Scalar and n.args[1] == 2 and is_float(first):
            return shape, [first], lambda c, r: c.step("square", *r)
        if n.target in _REDUCE and is_float(first) and list(n.args[1]) in ([-1], [len(shape_of(first)) - 1]) and n.args[2:] == (True,):
            return shape_of(first), [first], lambda c, r: c.step(_REDUCE[n.target], *r)
        if n.target in _BINARY and not n.kwargs:
            operands = list(n.args[:2])
            if all(is_float(a) or isinstance(a, (int, float)) for a in operands):
                return shape, operands, lambda c, r: c.step(_BINARY[n.target], *r)
        return None

    # order

    def ordered(self) -> Plan:
        live = self._live()
        level: dict[Node, int] = {}
        op_level: dict[Op, int] = {}
        last = 0
        for n in self.nodes:
            op = self.ops.get(n)
            if op is not None:
                at = 0
                for r in op.reads:
                    for s in _nodes(r):
                        base = self.root(s) if not isinstance(r, Source) else s
                        at = max(at, self._level(base, level, isinstance(r, Source)))
                level[n] = op_level[op] = at
                last = max(last, at)
            elif n in live and n.op in ("call_function", "get_attr", "placeholder"):
                level[n] = max((self._level(i, level, True) for i in n.all_input_nodes), default=0)
                last = max(last, level[n])
        segments: dict[int, Segment] = {}
        for op in sorted(op_level, key=lambda o: self.order[o.out]):
            segments.setdefault(op_level[op], Segment([])).ops.append(op)
        host: list[list[Node]] = [[] for _ in range(last + 2)]
        for n in self.nodes:
            if n in live and n not in self.ops and n.op in ("call_function", "get_attr"):
                host[level[n]].append(n)
        needed = {i for n in live if n not in self.ops for i in n.all_input_nodes} | {
            s for op in op_level for r in op.reads if isinstance(r, Source) for s in _nodes(r)
        }
        for s in segments.values():
            self.write(s, needed, segments)
        output = next(n for n in self.nodes if n.op == "output")
        return Plan(
            [segments[k] for k in sorted(segments)],
            segments,
            host,
            last + 2,
            output.args[0],
            sum(op.macs for op in op_level),
            [self.fallback(n) for n in self.nodes if n in live and n not in self.ops and self.computes(n)],
        )

    def _level(self, n: Node, level: dict[Node, int], read_by_host: bool) -> int:
        at = level.get(n, 0)
        return at + 1 if read_by_host and n in self.ops else at

    def _live(self) -> set[Node]:
        """Nodes that the host must have: what the output and the ops' sources need, up to what the device gives."""
        output = next(n for n in self.nodes if n.op == "output")
        stack = [output]
        for op in self.ops.values():
            for r in op.reads:
                stack += [r] if isinstance(r, Node) and r not in self.ops else []
                stack += _nodes(r) if isinstance(r, Source) else []
        live: set[Node] = set()
        while stack:
            n = stack.pop()
            if n in live:
                continue
            live.add(n)
            if n not in self.ops:
                stack += n.all_input_nodes
        return live

    def computes(self, n: Node) -> bool:
        """Whether the host's work on this node is a computation on what depends on the inputs."""
        return n.op == "call_function" and n not in self.prepared and n.target not in _MOVES and _name(n) != _GETITEM

    def fallback(self, n: Node) -> Fallback:
        where, line = source_of(n)
        return Fallback(_name(n), shape_of(n), f"{where}: {line}" if where else "", self.why.get(n, "the device has no such op"))

    def write(self, s: Segment, needed: set[Node], segments: dict[int, Segment]) -> None:
        """Values, inputs, outputs and ops of a segment, as python/bridge/device.ts takes them."""
        inside = {op.out for op in s.ops}
        sources: dict[Any, Source] = {}

        def new(key: Any, R: int, C: int, weight: bool = False) -> int:
            s.ids[key] = len(s.values)
            s.values.append({"R": R, "C": C, **({"weight": True} if weight else {})})
            return s.ids[key]

        def of(r: Node | Source) -> int:
            if isinstance(r, Source):
                key = (
                    r.node,
                    r.R,
                    r.C,
                    r.make,
                    r.weight,
                    tuple((n, tuple(i.tolist())) if isinstance(n, Node) and isinstance(i, Tensor) else (n, i) for n, i in r.more)
                    if r.make in ("pick", "joined")
                    else r.more,
                )
                if key not in sources:
                    sources[key] = r
                    s.inputs.append(r)
                    s.ids[r] = new(r, r.R, r.C, r.weight)
                return s.ids[sources[key]]
            if r in s.ids:
                return s.ids[r]
            C = self.ops[r].attrs.get("C", shape_of(r)[-1]) if r in self.ops else shape_of(r)[-1]
            if r in inside:
                return new(r, math.prod(shape_of(r)) // C, C)
            source = Source(r, math.prod(shape_of(r)) // C, C)
            s.inputs.append(source)
            s.ids[r] = s.ids[source] = new(source, source.R, source.C)
            return s.ids[r]

        for op in s.ops:
            d = _DESCRIBE[op.kind](op, of, new)
            s.described_ops += d
        elsewhere = {r for other in segments.values() if other is not s for op in other.ops for r in op.reads if isinstance(r, Node)}
        s.outputs = [op.out for op in s.ops if op.out in needed or op.out in elsewhere]


@dataclass(eq=False)
class _Traced:
    x: Node
    w: Node
    lies: bool
    bias: Node | None
    N: int
    #: Element of the projection's result [T, N].
    index: Tensor
    nodes: set[Node]
    rope: tuple[Node, Node] | None = None
    norm: tuple[Node, float] | None = None

    def with_(self, *, index: Tensor | None = None, nodes: set[Node] = frozenset(), rope: Any = None, norm: Any = None) -> _Traced:
        return _Traced(
            self.x, self.w, self.lies, self.bias, self.N, self.index if index is None else index, self.nodes | set(nodes), rope or self.rope, norm or self.norm
        )


class _Chain:
    """Steps of a run of elementwise ops, as python/bridge/chain.ts takes them; registers of steps count from −1 downwards until they are written."""

    def __init__(self, R: int, C: int):
        self.R, self.C = R, C
        self.reads: list[Node | Source] = []
        self.kinds: list[str] = []
        self.steps: list[list[Any]] = []

    def input(self, kind: str, read: Node | Source) -> tuple[str, int]:
        for i, r in enumerate(self.reads):
            if r is read:
                return ("x", i)
        self.reads.append(read)
        self.kinds.append(kind)
        return ("x", len(self.reads) - 1)

    def step(self, fn: str, *operands: Any) -> tuple[str, int]:
        self.steps.append([fn, *operands])
        return ("s", len(self.steps) - 1)

    def take(self, other: _Chain) -> tuple[str, int]:
        """Puts another chain before this one; gives its result."""
        inputs = [self.input(k, r) for k, r in zip(other.kinds, other.reads, strict=True)]
        base = len(self.steps)
        for fn, *operands in other.steps:
            moved = [inputs[o[1]] if isinstance(o, tuple) and o[0] == "x" else ("s", o[1] + base) if isinstance(o, tuple) else o for o in operands]
            self.steps.append([fn, *moved])
        return ("s", len(self.steps) - 1)

    def layer_norm(self, x: Any, g: Any, b: Any, eps: float) -> None:
        centred = self.step("sub", x, self.step("mean", x))
        inverse = self.step("rsqrt", self.step("add", self.step("mean", self.step("square", centred)), {"c": eps}))
        self.step("add", self.step("mul", self.step("mul", centred, inverse), g), b)

    def softmax(self, x: Any) -> None:
        e = self.step("exp", self.step("sub", x, self.step("amax", x)))
        self.step("div", e, self.step("sum", e))

    def described(self) -> dict[str, Any]:
        n = len(self.reads)
        steps = [[fn, *[o if isinstance(o, dict) else o[1] if o[0] == "x" else n + o[1] for o in operands]] for fn, *operands in self.steps]
        return {"R": self.R, "C": self.C, "inputs": self.kinds, "steps": steps, "outputs": [n + len(self.steps) - 1]}


def _describe_matmul(op: Op, of: Any, new: Any) -> list[dict[str, Any]]:
    x, w, *rest = op.reads
    bias = {"bias": of(rest[0])} if op.attrs["bias"] else {}
    into = {"into": of(rest[-1])} if op.attrs.get("into") else {}
    return [{"op": "matmul", "x": of(x), "w": of(w), **bias, **into, "out": of(op.out)}]


def _describe_glu(op: Op, of: Any, new: Any) -> list[dict[str, Any]]:
    x, w = op.reads
    rows = math.prod(shape_of(op.out)) // op.attrs["C"]
    both = new(("gate and up", op.out), rows, 2 * op.attrs["C"])
    return [{"op": "matmul", "x": of(x), "w": of(w), "out": both}, {"op": "glu", "x": both, "activation": op.attrs["activation"], "out": of(op.out)}]


def _describe_attention(op: Op, of: Any, new: Any) -> list[dict[str, Any]]:
    a = op.attrs
    rest = list(op.reads)
    x, w = rest.pop(0), rest.pop(0)
    rows = math.prod(shape_of(op.out)) // a["C"]
    qkv = new(("qkv", op.out), rows, a["N"])
    bias = {"bias": of(rest.pop(0))} if a["bias"] else {}
    table = of(rest.pop(0)) if a["rope"] else None
    norm = {"norm": {"q": of(rest[0]), "k": of(rest[1]), "eps": a["norm"]}} if a["norm"] is not None else {}
    shape = {k: a[k] for k in ("heads", "kvHeads", "d", "batch", "causal", "scale")}
    return [{"op": "matmul", "x": of(x), "w": of(w), **bias, "out": qkv}, {"op": "attention", "qkv": qkv, "table": table, **shape, **norm, "out": of(op.out)}]


def _describe_norm(op: Op, of: Any, new: Any) -> list[dict[str, Any]]:
    return [{"op": "norm", "x": of(op.reads[0]), "g": of(op.reads[1]), "eps": op.attrs["eps"], "out": of(op.out)}]


def _describe_chain(op: Op, of: Any, new: Any) -> list[dict[str, Any]]:
    return [{"op": "chain", "chain": op.attrs["chain"].described(), "inputs": [of(r) for r in op.reads], "outs": [of(op.out)]}]


def _describe_outside(op: Op, of: Any, new: Any) -> list[dict[str, Any]]:
    a = op.attrs
    args = {name: of(r) for name, r in zip(a["args"], op.reads, strict=True)}
    return [{"op": "outside", "name": a["name"], "shape": a["shape"], "args": {**args, a["y"]: of(op.out)}, "writes": [a["y"]]}]


_DESCRIBE = {
    "matmul": _describe_matmul,
    "glu": _describe_glu,
    "attention": _describe_attention,
    "norm": _describe_norm,
    "chain": _describe_chain,
    "outside": _describe_outside,
}


def _nodes(r: Node | Source) -> list[Node]:
    if isinstance(r, Node):
        return [r]
    extra = [m[0] for m in r.more if isinstance(m, tuple)] if r.make in ("pick", "joined") else [m for m in r.more if isinstance(m, Node)]
    return [r.node, *extra]


def _name(n: Node) -> str:
    packet = getattr(n.target, "overloadpacket", None)
    return packet.__name__ if packet is not None else getattr(n.target, "__name__", str(n.target))


def _moved(n: Node, index: Tensor) -> Tensor:
    if n.target in (aten.view.default, aten._unsafe_view.default):
        return index.reshape(n.args[1])
    return n.target(index, *n.args[1:], **n.kwargs)


def _same_rows(index: Tensor, N: int) -> bool:
    """Whether row t takes, of row t of a projection, the same elements as every other."""
    return bool((index // N == torch.arange(index.shape[0])[:, None]).all()) and bool((index % N == index[:1] % N).all())


def _heads(t: _Traced, B: int, T: int) -> Tensor | None:
    """Rows of the projection [heads, d] behind [B, heads, T, d]; None when they differ from token to token."""
    token, row = t.index // t.N, t.index % t.N
    want = torch.arange(B * T).reshape(B, 1, T, 1)
    return row[0, :, 0] if bool((token == want).all()) and bool((row == row[:1, :, :1]).all()) else None
