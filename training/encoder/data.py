"""Text for the encoder: documents of sentences (token ids), split by document into training and held-out.

Run as a script it writes runs/encoder/tokenizer.json and runs/encoder/data.npz.
"""
import argparse
import json
import lzma
import os
import re
import sys
import zlib

import numpy as np

import tokenizer as tk

HERE = os.path.dirname(os.path.abspath(__file__))
RUNS = os.path.join(HERE, "..", "runs", "encoder")
TEXT = os.path.join(HERE, "..", "..", "..", "shared", "data", "text")
EOT = "<|endoftext|>"
BOOK, STORY, PROBLEM = 0, 1, 2
sys.path.append(os.path.join(HERE, ".."))  # the curriculum's generators


def read(folder, name):
    with lzma.open(os.path.join(folder, name), "rt", encoding="utf-8") as f:
        return f.read()


def held_out(text):
    """One document in eight, by a hash of its beginning: a whole book is on one side."""
    return zlib.crc32(text[:400].encode()) % 8 == 0


def sentences(text):
    """Sentences of 12 to 400 characters, in order, white space collapsed."""
    return [s for s in re.split(r"(?<=[.!?][\"”’)]|.[.!?])\s+", re.sub(r"\s+", " ", text)) if 12 <= len(s) <= 400]


def documents(folder=TEXT):
    """(kind, held out?, sentences) of books, stories and word problems (question, answer)."""
    for t in read(folder, "books.txt.xz").split(EOT):
        body = t.strip()
        if len(body) > 5000:
            yield BOOK, held_out(body), sentences(body[1500:-1500])  # without the title page and the end matter
    for t in read(folder, "tinystories-sample.txt.xz").split(EOT):
        if len(t.strip()) > 200:
            yield STORY, held_out(t.strip()), sentences(t)
    for line in read(folder, "gsm8k_train.jsonl.xz").splitlines():
        x = json.loads(line)
        answer = re.sub(r"<<.*?>>|####.*", "", x["answer"])
        yield PROBLEM, held_out(x["question"]), [re.sub(r"\s+", " ", s).strip() for s in (x["question"], answer)]


def facts(split, seed, n):
    """n pairs (question, passage with the answer) and n pairs (fact, the same fact in other words), from the curriculum."""
    from curriculum import facts as F, reading
    from curriculum.common import R, cap, fill

    r, asked, said = R(seed, split), [], []
    while len(asked) < n:
        kind, v, s = F.make_fact(r, r.name())
        q, value, _ = F.ask(r, kind, v)
        extra = reading.filler(r, r.int(0, 2))
        asked.append((q, " ".join(r.shuffle([s] + extra))))
        for _ in range(9):
            other = cap(fill(r.pat(F.KINDS[kind][0]), **v))
            if other != s:
                said.append((s, other))
                break
    return asked, said


def build(folder=TEXT, chars=60_000_000):
    """Tokenizer, then ids of all sentences with the bounds of sentences and documents. `chars` bounds the books that are used."""
    os.makedirs(RUNS, exist_ok=True)
    docs, used = [], 0
    for kind, held, ss in documents(folder):
        size = sum(map(len, ss))
        if len(ss) < 2 or (kind == BOOK and not held and used > chars):
            continue
        used += size if kind == BOOK and not held else 0
        docs.append((kind, held, ss))
    from curriculum import reading

    reading.set_filler("train", [s for k, h, ss in docs if k == STORY and not h for s in ss if len(s) < 110])
    reading.set_filler("test", [s for k, h, ss in docs if k == STORY and h for s in ss if len(s) < 110])
    asked, said = facts("train", 1, 60000)
    path = os.path.join(RUNS, "tokenizer.json")
    if not os.path.exists(path):
        text = [" ".join(ss[:2500]) for _, h, ss in docs if not h] + [q + " " + p for q, p in asked[:6000]]
        tk.train(text).save(path)
    tok = tk.Tokenizer.from_file(path)

    def ids(texts):
        out = []
        for i in range(0, len(texts), 100_000):
            out += [e.ids for e in tok.encode_batch(texts[i:i + 100_000])]
        return out

    flat, sent, doc, kinds, held = [], [0], [0], [], []
    for kind, h, ss in docs:
        for x in ids(ss):
            flat.append(np.array(x, dtype=np.uint16))
            sent.append(sent[-1] + len(x))
        doc.append(len(sent) - 1)
        kinds.append(kind)
        held.append(h)
    pairs = [np.array(x, dtype=np.uint16) for p in (asked, said) for x in ids([t for pair in p for t in pair])]
    np.savez(os.path.join(RUNS, "data.npz"), ids=np.concatenate(flat), sent=np.array(sent), doc=np.array(doc), kind=np.array(kinds), held=np.array(held),
             pair_ids=np.concatenate(pairs), pair=np.cumsum([0] + [len(x) for x in pairs]), asked=len(asked))
    for k, name in enumerate(("books", "stories", "problems")):
        for h in (False, True):
            m = [i for i in range(len(kinds)) if kinds[i] == k and held[i] == h]
            print(f"{name:9} {'held out' if h else 'training'} {len(m):6} documents {sum(doc[i + 1] - doc[i] for i in m):8} sentences", flush=True)
    print(f"{sent[-1]} tokens, {len(asked)} questions, {len(said)} paraphrases, vocabulary {tok.get_vocab_size()}", flush=True)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--text", default=TEXT)
    build(p.parse_args().text)
