"""BM25 as Lucene has it (k1 1.2, b 0.75, lower-cased words, no stemming), over an inverted index."""
import collections
import math
import re

import numpy as np

WORD = re.compile(r"\w+")


def words(text):
    return WORD.findall(text.lower())


class BM25:
    def __init__(self, passages, k1=1.2, b=0.75):
        counts = [collections.Counter(words(p)) for p in passages]
        length = np.array([sum(c.values()) for c in counts])
        post = collections.defaultdict(list)
        for i, c in enumerate(counts):
            for w, n in c.items():
                post[w].append((i, n))
        self.size, self.index = len(passages), {}
        norm = k1 * (1 - b + b * length / length.mean())
        for w, hits in post.items():
            at, n = np.array(hits).T
            idf = math.log(1 + (len(passages) - len(at) + 0.5) / (len(at) + 0.5))
            self.index[w] = at, idf * n / (n + norm[at])

    def scores(self, query):
        """f64 [passages]; a word asked twice counts twice."""
        s = np.zeros(self.size)
        for w in words(query):
            if w in self.index:
                at, gain = self.index[w]
                s[at] += gain
        return s
