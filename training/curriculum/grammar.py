"""Sentence patterns from small grammars: "(a|b|) c" stands for "a c", "b c" and "c"; one expansion in eight is test only."""
import itertools
import re

from .lexicon import held

CHOICE = re.compile(r"\(([^()]*)\)")


def expand(grammar):
    """All strings of a grammar."""
    parts = CHOICE.split(grammar)
    options = [p.split("|") if i % 2 else [p] for i, p in enumerate(parts)]
    return [re.sub(" +", " ", "".join(x)).strip() for x in itertools.product(*options)]


class Pats:
    """Patterns of one meaning: `fixed` (training only) and the expansions of grammars, split by hash."""

    def __init__(self, fixed, *grammars):
        self.fixed = list(fixed)
        every = [sorted(set(expand(g)) - set(fixed)) for g in grammars]
        self.train = [t for t in ([x for x in xs if not held(x)] for xs in every) if t]
        self.test = [t for t in ([x for x in xs if held(x)] for xs in every) if t]
        assert self.test and self.train, fixed

    def __iter__(self):
        return itertools.chain(self.fixed, *self.train, *self.test)

    def __len__(self):
        return len(self.fixed) + sum(map(len, self.train)) + sum(map(len, self.test))

    def pick(self, rng, test):
        """A pattern of the split: each grammar as likely as another, however many strings it has."""
        if not test and self.fixed and rng.random() < 0.35:
            return rng.choice(self.fixed)
        return rng.choice(rng.choice(self.test if test else self.train))


def widen(table, more):
    """`table` with the lists named in `more` (same shape, grammars) turned into `Pats`."""
    for k, grammars in more.items():
        table[k] = Pats(table[k], *grammars)
    return table
