"""Tensors as sums of rearranged, scaled elements of others.

A decoder's graph moves data about in many ways (views, transposes, repeats, splits, complex pairs), but computes with few: an embedding, projections,
norms, products, attention. So a value that depends on the prompt is kept as a `Form`: a sum of terms, each of which takes elements of
a `Base` (the result of one of those few) by index and multiplies them by constants. Moving data is then done by moving indices and
constants with the same PyTorch op, and whoever reads a form sees from its numbers which head, row or pair an element is, however it came there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.fx import Node

#: A node whose value is constant, and what is made of its value.
Source = tuple[Node, Callable[[Tensor], Tensor]]


@dataclass(eq=False)
class Base:
    """The result of an op that is more than moving, scaling and adding; elements are counted in the order of its own shape."""

    kind: str
    node: Node
    shape: tuple[int, ...]
    inputs: tuple["Form", ...] = ()
    attrs: dict = field(default_factory=dict)
    #: Place of its node in the graph.
    order: int = 0


@dataclass(eq=False)
class Term:
    base: Base
    #: Element of the base for each element, int64 of the form's shape.
    index: Tensor
    #: What it is multiplied by, float64 of the form's shape.
    scale: Tensor

    def same(self, other: "Term") -> bool:
        return self.base is other.base and torch.equal(self.index, other.index) and torch.allclose(self.scale, other.scale, rtol=1e-6, atol=1e-9)


@dataclass(eq=False)
class Form:
    """Σ terms + constant; all of one shape."""

    shape: tuple[int, ...]
    terms: list[Term]
    constant: Tensor | None = None
    #: Nodes that the constant came from, and how: to evaluate it again for longer prompts.
    sources: tuple["Source", ...] = ()

    @staticmethod
    def of(base: Base) -> "Form":
        n = torch.Size(base.shape).numel()
        index = torch.arange(n).reshape(base.shape)
        return Form(base.shape, [Term(base, index, torch.ones(base.shape, dtype=torch.float64))])

    def moved(self, move: Callable[[Tensor], Tensor]) -> "Form":
        """The same op applied to indices, scales and the constant."""
        terms = [Term(t.base, move(t.index), move(t.scale)) for t in self.terms]
        constant = None if self.constant is None else move(self.constant)
        return Form(tuple(terms[0].index.shape), terms, constant, self.sources)

    def expanded(self, shape: Sequence[int]) -> "Form":
        return self if tuple(shape) == self.shape else self.moved(lambda x: x.expand(tuple(shape)))

    def times(self, factor: Tensor | float) -> "Form":
        f = torch.as_tensor(factor, dtype=torch.float64)
        shape = torch.broadcast_shapes(self.shape, f.shape)
        me = self.expanded(shape)
        constant = None if me.constant is None else me.constant * f
        return Form(tuple(shape), [Term(t.base, t.index, t.scale * f) for t in me.terms], constant, self.sources)

    def plus(self, other: "Form | Tensor | float", sources: tuple["Source", ...] = ()) -> "Form":
        if not isinstance(other, Form):
            c = torch.as_tensor(other, dtype=torch.float64)
            shape = torch.broadcast_shapes(self.shape, c.shape)
            me = self.expanded(shape)
            if not c.any():
                return me
            constant = c.expand(shape) if me.constant is None else me.constant + c
            return Form(tuple(shape), me.terms, constant, self.sources + sources)
        shape = tuple(torch.broadcast_shapes(self.shape, other.shape))
        terms = list(self.expanded(shape).terms)
        for t in other.expanded(shape).terms:
            match = next((i for i, s in enumerate(terms) if s.base is t.base and torch.equal(s.index, t.index)), None)
            if match is None:
                terms.append(t)
            else:
                terms[match] = Term(t.base, t.index, terms[match].scale + t.scale)
        sum_ = Form(shape, terms, None if self.constant is None else self.constant.expand(shape), self.sources)
        return sum_ if other.constant is None else sum_.plus(other.constant, other.sources)

    def same(self, other: "Form") -> bool:
        """Whether both are the same numbers for every prompt."""
        if self.shape != other.shape or len(self.terms) != len(other.terms):
            return False
        if (self.constant is None) != (other.constant is None):
            return False
        if self.constant is not None and other.constant is not None and not torch.allclose(self.constant, other.constant):
            return False
        return all(any(t.same(o) for o in other.terms) for t in self.terms)

    def at(self, index: Tensor) -> "Form":
        """The elements with these flat numbers."""
        return self.moved(lambda x: x.reshape(-1)[index])

    @property
    def only(self) -> Term | None:
        """Its one term, if there is nothing else."""
        return self.terms[0] if len(self.terms) == 1 and self.constant is None else None


def joined(forms: Sequence[Form], join: Callable[[Sequence[Tensor]], Tensor]) -> Form:
    """`cat` or `stack` of forms: n-th terms of the same base become one; where a form lacks one, its scale is 0."""
    slots: dict[tuple[Base, int], list[Term | None]] = {}
    for i, f in enumerate(forms):
        seen: dict[Base, int] = {}
        for t in f.terms:
            k = seen.get(t.base, 0)
            seen[t.base] = k + 1
            slots.setdefault((t.base, k), [None] * len(forms))[i] = t

    def zeros(i: int, dtype: torch.dtype) -> Tensor:
        return torch.zeros(forms[i].shape, dtype=dtype)

    terms = []
    for (base, _), parts in slots.items():
        index = join([zeros(i, torch.int64) if t is None else t.index for i, t in enumerate(parts)])
        scale = join([zeros(i, torch.float64) if t is None else t.scale for i, t in enumerate(parts)])
        terms.append(Term(base, index, scale))
    constant = None
    if any(f.constant is not None for f in forms):
        constant = join([zeros(i, torch.float64) if f.constant is None else f.constant for i, f in enumerate(forms)])
    return Form(tuple(terms[0].index.shape), terms, constant, tuple(s for f in forms for s in f.sources))
