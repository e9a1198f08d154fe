"""Random helpers shared by the generators: `R` knows its split and draws from it."""
import random
import re

from . import lexicon as L
from .grammar import Pats

ODD = {"OBJECTS", "THINGS", "JOBS", "HOBBIES", "PLACES", "FOODS", "DRINKS", "ANIMALS", "COLORS", "SUBJECTS"}
ODD_CAP = {"TITLE1", "TITLE2", "NAMES", "SURNAMES", "CITIES"}
SPLIT_RE = re.compile(r"\{(\w+)\}")


class R:
    """A seeded source of words, numbers and patterns for one split."""

    def __init__(self, seed, split):
        self.rng = random.Random(f"{split}-{seed}")
        self.split = split
        self.test = split == "test"

    def p(self, x):
        return self.rng.random() < x

    def int(self, a, b):
        return self.rng.randint(a, b)

    def any(self, xs):
        """Any entry (not split)."""
        return self.rng.choice(xs)

    def sample(self, xs, n):
        return self.rng.sample(xs, n)

    def shuffle(self, xs):
        xs = list(xs)
        self.rng.shuffle(xs)
        return xs

    def pat(self, xs):
        """A pattern of this split: of a plain list every fifth is test only, grammars split by hash."""
        if isinstance(xs, Pats):
            return xs.pick(self.rng, self.test)
        if len(xs) < 5:
            return self.rng.choice(xs)
        while True:
            i = self.rng.randrange(len(xs))
            if (i % 5 == 4) == self.test:
                return xs[i]

    def lead(self, xs, none=0.5):
        """A pattern of the split with a space after it, or nothing."""
        s = "" if self.p(none) else self.pat(xs).strip()
        return s and s + " "

    def word(self, pool):
        if L.EXTRA and not self.test and self.p(0.5):
            if pool in ODD:
                return self.rng.choice(L.EXTRA)
            if pool in ODD_CAP:
                return self.rng.choice(L.EXTRA_CAP)
        return self.rng.choice(L.pool(pool, self.split))

    def words(self, pool, n):
        if L.EXTRA and not self.test and self.p(0.5):
            return self.rng.sample(L.EXTRA_CAP if pool in ODD_CAP else L.EXTRA, n)
        return self.rng.sample(L.pool(pool, self.split), n)

    def name(self):
        return L.made_up(self.rng, self.split) if self.p(0.15 if self.test else 0.4) else self.word("NAMES")

    def names(self, n):
        out = []
        while len(out) < n:
            x = self.name()
            if x not in out:
                out.append(x)
        return out

    def full(self):
        return self.name() + " " + (self.word("SURNAMES") if self.p(0.85 if self.test else 0.7) else L.made_up(self.rng, self.split))

    def city(self):
        return L.made_up(self.rng, self.split) if self.p(0.15 if self.test else 0.4) else self.word("CITIES")

    def obj(self):
        o = self.word("OBJECTS")
        if self.p(0.35):
            a = self.word("ADJ") if self.p(0.5) else self.word("COLORS")
            o = a + " " + o
        return o

    def num(self, a, b):
        """A number of this split (numbers below 10 belong to both)."""
        while True:
            n = self.rng.randint(a, b)
            if n < 10 or b - a < 30 or L.held(f"n{n}") == self.test:
                return n

    def time(self):
        h, s = self.int(1, 12), self.any(["am", "pm"])
        return f"{h} {s}" if self.p(0.6) else f"{h}:{self.any(['15', '30', '45', '10', '20', '50'])} {s}"

    def date(self):
        return f"{self.any(L.MONTHS)} {self.int(1, 30)}" if self.p(0.5) else f"{self.int(1, 30)} {self.any(L.MONTHS)}"

    def title(self):
        t = f"{self.word('TITLE1')} {self.word('TITLE2')}"
        return "The " + t if self.p(0.6) else t


def fill(template, **kw):
    return SPLIT_RE.sub(lambda m: str(kw[m.group(1)]), template)


def cap(s):
    return s[:1].upper() + s[1:]


def an(s):
    return ("an " if s[0].lower() in "aeiou" else "a ") + s


def user(s):
    return {"role": "user", "content": s}


def bot(s):
    return {"role": "assistant", "content": s}


def item(skill, messages, answer, check, **kw):
    """One example: `messages` end with the question, `answer` is the reply."""
    return {"skill": skill, "messages": messages, "answer": answer, "check": check, **kw}
