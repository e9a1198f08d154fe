"""Copy and recall drills: dense practice for the skill that the others share. Training only."""
import json

from . import lexicon as L
from .common import bot, cap, fill, item, user

SAY = ["Repeat: {x}", "Say this again: {x}", "Copy: {x}", "Write the same: {x}", "Echo {x}", "Please repeat after me: {x}", "{x} - say it back.", "Say: {x}"]
HEAD = ["", "", "Remember: ", "Here are some pairs. ", "Note these: ", "Table: ", "Learn this. "]
PAIR = ["{k}: {v}", "{k} is {v}", "{k} = {v}", "{k} has {v}", "{k} - {v}", "{k} gets {v}", "for {k} it is {v}", "{v} goes to {k}", "{v} for {k}", "{k}, {v}"]
ASK = ["{k}?", "What is {k}?", "{k}", "Tell me about {k}.", "And {k}?", "Which one for {k}?", "What has {k}?", "{k}: ?", "Give me {k}.", "What goes with {k}?"]
BACK = ["Who has {v}?", "Which one is {v}?", "{v} is for whom?", "What goes with {v}?", "Whose is {v}?", "{v}?"]
NEXT = ["What comes after {x}?", "After {x}?", "What is next after {x}?", "Which follows {x}?"]
ARRAY = ["JSON array: {x}", "Write as a JSON array: {x}", "As JSON: {x}", "Make a JSON list of {x}", "Put {x} in a JSON array", "JSON list with {x}"]
LINES = ["One a line: {x}", "Each in its own line: {x}", "Line by line: {x}", "Write below each other: {x}"]
PREV = ["What comes before {x}?", "Before {x}?", "What stands in front of {x}?"]


def token(r):
    x = r.rng.random()
    if x < 0.5 and L.ALL:
        return r.any(L.ALL)
    if x < 0.65:
        return r.name()
    if x < 0.75:
        return str(r.num(2, 999))
    if x < 0.85:
        return r.obj()
    if x < 0.92:
        return r.city()
    return r.any([r.full, r.time, r.date, r.title])()


def distinct(r, n, make=token):
    out = []
    while len(out) < n:
        t = make(r)
        if not any(t in o or o in t for o in out):
            out.append(t)
    return out


def spell(r):
    """Words that follow a space in the question and stand without one in the answer, where their tokens differ."""
    ms = []
    for _ in range(r.int(1, 3)):
        form = r.any(["json", "json", "object", "lines", "plain"])
        xs = distinct(r, r.int(1, 5), (lambda r: r.any(L.ALL) if r.p(0.6) and L.ALL else token(r)))
        said = r.any(["", "", "the words ", "this: ", "these: "]) + r.any([", ", ", ", " and "]).join(xs)
        if form == "json":
            ms += [user(fill(r.any(ARRAY), x=said)), bot(json.dumps(xs))]
        elif form == "object":
            keys = r.sample(["a", "b", "c", "name", "city", "item", "title", "job", "place", "color", "word", "text"], len(xs))
            ms += [user(r.any(["JSON: ", "As an object: ", "Make JSON. ", "Object with "]) + ", ".join(fill(r.any(["{k} is {v}", "{k}: {v}", "{k} = {v}"]), k=k, v=v) for k, v in zip(keys, xs))), bot(json.dumps(dict(zip(keys, xs))))]
        elif form == "lines":
            ms += [user(fill(r.any(LINES), x=said)), bot("\n".join(xs))]
        else:
            ms += [user(fill(r.any(SAY), x=xs[0])), bot(xs[0])]
    return item("spell", ms[:-1], ms[-1]["content"], {"type": "exact", "expected": ms[-1]["content"]})


def make(r):
    ms, x = [], r.rng.random()
    if x < 0.25:
        for _ in range(r.int(1, 3)):
            t = r.any([", ", " "]).join(distinct(r, r.int(2, 9)))
            ms += [user(fill(r.any(SAY), x=t)), bot(t)]
    elif x < 0.4:
        xs = distinct(r, r.int(3, 8))
        first = r.any(HEAD) + ", ".join(xs) + ". "
        for j in r.sample(range(1, len(xs)), min(len(xs) - 1, r.int(2, 5))):
            fwd = r.p(0.6)
            q = fill(r.any(NEXT if fwd else PREV), x=xs[j - 1] if fwd else xs[j])
            ms += [user(first + q), bot((xs[j] if fwd else xs[j - 1]) + ".")]
            first = ""
    else:
        n = r.int(2, 8)
        ks = distinct(r, n, (lambda r: r.name()) if r.p(0.4) else token)
        vs = [t for t in distinct(r, 2 * n) if t not in ks][:n]
        n = min(n, len(vs))
        pat = r.any(PAIR)
        first = r.any(HEAD) + r.any([". ", ", ", "; ", "\n"]).join(fill(pat if r.p(0.8) else r.any(PAIR), k=k, v=v) for k, v in zip(ks[:n], vs)) + r.any([". ", "\n", ".\n"])
        ask, back = r.any(ASK), r.any(BACK)
        for j in r.sample(range(n), min(n, r.int(2, 8))):
            fwd = r.p(0.7)
            q = fill(ask if fwd else back, k=ks[j], v=vs[j])
            ms += [user(first + q), bot((vs[j] if fwd else ks[j]) + ".")]
            first = ""
    return item("drill", ms[:-1], ms[-1]["content"], {"type": "exact", "expected": ms[-1]["content"]})
