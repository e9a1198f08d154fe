"""Contrastive training on a CPU: the table of words first, then all of it.

    python training/encoder/data.py && python training/encoder/train.py

Checkpoint: runs/encoder/encoder.pt, written every few minutes. `--minutes a,b`: how long each stage takes.
"""
import argparse
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from batches import Pairs
from data import RUNS
from model import DIMENSIONS, Encoder, pool

SCALE = 20.0  # of cosines in the softmax


def info_nce(q, p):
    """Each query against all passages of the batch and the other way, for every declared prefix of the vectors."""
    target = torch.arange(len(q))
    total = 0.0
    for d in DIMENSIONS:
        s = F.normalize(q[:, :d], dim=-1) @ F.normalize(p[:, :d], dim=-1).T * SCALE
        total = total + F.cross_entropy(s, target) + F.cross_entropy(s.T, target)
    return total / (2 * len(DIMENSIONS))


def pad(rows):
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for i, r in enumerate(rows):
        ids[i, :len(r)] = r
    ids = torch.from_numpy(ids)
    lengths = torch.tensor([len(r) for r in rows])
    return ids, (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()


def by_table(model, rows):
    """What the encoder gives while its layers are nothing: the mean of word vectors."""
    flat = torch.from_numpy(np.concatenate(rows))
    offsets = torch.tensor(np.cumsum([0] + [len(r) for r in rows[:-1]]))
    return F.normalize(F.embedding_bag(flat, model.embed.weight, offsets, mode="mean"), dim=-1)


def by_layers(model, rows):
    """All of it, in four groups of similar length, so that little is padding."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    size = -(-len(rows) // 4)
    out = [pool(model(*x), x[1]) for x in (pad([rows[i] for i in order[k:k + size]]) for k in range(0, len(rows), size))]
    back = torch.empty(len(rows), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(rows))
    return torch.cat(out)[back]


def stage(model, pairs, minutes, size, most, encode, groups, log):
    opt = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
    peak = [g["lr"] for g in opt.param_groups]
    start, step, seen = time.time(), 0, 0.0
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        for g, lr in zip(opt.param_groups, peak):
            g["lr"] = lr * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-6
        q, p = pairs.batch(size, most)
        with torch.autocast("cpu", torch.bfloat16):
            q, p = encode(model, q), encode(model, p)
        loss = info_nce(q.float(), p.float())
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        seen = loss.item() if step == 0 else 0.98 * seen + 0.02 * loss.item()
        if step % 50 == 0:
            log(f"{encode.__name__} step {step} loss {seen:.3f} minute {(time.time() - start) / 60:.1f}")
        if step % 200 == 199:
            torch.save(model.state_dict(), os.path.join(RUNS, "encoder.pt"))
        step += 1
    torch.save(model.state_dict(), os.path.join(RUNS, "encoder.pt"))


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--minutes", default="10,25")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--table", help="checkpoint to go on from, after a stage with the table alone")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    first, second = map(float, a.minutes.split(","))
    model, pairs = Encoder(), Pairs(seed=1 if a.table else 0)
    if a.table:
        model.load_state_dict(torch.load(a.table))
    log = lambda s: print(s, flush=True)  # noqa: E731
    log(f"{sum(x.numel() for x in model.parameters())} parameters")
    stage(model, pairs, first, 1536 if a.table else 768, 96, by_table, [{"params": [model.embed.weight], "lr": 0.005 if a.table else 0.01}], log)
    torch.save(model.state_dict(), os.path.join(RUNS, "table.pt"))
    stage(model, pairs, second, 128, 64, by_layers,
          [{"params": [model.embed.weight], "lr": 3e-4}, {"params": list(model.layers.parameters()), "lr": 1e-3}], log)


if __name__ == "__main__":
    main()
