"""Train pebble: data, base, QAT and export stages, resumable.

    python training/train.py --stage all --preset cpu
"""
import argparse
import csv
import ctypes
import math
import os
import re
import tempfile
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

import tokenizer
from curriculum import lexicon as L
from init import copy_bias
from model import Config, Pebble
from optim import make_optimizers

HERE = os.path.dirname(os.path.abspath(__file__))
RUNS = os.path.join(HERE, "runs")
CURVE = os.path.join(HERE, "curve.csv")

PRESETS = {
    "cpu": dict(model=dict(dim=192, layers=6, heads=6, kv_heads=2, head_dim=32, ffn=512), device="cpu", micro=4608, accum=1,
                tokens=78e6, qat_tokens=7.8e6, lr=0.008, adam_lr=3e-3, compile=False),
    "gpu": dict(model=dict(dim=384, layers=10, heads=12, kv_heads=4, head_dim=32, ffn=1024), device="cuda", micro=65536, accum=1,
                tokens=1.2e9, qat_tokens=1e8, lr=0.02, adam_lr=3e-3, compile=True),
}
# share of training tokens for each kind of document
MIX = {"identity": 2, "reading": 20, "reading-long": 5, "unknown": 3, "memory": 7, "arithmetic": 5, "tools": 18, "json": 18,
       "drill": 7, "spell": 8, "lists": 10, "sort": 3, "stories": 2, "mixed": 2, "text": 2}
PROMPT_W, TEXT_P, TEXT_W = 0.4, 0.7, 0.5
# share of documents of a kind whose value words change places or grow, so that copying never leans on what a token means
SWAP = {"reading": 0.6, "reading-long": 0.6, "unknown": 0.3, "memory": 0.6, "lists": 0.6, "drill": 0.6, "arithmetic": 0.3}
LENGTHEN = 0.6  # share of long passages that get plain text in their middle
FREQUENT = 1600  # tokens that always stay themselves, unless they are words of the value pools


class Swap:
    """Within a document, value words (tokens that start with a space) change places, and some get one to three random word pieces
    at their end, the same at every place. Capitals stay capitals."""

    def __init__(self, ids, rng):
        tok = tokenizer.load(os.path.join(RUNS, "tokenizer"))
        n = tok.get_vocab_size()
        count = np.bincount(ids, minlength=n)
        pools = (L.NAMES, L.SURNAMES, L.CITIES, L.PLACES, L.OBJECTS, L.THINGS, L.COLORS, L.ANIMALS, L.FOODS, L.DRINKS, L.JOBS, L.HOBBIES, L.SUBJECTS)
        values = {"\u0120" + w for p in pools for x in p for w in x.split()}
        text = [tok.id_to_token(i) for i in range(n)]
        common = {i for i in np.argsort(-count)[:FREQUENT].tolist() if text[i] not in values}
        match = lambda c: np.array([i for i in range(n) if i not in common and re.fullmatch(c, text[i])])
        self.classes = [match("\u0120[A-Z][a-z]+"), match("\u0120[a-z]{2,}")]
        self.pieces = match("[a-z]{2,5}")
        self.value = np.zeros(n, dtype=bool)
        for c in self.classes:
            self.value[c] = True
        self.n, self.rng = n, rng

    def __call__(self, ids, flags):
        """(ids, flags) of the changed document."""
        rng, table = self.rng, np.arange(self.n)
        share = rng.choice((0.0, 0.3, 1.0))
        for c in self.classes:
            pick = c[rng.random(len(c)) < share]
            table[pick] = rng.permutation(pick)
        ids = table[ids]
        grow, p = np.zeros(self.n, dtype=np.int64), rng.choice((0.0, 0.3, 0.8))
        used = np.unique(ids[self.value[ids]])
        used = used[rng.random(len(used)) < p]
        grow[used] = rng.choice((1, 1, 2, 3), len(used))
        tails = {t: rng.choice(self.pieces, grow[t]) for t in used}
        times = 1 + grow[ids]
        at = np.cumsum(times) - times
        out = np.repeat(ids, times)
        for i in np.flatnonzero(times > 1):
            out[at[i] + 1:at[i] + times[i]] = tails[ids[i]]
        return out, np.repeat(flags, times)


def pad(n, to=32):
    """Few distinct lengths, so that kernels prepared for a shape are used again."""
    return -(-n // to) * to


class Stream:
    """Micro-batches of documents of similar length, drawn by kind."""

    def __init__(self, mix, micro, seed, prompts):
        self.prompts = prompts  # share of prompt tokens that the loss counts
        z = np.load(os.path.join(RUNS, "data.npz"))
        self.ids, self.flags, self.start, kind = z["ids"], z["flags"], z["start"], z["kind"]
        self.size = np.diff(self.start)
        self.rng = np.random.default_rng(seed)
        self.micro = micro
        self.swap = Swap(self.ids, self.rng)
        self.stop = tokenizer.load(os.path.join(RUNS, "tokenizer")).token_to_id(".")
        names = [str(x) for x in z["names"]]
        self.kind = [names[k] for k in kind]
        self.docs = {n: np.flatnonzero(kind == i) for i, n in enumerate(names) if mix.get(n)}
        self.plain = self.docs["text"]
        w = np.array([mix[n] / self.size[d].mean() for n, d in self.docs.items()])
        self.names, self.p = list(self.docs), w / w.sum()
        self.pos = {n: (self.rng.permutation(d), 0) for n, d in self.docs.items()}

    def lengthen(self, ids, flags):
        """Plain text of up to 600 tokens put in between two sentences of the first user turn."""
        first = np.flatnonzero(flags == 1)[0]
        stops = np.flatnonzero(ids[:first] == self.stop)
        if not len(stops):
            return ids, flags
        d, n, at = self.rng.choice(self.plain), self.rng.integers(100, 600), self.rng.choice(stops) + 1
        more = self.ids[self.start[d]:self.start[d + 1] - 1][:n]
        return np.concatenate((ids[:at], more, ids[at:])), np.concatenate((flags[:at], np.zeros(len(more), flags.dtype), flags[at:]))

    def draw(self, n):
        order, i = self.pos[n]
        if i >= len(order):
            order, i = self.rng.permutation(self.docs[n]), 0
        self.pos[n] = (order, i + 1)
        return order[i]

    def __iter__(self):
        while True:
            picks = np.array([self.draw(self.names[k]) for k in self.rng.choice(len(self.p), 1200, p=self.p)])
            picks = picks[np.argsort(self.size[picks], kind="stable")]
            batches, cur = [], []
            for d in picks:
                if cur and (len(cur) + 1) * pad(self.size[d] - 1) > self.micro:
                    batches.append(cur)
                    cur = []
                cur.append(d)
            batches.append(cur)
            for i in self.rng.permutation(len(batches)):
                yield self.pack(batches[i])

    def pack(self, docs):
        rows = []
        for d in docs:
            a, b = self.start[d], self.start[d + 1]
            row = self.ids[a:b], self.flags[a:b]
            if self.kind[d] == "reading-long" and self.rng.random() < LENGTHEN:
                row = self.lengthen(*row)
            rows.append(self.swap(*row) if self.rng.random() < SWAP.get(self.kind[d], 0) else row)
        T = pad(min(1600, max(len(ids) for ids, _ in rows) - 1))
        x = np.zeros((len(docs), T), dtype=np.int64)
        y = np.full((len(docs), T), -1, dtype=np.int64)
        w = np.zeros((len(docs), T), dtype=np.float32)
        for i, (ids, flags) in enumerate(rows):
            n = min(T, len(ids) - 1)
            x[i, :n], y[i, :n] = ids[:n], ids[1:n + 1]
            f = flags[1:n + 1]
            u = self.rng.random(n)
            w[i, :n] = np.where(f == 1, 1.0, np.where(f == 2, (u < TEXT_P) * TEXT_W, (u < self.prompts) * PROMPT_W))
        return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(w)


def loss_of(model, trunk, x, y, w, qat):
    """(weighted mean loss, mean loss on assistant tokens); the head runs on weighted positions only."""
    h = trunk(x, qat)
    w = w.reshape(-1)
    sel = w.nonzero().squeeze(1)
    sel = torch.cat((sel, (w == 0).nonzero().squeeze(1)[:pad(len(sel), 256) - len(sel)]))
    logits = model.head(h.reshape(-1, h.shape[-1])[sel], qat)
    ws = w[sel]
    ce = F.cross_entropy(logits.float(), y.reshape(-1)[sel], reduction="none", ignore_index=-1)
    main = ws == 1.0
    return (ce * ws).sum() / ws.sum(), ce.detach()[main].mean() if main.any() else ce.detach().mean()


def lr_at(done, total, warm, decay, floor):
    if done < warm:
        return (done + 1) / warm
    left = (total - done) / max(1.0, decay * total)
    return max(floor, min(1.0, left))


def save(path, model, opts, done, seconds, conf):
    torch.save({"model": model.state_dict(), "opts": [o.state_dict() for o in opts], "done": done, "seconds": seconds, "config": conf}, path + ".tmp")
    os.replace(path + ".tmp", path)


class Gang:
    """Processes that train one model together, each on its own batches: gradients are averaged, so all take the same step."""

    def __init__(self, rank, size, address):
        self.rank, self.size = rank, size
        if size > 1:
            dist.init_process_group("gloo", init_method=address, rank=rank, world_size=size)

    def meet(self):
        if self.size > 1:
            dist.barrier()

    def average(self, params, tokens):
        """Averages the gradients of `params`; the tokens of all."""
        if self.size == 1:
            return tokens
        grads = [p.grad for p in params]
        flat = torch.cat([g.reshape(-1) for g in grads] + [torch.tensor([float(tokens)])])
        dist.all_reduce(flat)
        flat, total = flat[:-1] / self.size, int(flat[-1])
        for g, part in zip(grads, flat.split([g.numel() for g in grads])):
            g.copy_(part.view_as(g))
        return total


def run(stage, preset, args, gang):
    """One training stage, `base` or `qat`; resumes from its own checkpoint."""
    P = PRESETS[preset]
    torch.manual_seed(args.seed)
    qat = stage == "qat" and ("kernels" if args.kernels else True)
    total = args.tokens or (P["qat_tokens"] if qat else P["tokens"])
    peak = args.lr or (0.3 if qat else 1.0)
    ckpt = os.path.join(RUNS, f"{stage}.pt")
    cfg = Config(**P["model"])
    model = Pebble(cfg)
    copy_bias(model, args.seed)
    model.to(P["device"])
    opts = make_optimizers(model, P["lr"], P["adam_lr"])
    done, seconds = 0, 0.0
    if os.path.exists(ckpt):
        c = torch.load(ckpt, weights_only=False)
        model.load_state_dict(c["model"])
        for o, s in zip(opts, c["opts"]):
            o.load_state_dict(s)
        done, seconds = c["done"], c["seconds"]
        print("resumed", stage, "at", done, flush=True)
    elif args.init and os.path.isdir(args.init):
        from export import from_hf
        from_hf(args.init, model)
        print("weights of", args.init, flush=True)
    elif qat:
        c = torch.load(os.path.join(RUNS, args.init or "base.pt"), weights_only=False)
        model.load_state_dict(c["model"])
        for o, s in zip(opts, c["opts"]):
            o.load_state_dict(s)
    base_lr = [[g["lr0"] for g in o.param_groups] for o in opts]
    trunk = torch.compile(model.trunk, dynamic=True) if P["compile"] or args.compile else model.trunk
    mix = dict(MIX)
    if args.mix:
        mix.update({k: float(v) for k, v in (x.split("=") for x in args.mix.split(","))})
    stream = iter(Stream(mix, P["micro"], args.seed + int(done) + 7919 * gang.rank, args.prompts))
    params = list(model.parameters())
    t0 = last = time.time()
    accum = args.accum or P["accum"]
    step, tot, main, cnt, floor = 0, 0.0, 0.0, 0, 0.02
    warm = 0.03 * total if not qat else 0.05 * total
    while done < total:
        scale = peak * lr_at(done, total, warm, 0.9 if qat else args.decay, floor)
        for o, ls in zip(opts, base_lr):
            for g, l in zip(o.param_groups, ls):
                g["lr"] = l * scale
        tokens = 0
        for _ in range(accum):
            x, y, w = (t.to(P["device"]) for t in next(stream))
            with torch.autocast(P["device"], torch.bfloat16):
                loss, m = loss_of(model, trunk, x, y, w, qat)
            (loss / accum).backward()
            tokens += x.numel()
            tot, main, cnt = tot + loss.item(), main + m.item(), cnt + 1
        done += gang.average(params, tokens)
        for o in opts:
            o.step()
            o.zero_grad(set_to_none=True)
        step += 1
        if gang.rank > 0:
            continue
        if step % 25 == 0:
            now = time.time()
            seconds += now - last
            last = now
            new = not os.path.exists(CURVE)
            with open(CURVE, "a", newline="") as f:
                c = csv.writer(f)
                if new:
                    c.writerow(["stage", "tokens", "seconds", "loss", "answer_loss", "lr_scale"])
                c.writerow([stage, int(done), round(seconds, 1), round(tot / cnt, 4), round(main / cnt, 4), round(scale, 4)])
            print(f"{stage} {done / 1e6:.2f}M {seconds:.0f}s loss {tot / cnt:.3f} answers {main / cnt:.3f} lr {scale:.3f}", flush=True)
            tot = main = cnt = 0
        if step % 100 == 0:
            save(ckpt, model, opts, done, seconds, cfg.dict())
    if gang.rank == 0:
        save(ckpt, model, opts, done, seconds, cfg.dict())
    gang.meet()


def keep_memory():
    """Tells glibc to keep what a step frees: the next step takes as much again, and a quarter of the time went into page faults."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return  # another C library
    mallopt(-4, 0)  # M_MMAP_MAX
    mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
    mallopt(-2, 2**28)  # M_TOP_PAD


def train(rank, args, address):
    """What one of the gang does: the stages asked for, in step with the others."""
    if PRESETS[args.preset]["device"] == "cpu":
        keep_memory()
    gang = Gang(rank, args.workers, address)
    if args.workers > 1:
        torch.set_num_threads(1)
    for s in ("base", "qat"):
        if args.stage in (s, "all"):
            run(s, args.preset, args, gang)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--stage", default="all", choices=["all", "data", "base", "qat", "export"])
    p.add_argument("--preset", default="cpu", choices=list(PRESETS))
    p.add_argument("--text", default=None, help="folder of training text")
    p.add_argument("--tokens", type=float, default=None, help="token budget of the stage")
    p.add_argument("--mix", default="", help="override shares, as reading=30,lists=5")
    p.add_argument("--lr", type=float, default=None, help="peak learning-rate scale")
    p.add_argument("--prompts", type=float, default=0.25, help="share of prompt tokens that the loss counts, at 0.4 of an answer token")
    p.add_argument("--decay", type=float, default=0.35, help="last part of the base stage in which the rate falls")
    p.add_argument("--init", default="", help="start a stage from a folder as export.py writes it (models/pebble/base), or QAT from a checkpoint; default: runs/base.pt for QAT")
    p.add_argument("--accum", type=int, default=None, help="micro-batches a step")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--workers", type=int, default=1, help="processes that train together, one CPU core each; a step has that many times the tokens")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--kernels", action="store_true", help="QAT through the server's wasm kernels (pip install ./python; CPU)")
    a = p.parse_args()
    if a.workers > 1 and PRESETS[a.preset]["device"] != "cpu":
        p.error("--workers is for CPU cores; the gpu preset runs in one process")
    if a.kernels:
        import turnstone  # noqa: F401  (registers the ops)
    import data
    if a.stage == "data" or a.stage == "all" and not os.path.exists(os.path.join(RUNS, "data.npz")):
        data.build(a.text or data.TEXT, a.seed, scale=10.0 if a.preset == "gpu" else 1.0)
    with tempfile.TemporaryDirectory() as meet:
        address = f"file://{meet}/gang"
        if a.workers > 1:
            mp.spawn(train, (a, address), a.workers)
        else:
            train(0, a, address)
    if a.stage in ("export", "all"):
        import export
        export.main(["--from", "base.pt", "--to", os.path.join(RUNS, "export-f32")])
        export.main(["--from", "qat.pt", "--qat"])


if __name__ == "__main__":
    main()
