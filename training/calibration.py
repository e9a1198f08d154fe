"""A calibration text for post-training quantization: chats of every skill that neither the training set nor the test set has.

    python training/calibration.py        # writes models/pebble/base/calibration.txt
"""
import os
import random

import data
from chat import EOT, render_parts
from curriculum import MAKERS
from curriculum.common import R

OUT = os.path.join(data.HERE, "..", "models", "pebble", "base", "calibration.txt")
SEED, PER_KIND = 99, 8


def main():
    rng = random.Random(SEED)
    data.load_text(data.TEXT, rng)
    r = R(SEED, "train")
    docs = []
    for make in MAKERS.values():
        for _ in range(PER_KIND):
            x = make(r)
            docs.append("".join(t for t, _ in render_parts(x["messages"], x.get("tools"), x["answer"])))
    rng.shuffle(docs)
    os.makedirs(os.path.dirname(OUT), exist_ok=True)
    with open(OUT, "w") as f:
        f.write("".join(d + EOT for d in docs))
    print(f"{OUT}: {len(docs)} documents")


if __name__ == "__main__":
    main()
