"""python -m unittest, in this folder."""
import unittest

import numpy as np
import torch

from bm25 import BM25
from model import Encoder, pool
from train import by_layers, by_table, info_nce


class Tests(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.model = Encoder(vocab=50, dim=16, heads=2, inner=8)
        self.rows = [np.array([3, 4, 5]), np.array([7]), np.array([9, 3, 11, 12, 13])]

    def test_layers_start_as_nothing(self):
        self.assertTrue(torch.allclose(by_table(self.model, self.rows), by_layers(self.model, self.rows), atol=1e-6))

    def test_padding_and_order(self):
        for layer in self.model.layers:
            torch.nn.init.normal_(layer.out.weight)
        together = by_layers(self.model, self.rows)
        for row, v in zip(self.rows, together):
            x = torch.from_numpy(row)[None]
            self.assertTrue(torch.allclose(pool(self.model(x, torch.ones_like(x)), torch.ones_like(x))[0], v, atol=1e-5))
        turned = torch.from_numpy(self.rows[2][[1, 0, 2, 3, 4]])[None]
        self.assertFalse(torch.allclose(pool(self.model(turned, torch.ones_like(turned)), torch.ones_like(turned))[0], together[2], atol=1e-4))

    def test_loss(self):
        v = torch.eye(256)[:8]
        self.assertLess(info_nce(v, v), info_nce(v, v.roll(1, 0)))

    def test_bm25(self):
        b = BM25(["the cat sat", "a dog ran far", "the dog and the cat"])
        self.assertEqual(b.scores("far dog").argmax(), 1)
        self.assertEqual(b.scores("nothing known").max(), 0)


if __name__ == "__main__":
    unittest.main()
