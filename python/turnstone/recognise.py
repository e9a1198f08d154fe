"""Reads a decoder out of the form of its logits: what each part is, and its weights in one canonical order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import Unrecognised
from .forms import Base, Form, Term
from .interpret import Interpreter


@dataclass
class Norm:
    gain: Tensor  # [D]
    eps: float


@dataclass
class Attention:
    heads: int
    kv_heads: int
    head_dim: int
    #: softmax(scale · q·kᵀ)
    scale: float
    #: Angle a position of each pair [d/2]; None without rotation.
    frequencies: Tensor | None
    #: Rows of q, k and v, heads in order, rotate-half order within a head.
    q: Tensor
    k: Tensor
    v: Tensor
    bias: tuple[Tensor, Tensor, Tensor] | None
    q_norm: Norm | None
    k_norm: Norm | None
    o: Tensor
    #: Keys that a query sees, itself included; None: all before it.
    window: int | None
    softcap: float | None


@dataclass
class Mlp:
    activation: str
    gate: Tensor
    up: Tensor
    down: Tensor


@dataclass
class Layer:
    attn_norm: Norm
    attention: Attention
    #: RMSNorm of the attention's (the MLP's) output before it joins the residual stream.
    post_attn_norm: Norm | None
    ffn_norm: Norm
    mlp: Mlp
    post_ffn_norm: Norm | None


@dataclass
class Decoder:
    embedding: Tensor  # [V, D]
    #: Factor of the embedding's rows.
    embedding_scale: float
    layers: list[Layer]
    norm: Norm
    #: [V, D]; the embedding itself when tied.
    head: Tensor
    tied: bool
    #: logits = cap · tanh(logits / cap)
    softcap: float | None


def refuse(base: Base | None, what: str, needed: str) -> Unrecognised:
    return Unrecognised(base.node if base is not None else None, what, needed)


def recognise(interpreter: Interpreter, long: Interpreter | None = None) -> Decoder:
    """The decoder behind the graph's first output. `long`: the same module traced on a longer prompt, from which windows are read.

    Raises Unrecognised with the piece of graph that is something else.
    """
    return _Reader(interpreter, long).decoder()


class _Reader:
    def __init__(self, interpreter: Interpreter, long: Interpreter | None):
        self.run = interpreter
        self.long = long
        self.T = interpreter.ids.meta["val"].shape[-1]

    def decoder(self) -> Decoder:
        logits = self.run.result()
        cap = None
        term = logits.only
        if term is not None and term.base.kind == "tanh":
            cap = float(term.scale.flatten()[0])
            logits = term.base.inputs[0].at(term.index).times(cap)
        V = logits.shape[-1]
        x, head, bias = self.affine(logits.moved(lambda t: t.reshape(-1, V)[-1:]))
        if bias is not None:
            raise refuse(logits.terms[0].base, "The output head has a bias", "a head without bias")
        norm, stream = self.norm(x)
        residual = self.residual(stream)
        embedding, parts = residual
        E = embedding.base.attrs["weight"]
        scale = float(embedding.scale.flatten()[0])
        if len(parts) % 2:
            raise refuse(parts[-1][0].base, f"The residual stream gets {len(parts)} parts", "attention and MLP in turns, each behind its norm")
        layers = []
        so_far = [embedding]
        for i in range(0, len(parts), 2):
            attn, mlp = parts[i], parts[i + 1]
            attn_norm, attention, post_attn = self.attention(attn, so_far)
            so_far = so_far + attn
            ffn_norm, m, post_ffn = self.mlp(mlp, so_far)
            so_far = so_far + mlp
            layers.append(Layer(attn_norm, attention, post_attn, ffn_norm, m, post_ffn))
        tied = False
        if head.shape == E.shape:  # the embedding itself, or a multiple of it: then the last norm takes the factor
            factor = float((head.double() * E.double()).sum() / (E.double() ** 2).sum())
            tied = torch.allclose(head, E * factor, rtol=1e-6, atol=1e-9)
            if tied:
                norm = Norm(norm.gain * factor, norm.eps)
        return Decoder(E, scale, layers, norm, E if tied else head, tied, cap)

    # forms read per token

    def tokens(self, f: Form) -> Form:
        """[T, n]: the token's axis first, the rest in order. [1, n] of the last token where the module keeps no other."""
        t = f.terms[0]
        for size in (self.T, 1):
            for axis in range(len(f.shape)):
                if f.shape[axis] == size and self.is_token_axis(f, axis):
                    return f.moved(lambda x: x.movedim(axis, 0).reshape(size, -1))
        raise refuse(t.base, "Tokens of the prompt are mixed here", "parts that treat every token by itself, but for attention")

    def is_token_axis(self, f: Form, axis: int) -> bool:
        size = f.shape[axis]
        moved = self.token_of(f.terms[0]).movedim(axis, 0).reshape(size, -1)
        return bool((moved == torch.arange(self.T)[-size:, None]).all())

    def token_of(self, t: Term) -> Tensor:
        """Position of each element's token."""
        shape = t.base.shape
        axis = self.token_axis(t.base)
        stride = math.prod(shape[axis + 1 :])
        return (t.index // stride) % shape[axis] + (self.T - shape[axis])  # one row alone: the last token's

    def token_axis(self, base: Base) -> int:
        if "axis" not in base.attrs:
            base.attrs["axis"] = self._token_axis(base)
        return base.attrs["axis"]

    def _token_axis(self, base: Base) -> int:
        if base.kind == "embedding":
            return len(base.shape) - 2
        if base.kind == "attention":
            return len(base.shape) - 2
        f = base.inputs[0]
        for want in (self.T, 1):
            for axis, size in enumerate(base.shape[: len(f.shape)]):
                if size == want == f.shape[axis] and self.is_token_axis(f, axis):
                    return axis
        raise refuse(base, "Tokens of the prompt are mixed here", "parts that treat every token by itself, but for attention")

    def per_token(self, t: Term, f: Form) -> Tensor:
        """Scale of a term [T, n] that is the same for every token, as [n]."""
        first = t.scale[0]
        if not torch.allclose(t.scale, first.expand_as(t.scale), rtol=1e-5, atol=1e-7):
            raise refuse(
                t.base, "A factor that differs from token to token", "factors that are the same for every token (only rotations depend on the position)"
            )
        return first

    # projections and norms

    def affine(self, form: Form) -> tuple[Form, Tensor, Tensor | None]:
        """form[T, n] as W·x + b of one x [T, K]: sums and products of projections are multiplied out (LoRA). Gives x, W [n, K], b."""
        f = self.tokens(form)
        total: Tensor | None = None
        bias: Tensor | None = None
        source: Form | None = None
        for t in f.terms:
            if t.base.kind != "linear":
                raise refuse(t.base, f"{t.base.kind} where a projection was expected", "a projection (nn.Linear or x @ w) of the normed residual stream")
            c = self.per_token(t, f)
            weight = t.base.attrs["weight"]
            N = weight.shape[0]
            rows = (t.index % N)[0]
            W = weight[rows] * c[:, None]
            inner = self.tokens(t.base.inputs[0])
            b: Tensor | None = None
            if all(u.base.kind == "linear" for u in inner.terms):
                inner, W2, b2 = self.affine(inner)
                b = None if b2 is None else W.double() @ b2
                W = W.double() @ W2.double()
            if source is not None and not source.same(inner):
                raise refuse(t.base, "A sum of projections of different inputs", "projections of one input")
            source = inner
            total = W if total is None else total + W
            if b is not None:
                bias = b if bias is None else bias + b
        if f.constant is not None:
            if not torch.allclose(f.constant, f.constant[:1].expand_as(f.constant)):
                raise refuse(f.terms[0].base, "A constant that differs from token to token is added", "rotary positions, not learned or sinusoidal ones")
            bias = f.constant[0] if bias is None else bias + f.constant[0]
        assert source is not None and total is not None
        return source, total.float(), None if bias is None or not bias.any() else bias.float()

    def norm(self, x: Form) -> tuple[Norm, Form]:
        """x [T, K] as RMSNorm(stream) · gain."""
        x = self.tokens(x)
        t = x.only
        if t is None or t.base.kind != "rms":
            base = x.terms[0].base
            raise refuse(base, f"{base.kind} where RMSNorm of the residual stream was expected", "a norm before every projection of the residual stream")
        if not torch.equal(t.index.flatten(), torch.arange(t.base.inputs[0].terms[0].index.numel())[-t.index.numel() :]):
            raise refuse(t.base, "A norm over a part of the stream", "RMSNorm over the whole width")
        return Norm(self.per_token(t, x).float(), t.base.attrs["eps"]), self.tokens(t.base.inputs[0])

    def residual(self, stream: Form) -> tuple[Term, list[list[Term]]]:
        """The stream's parts in order: the embedding's term, then groups of terms with one source each."""
        if stream.constant is not None:
            node = stream.sources[0][0] if stream.sources else stream.terms[0].base.node
            user = next(iter(node.users)) if node.op in ("placeholder", "get_attr") and node.users else node
            raise Unrecognised(
                user,
                "A constant is added to the residual stream (learned or sinusoidal positions, or a bias)",
                "rotary positions inside attention, projections o and down without bias",
            )
        terms = sorted(stream.terms, key=lambda t: t.base.order)
        first = terms[0]
        if first.base.kind != "embedding":
            raise refuse(first.base, f"The residual stream begins with {first.base.kind}", "an embedding of the token ids")
        for t in terms:
            if not torch.equal(t.index.flatten(), torch.arange(t.index.numel())):
                raise refuse(t.base, "A rearranged part of the residual stream", "parts that are added as they are")
        groups: list[list[Term]] = []
        sources: list[Form] = []
        for t in terms[1:]:
            source = self.source(t)
            if sources and sources[-1].same(source):
                groups[-1].append(t)
            else:
                groups.append([t])
                sources.append(source)
        return first, groups

    def source(self, t: Term) -> Form:
        base = t.base
        if base.kind == "rms":  # norm after the part
            return self.affine(base.inputs[0])[0]
        if base.kind != "linear":
            raise refuse(base, f"{base.kind} is added to the residual stream", "the output of a projection (o, down), with a norm behind it or not")
        return self.affine(Form(base.shape, [Term(base, t.index.reshape(base.shape), torch.ones(base.shape, dtype=torch.float64))]))[0]

    def part(self, terms: list[Term]) -> tuple[Form, Tensor, Norm | None]:
        """Source, W and the norm behind it, of what is added to the stream."""
        shape = terms[0].index.shape
        f = Form(tuple(shape), terms)
        post = None
        if terms[0].base.kind == "rms":
            post = Norm(self.per_token(terms[0], f).float(), terms[0].base.attrs["eps"])
            f = self.tokens(terms[0].base.inputs[0])
        x, W, bias = self.affine(f)
        if bias is not None:
            raise refuse(terms[0].base, "A projection into the residual stream has a bias", "o and down without bias")
        return x, W, post

    def normed(self, x: Form, so_far: list[Term], of: Base) -> Norm:
        """x must be the norm of the stream as it was before this part."""
        norm, stream = self.norm(x)
        want = Form(stream.shape, [Term(t.base, t.index.reshape(stream.shape), t.scale.reshape(stream.shape)) for t in so_far])
        if not stream.same(want):
            raise refuse(
                of,
                "A part that does not read the residual stream as it is then (parallel attention and MLP, or a skip)",
                "attention, then MLP, each of the whole stream before it",
            )
        return norm

    # attention

    def attention(self, terms: list[Term], so_far: list[Term]) -> tuple[Norm, Attention, Norm | None]:
        x, o, post = self.part(terms)
        t = x.only
        if t is None or t.base.kind != "attention":
            base = x.terms[0].base
            raise refuse(base, f"{base.kind} where attention was expected", "attention, then a gated MLP, in every layer")
        base = t.base
        q, k, v = base.inputs
        H, T, d = q.shape
        if v.shape[-1] != d:
            raise refuse(base, f"Values of {v.shape[-1]} elements beside keys of {d}", "heads of one width")
        window = self.window(base)
        qn, qs, qb, qf, q_norm = self.heads(q, base)
        kn, ks, kb, kf, k_norm = self.heads(k, base)
        xv, vs, vb = self.affine(v.moved(lambda z: z.transpose(0, 1)))
        vs = vs.reshape(H, d, -1)
        norm = self.normed(qn, so_far, base)
        for other in (kn, xv):
            if not other.same(qn):
                raise refuse(base, "Queries, keys and values of different inputs", "q, k and v of one norm")
        if not _same_turn(qf, kf):
            raise refuse(base, "Queries and keys that turn differently", "one rotation for both")
        if (q_norm is None) != (k_norm is None):
            raise refuse(base, "A norm on queries or keys alone", "QK-norm on both or none")
        # kv heads: those with the same keys are one
        kinds: list[int] = []
        group = []
        for h in range(H):
            g = next((i for i, j in enumerate(kinds) if torch.equal(ks[h], ks[j]) and torch.equal(vs[h], vs[j])), None)
            if g is None:
                g = len(kinds)
                kinds.append(h)
            group.append(g)
        G = len(kinds)
        order = sorted(range(H), key=lambda h: group[h])
        if [group.count(g) for g in range(G)] != [H // G] * G:
            raise refuse(base, f"{H} query heads share {G} key heads unevenly", "as many query heads for every key head")
        qs, ks, vs = qs[order], ks[kinds], vs[kinds]

        def biases(b: Tensor | None, pick: list[int]) -> Tensor:
            n = len(pick) * d
            return torch.zeros(n) if b is None else b.reshape(H, d)[pick].reshape(n)

        bias = None
        if qb is not None or kb is not None or vb is not None:
            bias = (biases(qb, order), biases(kb, kinds), biases(vb, kinds))
        # columns of o in the order of heads
        at = t.index[0]
        head, channel = (at // (T * d)) % H, at % d
        scale = self.per_token(t, x)
        columns = torch.zeros(o.shape[0], H * d)
        place = torch.tensor([order.index(h) for h in range(H)])
        columns[:, place[head] * d + channel] = o * scale.float()
        K = qs.shape[-1]
        return (
            norm,
            Attention(
                heads=H,
                kv_heads=G,
                head_dim=d,
                scale=base.attrs["scale"],
                frequencies=qf,
                q=qs.reshape(H * d, K),
                k=ks.reshape(G * d, K),
                v=vs.reshape(G * d, K),
                bias=bias,
                q_norm=q_norm,
                k_norm=k_norm,
                o=columns,
                window=window,
                softcap=base.attrs["cap"],
            ),
            post,
        )

    def heads(self, f: Form, of: Base) -> tuple[Form, Tensor, Tensor | None, Tensor | None, Norm | None]:
        """Queries or keys [H, T, d]: input, rows [H, d, K], bias [H, d], frequencies [d/2] (None: no rotation), norm. Rows in rotate-half order."""
        by_base: dict[Base, list[Term]] = {}
        for t in f.terms:
            by_base.setdefault(t.base, []).append(t)
        parts = [self.projected(Form(f.shape, terms), of) for terms in by_base.values()]
        x, rows, order, frequencies, norm = parts[0]
        for x2, rows2, order2, frequencies2, norm2 in parts[1:]:  # sums of projections: adapters
            if norm is not None or norm2 is not None or not x2.same(x) or not torch.equal(order, order2) or not _same_turn(frequencies, frequencies2):
                raise refuse(of, "Queries or keys that are sums of different things", "sums of projections of one input, turned together")
            rows = rows + rows2
        if f.constant is None:
            return x, rows, None, frequencies, norm
        if norm is not None:
            raise refuse(of, "A constant is added behind the QK-norm", "QK-norm without bias")
        # a bias was turned with its projection: at position 0 it is what it was
        return x, rows, f.constant[:, 0][:, order].float(), frequencies, None

    def projected(self, f: Form, of: Base) -> tuple[Form, Tensor, Tensor, Tensor | None, Norm | None]:
        """Queries or keys [H, T, d] of one projection: input, rows [H, d, K], the order they are in, frequencies, norm."""
        H, T, d = f.shape
        main, other = _own_first(f)
        if main is None:
            raise refuse(of, f"Queries or keys that are sums of {len(f.terms)} terms", "a rotation of pairs: x · cos + rotate(x) · sin")
        order, frequencies, gain = self.rotation(f, main, other, of)
        plain = Form(f.shape, [Term(main.base, main.index, torch.ones_like(main.scale))])
        norm = None
        if main.base.kind == "rms":
            if main.base.shape[-1] != d:
                raise refuse(main.base, f"A norm over {main.base.shape[-1]} elements of queries or keys of heads of {d}", "QK-norm over each head")
            if not torch.equal(main.index % d, torch.arange(d).expand_as(main.index)):
                raise refuse(main.base, "A norm of rearranged queries or keys", "QK-norm over each head as it is")
            if not torch.allclose(gain, gain[:1].expand_as(gain)):
                raise refuse(main.base, "QK-norm with a gain for each head", "one gain for all heads")
            norm = Norm(gain[0][order].float(), main.base.attrs["eps"])
            gain = torch.ones_like(gain)
            plain = main.base.inputs[0].at(main.index)
        x, W, b = self.affine(plain.moved(lambda z: z.transpose(0, 1)))
        if b is not None:
            raise refuse(main.base, "A bias below the QK-norm", "QK-norm of projections without bias")
        W = W.reshape(H, d, -1) * gain[..., None].float()
        return x, W[:, order], order, frequencies, norm

    def rotation(self, f: Form, main: Term, other: Term | None, of: Base) -> tuple[Tensor, Tensor | None, Tensor]:
        """Order of a head's channels for rotate-half, frequencies [d/2] (None without rotation), and factors [H, d] of the channels before it."""
        H, T, d = f.shape
        gain = main.scale[:, 0]
        if other is None:
            if not torch.allclose(main.scale, gain[:, None].expand_as(main.scale), rtol=1e-5, atol=1e-7):
                raise refuse(of, "Queries or keys scaled by position", "rotations, or no positions at all")
            return torch.arange(d), None, gain
        # for output i: its own channel, its partner, cosine and sine
        same_head = main.index.reshape(H, T, d)
        own = _channel(same_head)
        partner = _partner(same_head, other.index)
        if partner is None or (gain == 0).any():
            raise refuse(of, "A rotation whose pairs are not within a head", "pairs (i, i + d/2) or (2i, 2i + 1) of a head")
        g0 = gain[0]
        cos = main.scale[0] / g0
        sin = other.scale[0] / g0[partner]
        for h in range(1, H):
            if not torch.allclose(main.scale[h] / gain[h], cos, atol=1e-5) or not torch.allclose(other.scale[h] / gain[h][partner], sin, atol=1e-5):
                raise refuse(of, "Heads that turn differently", "one rotation for all heads")
        if not torch.equal(own, torch.arange(d)) or not torch.equal(partner[partner], torch.arange(d)):
            raise refuse(of, "A rotation of something else than pairs", "pairs (i, i + d/2) or (2i, 2i + 1) of a head")
        angle = torch.atan2(-sin[1], cos[1])  # positive for the first of a pair
        first = [i for i in range(d) if angle[i] > 0]
        if len(first) != d // 2 or any(int(partner[i]) in first for i in first):
            raise refuse(of, "A partial rotation, or one that turns backwards", "a rotation of all pairs of a head")
        frequencies = angle[first]
        positions = torch.arange(T, dtype=torch.float64)[:, None]
        if not torch.allclose(cos[:, first], torch.cos(positions * frequencies), atol=1e-4) or not torch.allclose(
            -sin[:, first], torch.sin(positions * frequencies), atol=1e-4
        ):
            raise refuse(of, "A rotation whose angles do not grow with the position", "angle = position · frequency")
        return torch.tensor([*first, *[int(partner[i]) for i in first]]), frequencies, gain

    def window(self, base: Base) -> int | None:
        """Keys a query sees, from the mask's values; of the longer trace when there is one."""
        mask = base.attrs["mask"]
        if mask is None:
            raise refuse(base, "Attention without a causal mask", "causal attention: a token sees those before it")
        if self.long is not None and base.attrs["sources"]:
            mask = self.mask_of(self.long, base)
        hidden = mask.reshape(-1, *mask.shape[-2:])
        if not ((hidden == 0) | (hidden < -1e4)).all():
            raise refuse(base, "A bias on the scores (ALiBi and the like)", "masks of 0 and -inf alone")
        seen = hidden == 0
        if not torch.equal(seen, seen[:1].expand_as(seen)):
            raise refuse(base, "Heads with masks of their own", "one mask for all heads")
        one = seen[0]
        T = one.shape[-1]
        i = torch.arange(T)
        ago = i[:, None] - i[None]
        last = one[-1]
        span = int(last.sum())
        if not torch.equal(one, (ago >= 0) & (ago < span)):
            raise refuse(base, "A mask that is neither causal nor a sliding window", "causal attention, with a window or without")
        return None if span == T else span

    def mask_of(self, long: Interpreter, base: Base) -> Tensor:
        names = {n.name: n for n in long.graph.nodes}
        total: Tensor | None = None
        for node, make in base.attrs["sources"]:
            twin = names.get(node.name)
            if twin is None or twin.target != node.target:
                raise refuse(base, "The graph changes with the prompt's length", "one graph for prompts of every length")
            m = make(long.value(twin))
            total = m if total is None else total + m
        assert total is not None
        T = long.ids.meta["val"].shape[-1]
        return total[..., :T, :T]

    # MLP

    def mlp(self, terms: list[Term], so_far: list[Term]) -> tuple[Norm, Mlp, Norm | None]:
        x, down, post = self.part(terms)
        t = x.only
        if t is None or t.base.kind != "product" or len(_factors(t.base)) != 2:
            base = x.terms[0].base
            what = "An MLP without a gate" if base.kind in ("gelu", "relu", "silu", "tanh", "square") else f"{base.kind} where a gated MLP was expected"
            raise refuse(base, what, "a gated MLP: down(act(gate(x)) · up(x))")
        columns = t.index[0] % t.base.shape[-1]
        factors = _factors(t.base)
        scale = self.per_token(t, x)
        gated = [i for i, (kind, _) in enumerate(factors) if kind is not None]
        if len(gated) != 1:
            raise refuse(t.base, f"A product with {len(gated)} activations", "a gated MLP: down(act(gate(x)) · up(x))")
        kind, gate = factors[gated[0]]
        _, up = factors[1 - gated[0]]
        xg, Wg, bg = self.affine(gate)
        xu, Wu, bu = self.affine(up)
        if bg is not None or bu is not None:
            raise refuse(t.base, "Gate or up with a bias", "gate and up without bias")
        norm = self.normed(xg, so_far, t.base)
        if not xu.same(xg):
            raise refuse(t.base, "Gate and up of different inputs", "gate and up of one norm")
        assert kind is not None
        return norm, Mlp(kind, Wg[columns], Wu[columns], down * scale.float()), post


def _same_turn(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.allclose(a, b, rtol=1e-5)


def _own_first(f: Form) -> tuple[Term | None, Term | None]:
    """The two terms of a rotation, for every element its own (cosine) first: the one that counts at position 0, where sines are 0."""
    if len(f.terms) == 1:
        return f.terms[0], None
    if len(f.terms) != 2:
        return None, None
    a, b = f.terms
    own = (a.scale[:, :1].abs() >= b.scale[:, :1].abs()).expand(f.shape)

    def pick(one: Term, two: Term) -> Term:
        return Term(a.base, torch.where(own, one.index, two.index), torch.where(own, one.scale, two.scale))

    return pick(a, b), pick(b, a)


def _channel(index: Tensor) -> Tensor:
    """Channel of each output, counted from the smallest element of its head: [d]."""
    at = index[0, 0]
    return torch.argsort(torch.argsort(at))


def _partner(own: Tensor, other: Tensor) -> Tensor | None:
    """For each output channel the one whose element the second term takes: [d], the same for every head and token."""
    H, T, d = own.shape
    match = other[..., :, None] == own[..., None, :]
    if not match.any(-1).all():
        return None
    partner = match.int().argmax(-1)
    return partner[0, 0] if (partner == partner[0, 0]).all() else None


def _factors(base: Base) -> list[tuple[str | None, Form]]:
    """Factors of a product as (activation or None, form): x · sigmoid(x) counts as silu(x)."""
    forms = list(base.inputs)
    out: list[tuple[str | None, Form]] = []
    for f in list(forms):
        t = f.only
        if t is None or t.base.kind != "sigmoid":
            continue
        inner = t.base.inputs[0].at(t.index)
        match = next((g for g in forms if g is not f and g.same(inner)), None)
        if match is not None:
            forms = [g for g in forms if g is not f and g is not match]
            out.append(("silu", inner))
    for f in forms:
        t = f.only
        if t is not None and t.base.kind in ("silu", "gelu", "relu") and bool((t.scale == t.scale.flatten()[0]).all()):
            kind = "gelu-tanh" if t.base.attrs.get("approximate") == "tanh" else t.base.kind
            inner = t.base.inputs[0].at(t.index)
            out.append((kind, inner))
        else:
            out.append((None, f))
    return out
