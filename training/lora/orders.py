"""Orders in plain words, and the JSON that they mean: the task of the adapters in this folder.

    python training/lora/orders.py --out runs/orders      # train.jsonl, test.jsonl

Words and sentence patterns of the test set are not in the training set (curriculum/lexicon.py, curriculum/grammar.py).
"""
import argparse
import json
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from curriculum.common import fill  # noqa: E402
from curriculum.grammar import Pats  # noqa: E402
from curriculum.lexicon import made_up, pool  # noqa: E402

SYSTEM = 'Write the order as JSON with "item", "quantity", "name" and "city".'
NUMBERS = "two three four five six seven eight nine ten eleven twelve".split()

PATTERNS = Pats(
    ["{n} {item} for {name} in {city}, please.", "{name} from {city} wants {n} {item}.", "Send {n} {item} to {name}, {city}."],
    "(Please|Could you|Can you) (send|ship|deliver|mail) {n} {item} to {name} in {city}(| today| soon).",
    "(Hello|Hi|Good morning), (this is|here is) {name} (from|in) {city}(, I need|. I would like|, please send me) {n} {item}.",
    "(I|We) (need|want|would like to order) {n} {item}(. Our address:|. Address:|. To:) {name}, {city}.",
    "{name} (ordered|asked for|is waiting for) {n} {item}(. The parcel goes|. It goes|, delivered) to {city}.",
    "(Order|New order): {n} {item}, (customer|buyer) {name}, (city|town) {city}.",
    "(For|Deliver to) {name} in {city}: {n} {item}(, thank you|| as always).",
)


def word(rng, split, kind):
    """A word of the split; in training half of them are invented, so that copying is learned and not a list."""
    if split == "train" and rng.random() < 0.5:
        return made_up(rng, split)
    return rng.choice(pool(kind, split))


def example(rng, split):
    item = word(rng, split, "THINGS").lower()
    if rng.random() < 0.3:
        item = f"{word(rng, split, 'COLORS').lower()} {item}"
    n = rng.randint(2, 12)
    order = {"item": item, "quantity": n, "name": word(rng, split, "NAMES"), "city": word(rng, split, "CITIES")}
    said = NUMBERS[n - 2] if rng.random() < 0.5 else str(n)
    text = fill(PATTERNS.pick(rng, split == "test"), n=said, **{k: order[k] for k in ("item", "name", "city")})
    text = text[0].upper() + text[1:]
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    return {"messages": messages, "answer": json.dumps(order)}


def examples(split, count, seed=7):
    rng = random.Random(f"orders-{split}-{seed}")
    seen, out = set(), []
    while len(out) < count:
        x = example(rng, split)
        if (text := x["messages"][-1]["content"]) not in seen:
            seen.add(text)
            out.append(x)
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--out", default=os.path.join(HERE, "..", "runs", "orders"))
    p.add_argument("--train", type=int, default=8000)
    p.add_argument("--test", type=int, default=200)
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    for split, count in (("train", a.train), ("test", a.test)):
        with open(os.path.join(a.out, f"{split}.jsonl"), "w") as f:
            f.writelines(json.dumps(x) + "\n" for x in examples(split, count))
        print(f"{split}: {count} orders, e.g. {examples(split, 1)[0]['messages'][-1]['content']}")


if __name__ == "__main__":
    main()
