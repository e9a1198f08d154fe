"""Runs an exported graph on forms: what does not depend on the prompt is computed, the rest becomes terms and bases."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from .errors import Unrecognised
from .forms import Base, Form, Source, joined

#: Ops that only move elements (or change their type), and are done to indices.
_MOVES = set(
    "view _unsafe_view reshape transpose permute t unsqueeze squeeze expand slice select clone contiguous alias detach narrow flatten unflatten "
    "movedim swapaxes repeat repeat_interleave flip roll index_select expand_as view_as split split_with_sizes chunk unbind unfold numpy_T mT "
    "lift_fresh_copy detach_".split()
)
_SAME = set("to _to_copy dropout native_dropout feature_dropout float type_as".split())
#: Functions of single elements.
_POINTWISE = set("silu gelu relu sigmoid tanh exp rsqrt sqrt reciprocal softplus square erf".split())
_SKIPPED = {"_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range_for_size"}

#: What would have to be there for ops that are met and not known.
_NEEDED = {
    "layer_norm": "a family with LayerNorm (mean subtracted, bias added); Turnstone's decoders have RMSNorm. Replace it by nn.RMSNorm and fine-tune",
    "native_layer_norm": "a family with LayerNorm; Turnstone's decoders have RMSNorm",
    "topk": "a family with routed experts (top-k of a router's output)",
    "conv1d": "a family with convolutions and their state",
    "group_norm": "a family with GroupNorm; Turnstone's decoders have RMSNorm",
    "cumsum": "a family whose attention depends on the prompt's tokens or on running sums",
    "scatter": "a family with routed experts",
}


class Interpreter:
    """Values of a graph's nodes: tensors where they do not depend on the prompt, forms where they do. One prompt of one sequence."""

    def __init__(self, program: ExportedProgram):
        self.program = program
        self.graph = program.graph
        self.order = {n: i for i, n in enumerate(self.graph.nodes)}
        self.values: dict[Node, Any] = {}
        signature = program.graph_signature
        self.stored: dict[str, Tensor] = {}
        tensors = {**program.state_dict, **program.constants}
        for spec in signature.input_specs:
            if spec.target is not None and spec.target in tensors:
                self.stored[spec.arg.name] = tensors[spec.target].detach()
        ids = [n for n in self.graph.nodes if n.op == "placeholder" and n.name in signature.user_inputs]
        if len(ids) != 1:
            raise Unrecognised(None, f"The module takes {len(ids)} inputs", "a forward that takes token ids alone (wrap the module in one that does)")
        self.ids = ids[0]

    def result(self) -> Form:
        """The form of the first output. Raises Unrecognised where the graph leaves what a decoder does."""
        out = next(n for n in self.graph.nodes if n.op == "output").args[0]
        first = out[0] if isinstance(out, (tuple, list)) else out
        value = self.value(first)
        if not isinstance(value, Form):
            raise Unrecognised(first, "The output does not depend on the token ids", "logits [1, T, vocab] as the first output")
        return value

    def value(self, node: Node) -> Any:
        """Evaluates the node and, first, all it needs."""
        stack = [node]
        while stack:
            n = stack[-1]
            if n in self.values:
                stack.pop()
                continue
            missing = [i for i in n.all_input_nodes if i not in self.values]
            if missing:
                stack.extend(missing)
                continue
            self.values[n] = self._evaluate(n)
            stack.pop()
        return self.values[node]

    def _evaluate(self, n: Node) -> Any:
        if n.op == "placeholder":
            if n is self.ids:
                shape = tuple(n.meta["val"].shape)
                return Form.of(Base("ids", n, shape, order=self.order[n]))
            return self.stored[n.name]
        if n.op == "get_attr":
            return getattr(self.program.graph_module, str(n.target))
        if n.op != "call_function":
            raise Unrecognised(n, f"{n.op} {n.target}", "a graph of function calls, as torch.export makes it")
        args = torch.fx.node.map_arg(n.args, lambda i: self.values[i])
        kwargs = torch.fx.node.map_arg(n.kwargs, lambda i: self.values[i])
        name = _name(n)
        if name in _SKIPPED:
            return None
        if not _has_form((args, kwargs)):
            with torch.no_grad():
                return _op(n)(*args, **kwargs)
        return self._symbolic(n, name, args, dict(kwargs))

    def base(self, kind: str, n: Node, inputs: tuple[Form, ...], shape: tuple[int, ...] | None = None, **attrs: Any) -> Form:
        shape = tuple(n.meta["val"].shape) if shape is None else shape
        return Form.of(Base(kind, n, shape, inputs, attrs, self.order[n]))

    def _symbolic(self, n: Node, name: str, args: Any, kwargs: dict) -> Any:
        first = args[0]
        if name == "getitem":
            return first[args[1]]
        ids = [a for a in _forms((args, kwargs)) if a.only is not None and a.only.base.kind == "ids"]
        if ids and name not in _MOVES | _SAME | {"embedding"}:
            raise Unrecognised(n, f"{name} of the token ids", "token ids that are only looked up in an embedding (no padding mask made of them)")
        if name in _SAME:
            return first
        if name in _MOVES:
            return _move(n, first, args[1:], kwargs)
        handler: Callable | None = getattr(self, f"op_{name}", None)
        if handler is not None:
            return handler(n, *args, **kwargs)
        if name in _POINTWISE:
            extra = {"approximate": kwargs["approximate"]} if "approximate" in kwargs else {}
            return self.base(name, n, (first,), **extra)
        needed = _NEEDED.get(name, f"an op of Turnstone's backends that computes {name}, and a family that has it")
        raise Unrecognised(n, f"{name}: not part of a decoder that Turnstone runs", needed)

    # sums and products

    def op_add(self, n: Node, a: Any, b: Any, *, alpha: float = 1) -> Form:
        if not isinstance(a, Form):
            return self.op_add(n, b if alpha == 1 else b.times(alpha), a)
        if isinstance(b, Form):
            return a.plus(b.times(alpha) if alpha != 1 else b)
        source = tuple((i, lambda x: x.double() * alpha) for i in n.args[:2] if isinstance(i, Node) and not isinstance(self.values[i], Form))
        return a.plus(torch.as_tensor(b, dtype=torch.float64) * alpha, source)

    op_add_ = op_add

    def op_sub(self, n: Node, a: Any, b: Any, *, alpha: float = 1) -> Form:
        minus = b.times(-alpha) if isinstance(b, Form) else -torch.as_tensor(b, dtype=torch.float64) * alpha
        return self.op_add(n, a, minus)

    def op_rsub(self, n: Node, a: Any, b: Any) -> Form:
        return self.op_sub(n, b, a)

    def op_neg(self, n: Node, a: Form) -> Form:
        return a.times(-1)

    def op_mul(self, n: Node, a: Any, b: Any) -> Any:
        if isinstance(a, Complex) or isinstance(b, Complex):
            return a.times(b) if isinstance(a, Complex) else b.times(a)
        if not isinstance(a, Form):
            a, b = b, a
        if not isinstance(b, Form):
            return a.times(b)
        if a.same(b):
            return self.base("square", n, (a,))
        return self._rms(n, a, b) or self._rms(n, b, a) or self._product(n, a, b)

    op_mul_ = op_mul

    def op_div(self, n: Node, a: Any, b: Any) -> Form:
        if not isinstance(b, Form):
            return a.times(1 / torch.as_tensor(b, dtype=torch.float64))
        inverse = self.base("reciprocal", n, (b,), shape=b.shape)
        return self.op_mul(n, a, inverse)

    def op_pow(self, n: Node, a: Any, b: Any) -> Form:
        if not isinstance(a, Form) or isinstance(b, (Form, Tensor)):
            raise Unrecognised(n, "a power with a computed exponent", "powers 2, 0.5 and -0.5")
        kind = {2: "square", 0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}.get(b)
        if b == 1:
            return a
        if kind is None:
            raise Unrecognised(n, f"the power {b}", "powers 2, 0.5 and -0.5")
        return self.base(kind, n, (a,))

    def op_mean(self, n: Node, a: Form, dim: list[int] | None = None, keepdim: bool = False, **_: Any) -> Form:
        dims = [d % len(a.shape) for d in (dim if dim is not None else range(len(a.shape)))]
        if dims != [len(a.shape) - 1]:
            raise Unrecognised(n, f"a mean over dimensions {dims}", "means over the last dimension, as RMSNorm takes them")
        return self.base("mean", n, (a,), over=a.shape[-1])

    def _product(self, n: Node, a: Form, b: Form) -> Form:
        shape = tuple(torch.broadcast_shapes(a.shape, b.shape))
        factors: list[Form] = []
        scale: Tensor | float = 1.0
        for f in (a.expanded(shape), b.expanded(shape)):
            t = f.only
            if t is not None and t.base.kind == "product":
                factors += [g.at(t.index) for g in t.base.inputs]
                scale = t.scale * scale
            else:
                factors.append(f)
        return self.base("product", n, tuple(factors), shape=shape).times(scale)

    def _rms(self, n: Node, x: Form, root: Form) -> Form | None:
        """x · rsqrt(mean(x²) + eps)."""
        t = root.only
        if t is None:
            return None
        if t.base.kind == "rsqrt":
            return self._norm(n, x, t.base.inputs[0], t.scale)
        if t.base.kind == "reciprocal":
            inner = t.base.inputs[0].only
            if inner is not None and inner.base.kind == "sqrt":
                return self._norm(n, x, inner.base.inputs[0], t.scale)
        return None

    def _norm(self, n: Node, x: Form, under: Form, scale: Tensor | float = 1.0) -> Form | None:
        """RMSNorm of x when `under` is mean(x²) + eps over the last dimension."""
        if len(under.terms) != 1:
            return None
        mean = under.terms[0]
        if mean.base.kind not in ("mean", "sum") or not torch.all(mean.scale == mean.scale.flatten()[0]):
            return None
        square = mean.base.inputs[0].only
        if square is None or square.base.kind != "square" or not square.base.inputs[0].same(x):
            return None
        eps = 0.0 if under.constant is None else float(under.constant.flatten()[0])
        width = x.shape[-1]
        # sums, and means that were scaled: x / sqrt(c · mean + eps) = x / sqrt(mean + eps / c) / sqrt(c)
        c = float(mean.scale.flatten()[0]) * (width if mean.base.kind == "sum" else 1.0)
        return self.base("rms", n, (x,), shape=x.shape, eps=eps / c).times(scale if c == 1.0 else torch.as_tensor(scale) / c**0.5)

    def op_rms_norm(self, n: Node, x: Form, shape: list[int], weight: Tensor | None = None, eps: float | None = None) -> Form:
        if len(shape) != 1:
            raise Unrecognised(n, f"RMSNorm over {len(shape)} dimensions", "RMSNorm over the last dimension")
        normed = self.base("rms", n, (x,), shape=x.shape, eps=torch.finfo(torch.float32).eps if eps is None else eps)
        return normed if weight is None else normed.times(weight)

    def op__fused_rms_norm(self, n: Node, *args: Any) -> tuple:
        return (self.op_rms_norm(n, *args), None)

    # matrices

    def op_embedding(self, n: Node, weight: Tensor, ids: Any, *_: Any, **__: Any) -> Form:
        if not isinstance(ids, Form):
            raise Unrecognised(n, "an embedding of something else than token ids", "one embedding, of the token ids")
        return self.base("embedding", n, (ids,), weight=weight)

    def op_linear(self, n: Node, x: Form, weight: Any, bias: Any = None) -> Form:
        if isinstance(weight, Form):
            raise Unrecognised(n, "a matrix that depends on the prompt", "projections with fixed weights")
        out = self.base("linear", n, (x,), shape=(*x.shape[:-1], weight.shape[0]), weight=weight)
        return out if bias is None else out.plus(bias)

    def op_matmul(self, n: Node, a: Any, b: Any) -> Form:
        if isinstance(a, Form) and isinstance(b, Form):
            return self._multiply(n, a, b)
        if isinstance(a, Form) and b.dim() == 2:
            return self.op_linear(n, a, b.t())
        raise Unrecognised(n, "a product with a constant on its left, or with a batch of constants", "x @ w with one matrix w")

    op_mm = op_matmul
    op_bmm = op_matmul

    def op_addmm(self, n: Node, bias: Tensor, a: Form, b: Tensor, *, alpha: float = 1, beta: float = 1) -> Form:
        return self.op_matmul(n, a, b).times(alpha).plus(bias * beta)

    def _multiply(self, n: Node, a: Form, b: Form) -> Form:
        """[.., M, K] @ [.., K, N] of two forms."""
        batch = tuple(torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
        a = a.expanded((*batch, *a.shape[-2:]))
        b = b.expanded((*batch, *b.shape[-2:]))
        shape = (*batch, a.shape[-2], b.shape[-1])
        weights = a.only
        if weights is not None and weights.base.kind == "softmax":
            v = b.moved(lambda x: x)
            return self._attention(n, a, v, shape)
        return self.base("scores", n, (a, b.moved(lambda x: x.transpose(-1, -2))), shape=shape)

    # attention

    def op_softmax(self, n: Node, a: Form, dim: int, *_: Any, **__: Any) -> Form:
        if dim % len(a.shape) != len(a.shape) - 1:
            raise Unrecognised(n, f"a softmax over dimension {dim}", "softmax over the keys, the last dimension")
        return self.base("softmax", n, (a,), shape=a.shape)

    op__softmax = op_softmax

    def op_masked_fill(self, n: Node, a: Form, mask: Any, value: Any) -> Form:
        if isinstance(mask, Form):
            raise Unrecognised(n, "a mask that depends on the prompt", "a causal mask, or one with a window, that depends on positions alone")
        if float(value) > -1e4:
            raise Unrecognised(n, f"masked_fill with {value}", "masks that fill scores with -inf")
        return a.plus(_hidden(mask), _source(n.args[1], _hidden))

    op_masked_fill_ = op_masked_fill

    def op_where(self, n: Node, mask: Any, a: Any, b: Any) -> Form:
        if isinstance(mask, Form):
            raise Unrecognised(n, "a choice that depends on the prompt", "masks that depend on positions alone")
        if isinstance(a, Form) and not isinstance(b, Form):
            value, form, hide = b, a, _shown
        elif isinstance(b, Form) and not isinstance(a, Form):
            value, form, hide = a, b, _hidden
        else:
            raise Unrecognised(n, "a choice between two computed values", "masks that fill scores with -inf")
        if not (torch.as_tensor(value) <= -1e4).all():
            raise Unrecognised(n, "a choice that fills with something else than -inf", "masks that fill scores with -inf")
        return form.plus(hide(mask), _source(n.args[0], hide))

    def _attention(self, n: Node, weights: Form, v: Form, shape: tuple[int, ...]) -> Form:
        """softmax(q·kᵀ · scale + mask) · v, written out."""
        soft = weights.terms[0].base
        scores = soft.inputs[0]
        index = weights.terms[0].index
        if not torch.equal(index.flatten(), torch.arange(index.numel())):
            if sorted(index.flatten().tolist()) != list(range(index.numel())):
                raise Unrecognised(n, "rearranged attention weights", "softmax(q @ kᵀ) @ v")
        if not torch.all(weights.terms[0].scale == 1):
            raise Unrecognised(n, "scaled attention weights", "softmax(q @ kᵀ) @ v")
        scores = scores.at(index)
        cap = None
        term = scores.terms[0]
        constant, sources = scores.constant, scores.sources
        if len(scores.terms) == 1 and term.base.kind == "tanh":
            cap = float(term.scale.flatten()[0])
            inner = term.base.inputs[0].at(term.index)
            term = inner.terms[0]
            if inner.constant is not None or len(inner.terms) != 1:
                raise Unrecognised(n, "a soft cap over masked scores", "cap · tanh(q @ kᵀ / cap), then the mask")
            scale = term.scale * cap
        else:
            scale = term.scale
        if len(scores.terms) != 1 or term.base.kind != "scores":
            raise Unrecognised(soft.node, "a softmax of something else than q @ kᵀ", "softmax(q @ kᵀ · scale + mask) @ v")
        one = float(scale.flatten()[0])
        if not torch.allclose(scale, torch.full_like(scale, one)):
            raise Unrecognised(soft.node, "scores with scales of their own (ALiBi and the like)", "one scale for all scores")
        q, k = term.base.inputs
        # rows of q and k for each of this attention's heads, by where its scores came from
        M, N = term.base.shape[-2:]
        where = term.index
        rows = (where // N)[..., 0]
        head = rows // M
        flat_q = q.moved(lambda x: x.reshape(-1, *x.shape[-2:]))
        flat_k = k.moved(lambda x: x.reshape(-1, *x.shape[-2:]))
        pick = head.reshape(-1, M)[:, 0]
        qs = flat_q.moved(lambda x: x[pick].reshape(*where.shape[:-2], *x.shape[-2:]))
        ks = flat_k.moved(lambda x: x[pick].reshape(*where.shape[:-2], *x.shape[-2:]))
        return self.base("attention", n, (_heads(qs), _heads(ks), _heads(v)), shape=shape, scale=one, mask=constant, sources=sources, cap=cap)

    def op_scaled_dot_product_attention(
        self,
        n: Node,
        q: Form,
        k: Form,
        v: Form,
        mask: Any = None,
        dropout: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Form:
        if isinstance(mask, Form):
            raise Unrecognised(n, "an attention mask that depends on the prompt", "a mask that depends on positions alone")
        shape = tuple(n.meta["val"].shape)
        rep = q.shape[-3] // k.shape[-3]
        if rep > 1:
            k, v = (f.moved(lambda x: x.repeat_interleave(rep, -3)) for f in (k, v))
        sources: tuple[Source, ...] = ()
        if mask is not None:
            sources = _source(n.args[3] if len(n.args) > 3 else n.kwargs.get("attn_mask"), _shown)
            mask = _shown(mask)
        elif is_causal:
            T = q.shape[-2]
            mask = torch.full((T, T), float("-inf"), dtype=torch.float64).triu(1)
        one = q.shape[-1] ** -0.5 if scale is None else float(scale)
        return self.base("attention", n, (_heads(q), _heads(k), _heads(v)), shape=shape, scale=one, mask=mask, sources=sources, cap=None)

    # movement that takes several

    def op_cat(self, n: Node, parts: list[Any], dim: int = 0) -> Form:
        return joined([_form(p) for p in parts], lambda xs: torch.cat(list(xs), dim))

    def op_stack(self, n: Node, parts: list[Any], dim: int = 0) -> Form:
        return joined([_form(p) for p in parts], lambda xs: torch.stack(list(xs), dim))

    def op_index(self, n: Node, a: Form, index: list[Tensor | None]) -> Form:
        if any(isinstance(i, Form) for i in index):
            raise Unrecognised(n, "an index that depends on the prompt", "indices that depend on positions alone")
        return a.moved(lambda x: torch.ops.aten.index.Tensor(x, index))

    def op_view_as_complex(self, n: Node, a: Form) -> "Complex":
        return Complex(a.moved(lambda x: x[..., 0]), a.moved(lambda x: x[..., 1]))

    def op_view_as_real(self, n: Node, a: "Complex") -> Form:
        return joined([a.re, a.im], lambda xs: torch.stack(list(xs), -1))

    def op_einsum(self, n: Node, equation: str, operands: list[Any], **_: Any) -> Form:
        raise Unrecognised(n, f"einsum {equation!r}", "the same with matmul and transpose (torch.export keeps einsum whole)")

    def op_sum(self, n: Node, a: Form, dim: list[int] | None = None, keepdim: bool = False, **_: Any) -> Form:
        dims = [d % len(a.shape) for d in (dim or range(len(a.shape)))]
        if dims != [len(a.shape) - 1]:
            raise Unrecognised(n, f"a sum over dimensions {dims}", "sums over the last dimension, as RMSNorm takes them")
        return self.base("sum", n, (a,), over=a.shape[-1])


class Complex:
    """Pairs as complex numbers, as Llama's own code rotates them."""

    def __init__(self, re: Form, im: Form):
        self.re, self.im, self.shape = re, im, re.shape

    def times(self, c: Tensor) -> "Complex":
        a, b = c.real.double(), c.imag.double()
        return Complex(self.re.times(a).plus(self.im.times(-b)), self.re.times(b).plus(self.im.times(a)))

    def moved(self, move: Callable[[Tensor], Tensor]) -> "Complex":
        return Complex(self.re.moved(move), self.im.moved(move))

    def same(self, other: Any) -> bool:
        return False

    only = None


def _heads(f: Form) -> Form:
    """[.., T, d] as [heads, T, d]."""
    return f.moved(lambda x: x.reshape(-1, *x.shape[-2:]))


def _hidden(mask: Tensor) -> Tensor:
    """What a mask adds to scores: -inf where it is true; a mask of numbers as it is."""
    return torch.zeros(mask.shape, dtype=torch.float64).masked_fill(mask, float("-inf")) if mask.dtype == torch.bool else mask.double()


def _shown(mask: Tensor) -> Tensor:
    """The same for a mask that is true where keys are seen."""
    return _hidden(~mask if mask.dtype == torch.bool else mask)


def _source(node: Any, make: Callable[[Tensor], Tensor]) -> tuple[Source, ...]:
    return ((node, make),) if isinstance(node, Node) else ()


def _form(value: Any) -> Form:
    if isinstance(value, Form):
        return value
    raise Unrecognised(None, "a constant joined to computed values", "concatenations of computed values (constants may be added)")


def _move(n: Node, x: Form | Complex, args: Any, kwargs: dict) -> Any:
    op = torch.reshape if _name(n) in ("view", "_unsafe_view") else _op(n)
    if isinstance(x, Form):
        sample = op(x.terms[0].index, *args, **kwargs)
        if isinstance(sample, (tuple, list)):
            return [x.moved(partial(lambda i, t: op(t, *args, **kwargs)[i], i)) for i in range(len(sample))]
    return x.moved(lambda t: op(t, *args, **kwargs))


def _op(n: Node) -> Callable[..., Any]:
    assert callable(n.target)
    return n.target


def _name(n: Node) -> str:
    packet = getattr(n.target, "overloadpacket", None)
    return packet.__name__ if packet is not None else getattr(n.target, "__name__", str(n.target))


def _forms(value: Any) -> list:
    found: list = []
    torch.utils._pytree.tree_map(lambda v: found.append(v) if isinstance(v, (Form, Complex)) else None, value, is_leaf=lambda v: isinstance(v, (Form, Complex)))
    return found


def _has_form(value: Any) -> bool:
    return len(_forms(value)) > 0
