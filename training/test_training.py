"""Tests of the training side: split, quantization rules, template.  Run: python -m unittest -v (in training/)"""
import glob
import json
import os
import unittest

import torch

import split
from chat import TEMPLATE, render
from curriculum import MAKERS
from curriculum.common import R
from quant import int8_round, w4_parts, w4_round

HERE = os.path.dirname(os.path.abspath(__file__))


class Split(unittest.TestCase):
    def stored(self):
        """8-grams of the stored test prompts."""
        items = []
        for name in sorted(glob.glob(os.path.join(HERE, "eval", "*.jsonl"))):
            with open(name) as f:
                items += [json.loads(x) for x in f]
        self.assertGreaterEqual(len(items), 9 * 200)
        return set().union(*(split.grams(x) for x in items))

    def test_regenerated_curriculum(self):
        """A fresh sample of the seeded curriculum: what the build's filter lets through shares no 8-gram with a test prompt once it is
        text that the model reads, and few documents need the filter, because patterns, names and values are split by design."""
        grams = self.stored()
        r, drop, n = R(1, "train"), 0, 0
        for make in MAKERS.values():
            for _ in range(300):
                n += 1
                x = make(r)
                if grams & split.grams(x):
                    drop += 1
                else:
                    self.assertFalse(grams & split.document_grams(render(x["messages"], x.get("tools"))))
        self.assertLess(drop / n, 0.12)

    def test_training_arrays(self):
        """The token arrays that training read, decoded: no document shares an 8-gram with a test prompt."""
        arrays = sorted(glob.glob(os.path.join(HERE, "runs", "data*.npz")))
        if not arrays:
            self.skipTest("training/runs has no data*.npz: the arrays of a build are not in git")
        import data
        grams = self.stored()
        for a in arrays:
            self.assertEqual(data.shared(grams, a), set(), a)

    def test_values_disjoint(self):
        """No invented name or pool entry of the test split is drawn in training."""
        from curriculum import lexicon as L
        for p in ("NAMES", "CITIES", "OBJECTS", "THINGS", "JOBS"):
            self.assertFalse(set(L.pool(p, "train")) & set(L.pool(p, "test")))


class Quant(unittest.TestCase):
    def test_w4_idempotent_and_exact_in_f16(self):
        torch.manual_seed(0)
        w = torch.randn(64, 256) * torch.rand(64, 1)
        w[0, :32] = 0
        w[1, 0], w[1, 1] = 2.0, -2.0
        once = w4_round(w)
        self.assertTrue(torch.equal(once, w4_round(once)))
        d1, q1 = w4_parts(once)
        d0, q0 = w4_parts(w)
        self.assertTrue(torch.equal(d0.half().float(), d0))
        self.assertTrue(torch.equal(once.half().float(), once))
        self.assertTrue(torch.equal(d0, d1))
        self.assertTrue(torch.equal(q0[d0 != 0], q1[d0 != 0]))

    def test_int8(self):
        x = torch.randn(3, 64)
        y = int8_round(x, 32)
        self.assertLessEqual((x - y).abs().max().item(), x.abs().max().item() / 254 + 1e-6)
        self.assertEqual(int8_round(torch.zeros(1, 32), 32).abs().max().item(), 0)


class Template(unittest.TestCase):
    def test_template_equals_renderer(self):
        import jinja2
        env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
        env.filters["tojson"] = lambda x: json.dumps(x, ensure_ascii=False)
        t = env.from_string(TEMPLATE)
        r = R(5, "train")
        for make in MAKERS.values():
            for _ in range(30):
                x = make(r)
                got = t.render(messages=x["messages"], tools=x.get("tools"), add_generation_prompt=True)
                self.assertEqual(got, render(x["messages"], x.get("tools")))


if __name__ == "__main__":
    unittest.main()
