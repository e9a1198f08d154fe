"""Tests of the training side: split, quantization rules, template.  Run: python -m unittest -v (in training/)"""
import glob
import json
import unittest

import torch

import split
from chat import TEMPLATE, render
from curriculum import MAKERS
from curriculum.common import R
from quant import int8_round, w4_parts, w4_round


class Split(unittest.TestCase):
    def test_no_shared_8_gram(self):
        """Fresh training prompts that pass the build's filter, against every stored test prompt.

        The build drops what collides; this checks that the filter sees the stored items
        and that few documents need it (patterns are split by design)."""
        R(7, "test")
        stored = []
        for name in glob.glob("eval/*.jsonl"):
            with open(name) as f:
                stored += [json.loads(x) for x in f]
        self.assertGreaterEqual(len(stored), 9 * 200)
        grams = set()
        for x in stored:
            grams |= split.grams(x)
        r, drop, n = R(1, "train"), 0, 0
        for make in MAKERS.values():
            for _ in range(300):
                n += 1
                drop += bool(grams & split.grams(make(r)))
        self.assertLess(drop / n, 0.12)

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
