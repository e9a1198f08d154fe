"""Corpus: held-out eval items, then training documents, tokenized into one npz."""
import argparse
import collections
import glob
import json
import lzma
import os
import random
import re

import numpy as np

import split
import tokenizer as tk
from chat import EOT, render_parts
from curriculum import MAKERS, lexicon, reading, stories
from curriculum.common import R

HERE = os.path.dirname(os.path.abspath(__file__))
RUNS = os.path.join(HERE, "runs")
TEXT = os.path.join(HERE, "..", "..", "shared", "data", "text")
EVAL = os.path.join(HERE, "eval")
PER_SKILL = 240
# documents of each kind
COUNTS = {"identity": 16000, "reading": 36000, "reading-long": 5000, "unknown": 9000, "memory": 26000, "arithmetic": 24000,
          "tools": 24000, "json": 22000, "lists": 22000, "sort": 8000, "stories": 6000, "mixed": 8000, "drill": 24000, "spell": 24000}
CHAT, TXT = 0, 2  # token flags: 0 prompt, 1 assistant, 2 plain text


def read(folder, name):
    with lzma.open(os.path.join(folder, name), "rt", encoding="utf-8") as f:
        return f.read()


def sentences(text):
    s = re.sub(r"\s+", " ", text)
    return [x for x in re.split(r"(?<=[.!?])\s+", s) if 15 < len(x) < 110 and '"' not in x]


def load_text(folder, rng):
    """Stories, book excerpts and problems; primes the generators with real text."""
    tiny = [x.strip() for x in read(folder, "tinystories-sample.txt.xz").split(EOT) if len(x) > 100]
    cut = int(len(tiny) * 0.95)
    reading.set_filler("train", sentences(" ".join(tiny[:cut])))
    reading.set_filler("test", sentences(" ".join(tiny[cut:])))
    raw = read(folder, "books.txt.xz")
    books = []
    for _ in range(6000):
        i = rng.randrange(0, len(raw) - 2000)
        books.append(re.sub(r"[ \t]+", " ", re.sub(r"(?<!\n)\n(?!\n)", " ", raw[i:i + 1200])).split(" ", 1)[1])
    books = [b for b in books if EOT not in b]
    gsm = [json.loads(x)["question"] for x in read(folder, "gsm8k_train.jsonl.xz").splitlines() if x]
    held = lexicon.test_words()
    freq = collections.Counter(re.findall(r"\b[a-z]{3,9}\b", " ".join(tiny[:cut]) + " ".join(books)))
    tokdir = os.path.join(RUNS, "tokenizer")
    vocab = []
    if os.path.exists(os.path.join(tokdir, "tokenizer.json")):
        vocab = sorted(w[1:] for w in tk.load(tokdir).get_vocab() if re.fullmatch("\u0120[A-Za-z][a-z]{2,}", w))
    lower = {w for w, _ in freq.most_common(6000)[200:]} | {w for w in vocab if w[0].islower()}
    lexicon.EXTRA[:] = sorted(w for w in lower if w not in held)
    lexicon.EXTRA_CAP[:] = sorted({w.capitalize() for w in lower if w not in held} | {w for w in vocab if w[0].isupper() and w.lower() not in held})
    lexicon.ALL[:] = vocab + sorted(lower)
    nouns = set(lexicon.part(lexicon.OBJECTS, "train") + lexicon.part(lexicon.ANIMALS, "train") + lexicon.part(lexicon.PLACES, "train")
                + lexicon.part(lexicon.COLORS, "train")) | {w for w, _ in freq.most_common(1200)[300:] if w not in held and len(w) > 3}
    short = []
    for s in tiny[:cut]:
        out = " ".join(re.split(r"(?<=[.!?])\s+", re.sub(r"\s+", " ", s))[:5])
        ws = [w for w in set(re.findall(r"[a-z]+", out)) if w in nouns]
        if len(ws) >= 3 and len(out) < 420:
            short.append((rng.sample(sorted(ws), 3), out))
    stories.set_stories(short)
    return tiny[:cut], tiny[cut:], books, gsm


def documents(arrays):
    """(kind, text) of every document of a build's arrays."""
    tok = tk.load(os.path.join(RUNS, "tokenizer"))
    z = np.load(arrays)
    ids, start, kind, names = z["ids"], z["start"], z["kind"], [str(x) for x in z["names"]]
    for i in range(0, len(kind), 2000):
        part = [ids[start[j]:start[j + 1]].tolist() for j in range(i, min(i + 2000, len(kind)))]
        for j, text in enumerate(tok.decode_batch(part, skip_special_tokens=False)):
            yield names[kind[i + j]], text


def shared(grams, arrays):
    """Those of `grams` (of test prompts) that a document of the arrays has."""
    hit = set()
    for k, text in documents(arrays):
        hit |= grams & split.document_grams(text, k == "text")
    return hit


def make_eval(avoid=()):
    """Write eval/*.jsonl once per build and return all test 8-grams. `avoid`: arrays of earlier builds with which no item may share one."""
    os.makedirs(EVAL, exist_ok=True)
    sets = {}
    for skill in ("identity", "reading", "unknown", "memory", "arithmetic", "tools", "json", "lists", "stories"):
        r, seen, out = R(7, "test"), set(), []
        while len(out) < PER_SKILL * (3 if avoid else 1):
            i = len(out)
            if skill == "tools":
                x = MAKERS[skill](r) if i % 5 == 4 else __import__("curriculum.tools").tools.make(r, part="call")
            elif skill == "reading":
                x = reading.make(r, long=i % 4 == 3, idk=False)
            else:
                x = MAKERS[skill](r)
            key = json.dumps(x["messages"])
            if key in seen:
                continue
            seen.add(key)
            out.append({k: x[k] for k in ("skill", "messages", "tools", "schema", "check") if k in x})
        sets[skill] = out
    every = set().union(*(split.grams(x) for out in sets.values() for x in out))
    hit = set().union(*(shared(every, a) for a in avoid))
    grams = set()
    for skill, out in sets.items():
        clean = [x for x in out if not hit & split.grams(x)]
        out = clean[:PER_SKILL]
        print(f"{skill}: {len(out)} items, of those tried {len(clean) / len(sets[skill]):.0%} shared nothing", flush=True)
        grams = grams.union(*(split.grams(x) for x in out))
        with open(os.path.join(EVAL, skill + ".jsonl"), "w") as f:
            for x in out:
                f.write(json.dumps(x, ensure_ascii=False, separators=(",", ":")) + "\n")
    return grams


def eval_grams():
    """All test 8-grams; the items are written first where there are none."""
    files = sorted(glob.glob(os.path.join(EVAL, "*.jsonl")))
    if not files:
        return make_eval()
    grams = set()
    for name in files:
        with open(name) as f:
            grams = grams.union(*(split.grams(json.loads(line)) for line in f))
    return grams


def mixed(r):
    """Several skills in one chat, no system turn."""
    ms, last = [], None
    for k in r.sample(["identity", "reading", "memory", "arithmetic", "json", "lists", "stories", "unknown"], r.int(2, 3)):
        x = MAKERS[k](r)
        part = [m for m in x["messages"] if m["role"] != "system"]
        if x.get("schema") and len(part) != len(x["messages"]):
            continue
        if last:
            ms.append({"role": "assistant", "content": last})
        ms += part
        last = x["answer"]
    return {"messages": ms, "answer": last} if ms else mixed(r)


def build(folder=TEXT, seed=1, counts=COUNTS, scale=1.0, texts=12000):
    rng = random.Random(seed)
    tiny, held, books, gsm = load_text(folder, rng)
    test = eval_grams()
    r = R(seed, "train")
    docs, kinds, dropped = [], [], collections.Counter()
    for k, n in counts.items():
        make = MAKERS.get(k, mixed)
        for _ in range(int(n * scale)):
            x = make(r)
            if test & split.grams(x):
                dropped[k] += 1
                continue
            docs.append(render_parts(x["messages"], x.get("tools"), x["answer"]))
            kinds.append(k)
    plain = [rng.choice(tiny)[:900] for _ in range(texts // 2)] + rng.sample(books, min(len(books), texts // 3)) + rng.sample(gsm, texts // 6)
    for t in plain:
        if test & split.text_grams(t):
            dropped["text"] += 1
            continue
        docs.append([(t, None)])
        kinds.append("text")
    print("documents", len(docs), "dropped as too near the test set", dict(dropped), flush=True)
    tokdir = os.path.join(RUNS, "tokenizer")
    if not os.path.exists(os.path.join(tokdir, "tokenizer.json")):
        pick = random.Random(3).sample(range(len(docs)), min(len(docs), 40000))
        tok = tk.train([t for i in pick for t, _ in docs[i]] + books[:1500])
        tk.save(tok, tokdir)
    tok = tk.load(tokdir)
    names = sorted(set(kinds))
    parts = [p for d in docs for p in d]
    enc = []
    for i in range(0, len(parts), 50000):
        enc += [e.ids for e in tok.encode_batch([t for t, _ in parts[i:i + 50000]], add_special_tokens=False)]
    eot = tok.token_to_id(EOT)
    ids, flags, start, kind, j = [], [], [0], [], 0
    for d, k in zip(docs, kinds):
        a, f = [], []
        for _, who in d:
            a += enc[j]
            f += [TXT if who is None else int(who)] * len(enc[j])
            j += 1
        a.append(eot)
        f.append(CHAT)
        if len(a) > 1536:
            continue
        ids += a
        flags += f
        start.append(len(ids))
        kind.append(names.index(k))
    os.makedirs(RUNS, exist_ok=True)
    start, kind = np.array(start), np.array(kind, dtype=np.uint8)
    np.savez(os.path.join(RUNS, "data.npz"), ids=np.array(ids, dtype=np.uint16), flags=np.array(flags, dtype=np.uint8), start=start, kind=kind, names=np.array(names))
    size = np.diff(start)
    for i, n in enumerate(names):
        m = kind == i
        print(f"{n:13} {m.sum():7} docs {size[m].sum():9} tokens, mean {size[m].mean():.0f}, max {size[m].max()}", flush=True)
    hold = [tok.encode(t).ids for t in held[:80]]
    np.save(os.path.join(RUNS, "heldout.npy"), np.array([x for t in hold for x in [eot] + t], dtype=np.uint16))


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--text", default=TEXT)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--scale", type=float, default=1.0)
    p.add_argument("--eval-only", nargs="*", metavar="NPZ", help="write the eval items alone; none shares an 8-gram with these arrays")
    a = p.parse_args()
    if a.eval_only is not None:
        load_text(a.text, random.Random(a.seed))
        make_eval(a.eval_only)
        raise SystemExit
    build(a.text, a.seed, scale=a.scale)
