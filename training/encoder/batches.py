"""Pairs for contrastive training: what stands side by side in a text, and what says the same."""
import os

import numpy as np

from data import BOOK, PROBLEM, RUNS, STORY

# share of each kind of pair in a batch
SHARES = {"books": 0.62, "stories": 0.12, "problems": 0.06, "questions": 0.12, "paraphrases": 0.08}
GROUP = 16  # pairs of one book side by side, so that the book alone does not tell a passage


class Pairs:
    """Draws batches of (query, passage) as lists of id arrays. Only training documents."""

    def __init__(self, seed=0, path=os.path.join(RUNS, "data.npz")):
        z = np.load(path)
        self.ids, self.sent, self.doc, self.pair_ids, self.pair, self.asked = (z[k] for k in ("ids", "sent", "doc", "pair_ids", "pair", "asked"))
        of = lambda kind: np.flatnonzero((z["kind"] == kind) & ~z["held"])  # noqa: E731
        self.books, self.stories, self.problems = of(BOOK), of(STORY), of(PROBLEM)
        size = np.diff(self.doc)[self.books]
        self.weight = size / size.sum()
        self.rng = np.random.default_rng(seed)

    def text(self, first, last, most):
        return self.ids[self.sent[first]:self.sent[last]][:most].astype(np.int64)

    def neighbours(self, doc, most):
        """A sentence or two, and the passage of two to five that follows or precedes; one in six keeps the sentence inside."""
        r, lo, hi = self.rng, self.doc[doc], self.doc[doc + 1]
        q, n = int(r.integers(1, 3)), int(r.integers(2, 6))
        i = int(r.integers(lo, max(lo + 1, hi - q - n)))
        a, b, c = i, min(i + q, hi - 1), min(i + q + n, hi)
        draw = r.random()
        if draw < 0.17:
            j = int(r.integers(b, c))
            return self.text(j, j + 1, 48), self.text(b, c, most)
        if draw < 0.4 and c - a > 2:
            return self.text(c - 1, c, 48), self.text(a, c - 1, most)
        return self.text(a, b, 48), self.text(b, c, most)

    def made(self, question, most):
        n = int(self.asked)
        k = int(self.rng.integers(0, n)) if question else n + int(self.rng.integers(0, (len(self.pair) - 1) // 2 - n))
        a, b, c = self.pair[2 * k:2 * k + 3]
        return self.pair_ids[a:b].astype(np.int64), self.pair_ids[b:c][:most].astype(np.int64)

    def batch(self, size, most=96):
        """`size` pairs; passages of at most `most` ids."""
        out, r = [], self.rng
        left = {k: int(size * v) for k, v in SHARES.items()}
        while left["books"] > 0:
            doc = r.choice(self.books, p=self.weight)
            for _ in range(min(GROUP, left["books"])):
                out.append(self.neighbours(doc, most))
            left["books"] -= GROUP
        out += [self.neighbours(r.choice(self.stories), most) for _ in range(left["stories"])]
        for d in r.choice(self.problems, left["problems"]):
            i = self.doc[d]
            out.append((self.text(i, i + 1, 48), self.text(i + 1, i + 2, most)))
        out += [self.made(True, most) for _ in range(left["questions"])]
        out += [self.made(False, most) for _ in range(size - len(out))]
        if r.random() < 0.3:  # words left out of the query: it should not hang on one of them
            out = [(q[r.random(len(q)) > 0.2] if len(q) > 8 else q, p) for q, p in out]
        out = [(q, p) for q, p in out if len(q) and len(p)]
        return [q for q, _ in out], [p for _, p in out]
