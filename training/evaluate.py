"""Greedy scores on eval/*.jsonl, and perplexity on held-out stories.

    python training/evaluate.py runs/qat.pt --qat --limit 240
"""
import argparse
import glob
import json
import math
import os
import re
import time

import numpy as np
import torch
import torch.nn.functional as F

import tokenizer as tk
from chat import END, render
from generate import bake, greedy, load_model

HERE = os.path.dirname(os.path.abspath(__file__))
SEVEN = ["identity", "reading", "memory", "tools", "json", "arithmetic", "lists"]
LIMIT = {"stories": 140, "json": 140, "tools": 90, "arithmetic": 80, "lists": 60}


def has(text, value):
    """Whole-word, case-insensitive containment."""
    v = re.escape(str(value).lower())
    return re.search(rf"(?<![a-z0-9]){v}(?![a-z0-9])", text.lower()) is not None


def parse_call(text):
    m = re.fullmatch(r"\s*<tool_call>\s*(\{.*\})\s*</tool_call>\s*", text, re.S)
    return json.loads(m.group(1)) if m else None


def score(check, text):
    kind, want = check["type"], check["expected"]
    try:
        if kind == "exact":
            return text.strip().rstrip(".") == str(want).rstrip(".")
        if kind == "ends":
            return text.strip().rstrip(".").endswith(str(want))
        if kind == "contains":
            return has(text, want) and not any(has(text, x) for x in check.get("not", []))
        if kind == "contains-any":
            return any(str(x).lower() in text.lower() for x in want)
        if kind == "contains-all":
            return all(has(text, x) for x in want)
        if kind == "last-number":
            nums = re.findall(r"-?\d+", text)
            return bool(nums) and int(nums[-1]) == want
        if kind == "json-equal":
            return json.loads(text) == want
        if kind == "tool-call":
            return parse_call(text) == want
    except ValueError:
        return False
    raise KeyError(kind)


def perplexity(model, qat, n=24, T=512):
    ids = torch.from_numpy(np.load(os.path.join(HERE, "runs", "heldout.npy")).astype(np.int64))
    tot = cnt = 0
    with torch.no_grad():
        for i in range(min(n, len(ids) // T)):
            x = ids[i * T:(i + 1) * T][None]
            tot += F.cross_entropy(model(x, qat)[0, :-1].float(), x[0, 1:], reduction="sum").item()
            cnt += T - 1
    return math.exp(tot / cnt)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("checkpoint")
    p.add_argument("--limit", type=int, default=40)
    p.add_argument("--skills", default="")
    p.add_argument("--qat", action="store_true", help="w4 weights, int8 activations and KV cache")
    p.add_argument("--show", type=int, default=0, help="print this many failures a skill")
    p.add_argument("--out", default="", help="write the scores as JSON")
    a = p.parse_args()
    torch.set_num_threads(1)
    model = load_model(a.checkpoint)
    if a.qat:
        bake(model)
        a.qat = "baked"
    tok = tk.load(os.path.join(HERE, "runs", "tokenizer"))
    stop = tok.token_to_id(END)
    res, t0 = {}, time.time()
    for f in sorted(glob.glob(os.path.join(HERE, "eval", "*.jsonl"))):
        with open(f) as g:
            items = [json.loads(x) for x in g]
        skill = items[0]["skill"]
        if a.skills and skill not in a.skills.split(","):
            continue
        items = items[::max(1, len(items) // a.limit)][:a.limit]
        good = shown = 0
        for x in items:
            ids = tok.encode(render(x["messages"], x.get("tools")), add_special_tokens=False).ids
            out = tok.decode(greedy(model, ids, LIMIT.get(skill, 60), stop, a.qat), skip_special_tokens=False)
            ok = score(x["check"], out)
            good += ok
            if not ok and shown < a.show:
                shown += 1
                print(f"--- {skill}: {x['messages'][-1]['content'][-300:]!r}\n  got  {out!r}\n  want {x['check']['expected']!r}")
        res[skill] = 100 * good / len(items)
        print(f"{skill:11} {res[skill]:5.1f} %  ({len(items)})", flush=True)
    if not a.skills:
        res["mean of seven"], res["perplexity"] = sum(res[s] for s in SEVEN) / 7, perplexity(model, a.qat)
        print(f"mean of seven {res['mean of seven']:.1f} %, perplexity {res['perplexity']:.2f}, {time.time() - t0:.0f} s", flush=True)
    if a.out:
        with open(a.out, "w") as f:
            json.dump({k: round(v, 2) for k, v in res.items()}, f, indent=1)


if __name__ == "__main__":
    main()
