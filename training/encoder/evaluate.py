"""Retrieval on held-out passages: recall@5 of the encoder, of BM25 and of chance.

    python training/encoder/evaluate.py f32=runs/.../model.onnx int8=models/dunlin/model.onnx --out scores.json

No held-out document was seen in training, as text or as vocabulary; curriculum items are of the test patterns and words.
"""
import argparse
import json
import os

import numpy as np
import onnxruntime as ort

import tokenizer as tk
from bm25 import BM25
from data import BOOK, PROBLEM, RUNS, STORY, TEXT, documents, facts
from export import embed

POOL = 2000
K = 5


def tasks(folder=TEXT):
    """{name: (queries, passages)}; the passage of query i is passage i, no passage repeats."""
    rng = np.random.default_rng(5)
    books, stories, problems = [], [], []
    held = {BOOK: [], STORY: [], PROBLEM: []}
    for kind, h, ss in documents(folder):
        if h and len(ss) >= 2:
            held[kind].append(ss)
    each = POOL // len(held[BOOK])
    for ss in held[BOOK]:
        starts = rng.choice(np.arange(0, len(ss) - 4, 4), min(each, (len(ss) - 4) // 4), replace=False)
        books += [(ss[i], " ".join(ss[i + 1:i + 4])) for i in starts]
    for ss in held[STORY]:
        if len(ss) >= 5:
            stories.append((" ".join(ss[:2]), " ".join(ss[2:])))
    problems = [(ss[0], ss[1]) for ss in held[PROBLEM]]
    from curriculum import reading

    reading.set_filler("test", [s for ss in held[STORY] for s in ss if len(s) < 110])
    asked, said = facts("test", 9, 1000)
    out = {}
    for name, pairs in {"books: a sentence, the passage after it": books, "stories: the first sentences, the rest": stories,
                        "word problems: the question, its solution": problems, "questions: a question, the passage that answers": asked,
                        "paraphrases: a fact, the same in other words": said}.items():
        seen, unique = set(), []
        for q, p in pairs:
            if p not in seen and q != p:
                seen.add(p)
                unique.append((q, p))
        out[name] = ([q for q, _ in unique], [p for _, p in unique])
    return out


def recall(scores, k=K):
    """scores [N, N], larger is nearer; ties count against."""
    own = np.diag(scores)[:, None]
    rank = (scores >= own).sum(axis=1)  # the passage itself is one
    return float((rank <= k).mean())


def vectors(session, tok, texts, most=512):
    rows = [np.array(e.ids[:most]) for e in tok.encode_batch(texts)]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    out = np.zeros((len(rows), 1), dtype=np.float32)
    for i in range(0, len(order), 32):
        part = order[i:i + 32]
        v = embed(session, [rows[j] for j in part])
        if out.shape[1] != v.shape[1]:
            out = np.zeros((len(rows), v.shape[1]), dtype=np.float32)
        out[part] = v
    return out


def cut(v, d):
    v = v[:, :d]
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("models", nargs="+", help="name=path of an ONNX file")
    p.add_argument("--dimensions", default="256,128,64")
    p.add_argument("--out")
    a = p.parse_args()
    tok = tk.Tokenizer.from_file(os.path.join(RUNS, "tokenizer.json"))
    models = {k: ort.InferenceSession(v, providers=["CPUExecutionProvider"]) for k, v in (m.split("=", 1) for m in a.models)}
    table = {}
    for name, (queries, passages) in tasks().items():
        row = {"passages": len(passages), "random": K / len(passages)}
        bm = BM25(passages)
        row["BM25"] = recall(np.stack([bm.scores(q) for q in queries]))
        for k, s in models.items():
            q, v = vectors(s, tok, queries), vectors(s, tok, passages)
            for d in map(int, a.dimensions.split(",")):
                row[f"{k} {d}"] = recall(cut(q, d) @ cut(v, d).T)
        table[name] = row
        print(name, {k: round(v, 4) for k, v in row.items()}, flush=True)
    mean = {k: float(np.mean([r[k] for r in table.values()])) for k in next(iter(table.values())) if k != "passages"}
    print("mean", {k: round(v, 4) for k, v in mean.items()})
    if a.out:
        with open(a.out, "w") as f:
            json.dump({"recall_at": K, "tasks": table, "mean": mean}, f, indent=1)


if __name__ == "__main__":
    main()
