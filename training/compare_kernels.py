"""QAT through the server's kernels beside QAT through quant.py: the same weights, documents and steps; losses and seconds of both.

    python training/compare_kernels.py --steps 200
"""
import argparse
import os
import time

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import turnstone  # noqa: F401  (registers the ops)
from chat import render
from curriculum import MAKERS
from curriculum.common import R
from export import from_hf
from model import Config, Pebble
from optim import make_optimizers

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = os.path.join(HERE, "..", "models", "pebble", "base")


def documents(tokens, seed=1):
    """Ids of rendered documents of the curriculum, one after the other."""
    tok = Tokenizer.from_file(os.path.join(BASE, "tokenizer.json"))
    r, ids, makers = R(seed, "train"), [], list(MAKERS.values())
    while len(ids) < tokens:
        x = makers[len(ids) % len(makers)](r)
        ids += tok.encode(render(x["messages"], x.get("tools")), add_special_tokens=False).ids
    return torch.tensor(ids[:tokens])


def train(qat, steps, batch, length):
    """Losses of each step and seconds of all."""
    torch.manual_seed(0)
    model = Pebble(Config())
    from_hf(BASE, model)
    opts = make_optimizers(model, 0.008, 3e-3)
    for o in opts:
        for g in o.param_groups:
            g["lr"] = 0.05 * g["lr0"]
    ids = documents(steps * batch * length + 1)
    losses, started = [], time.time()
    for s in range(steps):
        at = s * batch * length
        x, y = (ids[at + d:at + d + batch * length].view(batch, length) for d in (0, 1))
        loss = F.cross_entropy(model(x, qat).flatten(0, 1), y.flatten())
        for o in opts:
            o.zero_grad()
        loss.backward()
        for o in opts:
            o.step()
        losses.append(loss.item())
    return torch.tensor(losses), time.time() - started


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--steps", type=int, default=200)
    p.add_argument("--batch", type=int, default=2)
    p.add_argument("--length", type=int, default=128)
    a = p.parse_args()
    (ours, ours_s), (theirs, theirs_s) = train("kernels", a.steps, a.batch, a.length), train(True, a.steps, a.batch, a.length)
    again, _ = train(True, 10, a.batch, a.length)
    assert torch.equal(again, theirs[:10]), "two runs of the same are the same"
    print(f"{a.steps} steps of {a.batch} x {a.length} tokens")
    print("steps      kernels  quant.py   difference")
    for i in range(0, a.steps, max(1, a.steps // 8)):
        j = min(a.steps, i + max(1, a.steps // 8))
        print(f"{i:4} to {j:4} {ours[i:j].mean():8.4f} {theirs[i:j].mean():9.4f} {(ours[i:j] - theirs[i:j]).mean():+10.4f}")
    print(f"largest difference of a step: {(ours - theirs).abs().max():.4f}; of the mean of all: {abs(ours.mean() - theirs.mean()):.5f}")
    n = a.steps * a.batch * a.length
    print(f"kernels {n / ours_s:.0f} tokens/s, quant.py {n / theirs_s:.0f} tokens/s")


if __name__ == "__main__":
    main()
