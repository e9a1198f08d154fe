"""Short stories from three given words."""
from . import lexicon as L
from .common import an, bot, cap, fill, item, user
from .smalltalk import system

ASK = ["Write a short story with the words {w}.", "Tell me a story about {w}.", "Write a story using these words: {w}", "Make up a short story with {w}.", "Can you invent a tale in which {w} appear?",
       "Please write a little story. Use the words {w}.", "I would like a story with {w}.", "Story words: {w}", "Tell a short story that has {w} in it.", "A tiny tale, please, containing {w}.",
       "Write a few sentences with the words {w}.", "Create a story from the words {w}.", "Use {w} in a short story.", "Give me a story with {w}.", "Please think of a brief story where {w} play a part."]
S1 = ["One day {n} found {a} near the {p}.", "Once upon a time {n} had {a}.", "{n} lived by the {p} and had {a}.", "Early in the morning {n} saw {a} in the {p}.", "Long ago there was a child named {n} who owned {a}.",
      "There was {a} in the house of {n}.", "{n} wanted {a} more than anything.", "In a little town {n} kept {a}.", "{n} was walking to the {p} and saw {a}.", "On a sunny day {n} went out with {a}."]
S2 = ["Next to it was {b}.", "Then {m} came with {b}.", "{m} said, \"I will give you {b} for it.\"", "But {m} only had {b}.", "Just then {m} walked by and carried {b}.", "Suddenly {b} fell down beside {m}.",
      "{n} showed it to {m}, who brought {b}.", "The two friends {n} and {m} also took {b}.", "On the way {n} met {m}, who had {b}.", "Then {n} saw {b} and smiled."]
S3 = ["They put everything next to {c} and laughed.", "In the end they found {c} and went home happy.", "At last they hid it all under {c}.", "They also needed {c}, so they asked a friend.", "Behind the {p} there was {c}, and both were amazed.",
      "They looked for {c} until it was dark.", "Later they shared {c} and became friends.", "\"Look, {c}!\" said {m}.", "That night they dreamed of {c}.", "Soon they had {c} as well."]
S4 = ["It was a good day.", "They were very happy.", "And they never forgot it.", "From then on they played together every day.", "After that both of them slept well.", "Everyone was glad.", "Then they went home.", "{n} smiled.",
      "They all lived happily.", "So the day came to its end."]
_tiny = []


def set_stories(stories):
    """Short real stories as (words, text), used in training only."""
    _tiny[:] = stories


def make(r):
    if _tiny and not r.test and r.p(0.35):
        ws, text = r.any(_tiny)
    else:
        ws = r.words(r.any(["OBJECTS", "ANIMALS", "OBJECTS"]), 3) if r.p(0.5) else [r.word("OBJECTS"), r.word("ANIMALS"), r.word("OBJECTS")]
        if len(set(ws)) < 3 or any(x != y and x in y for x in ws for y in ws):
            return make(r)
        n, m = r.names(2)
        kw = dict(n=n, m=m, p=r.word("PLACES"), a=an(ws[0]), b=an(ws[1]), c=an(ws[2]))
        text = " ".join(cap(fill(r.pat(s), **kw)) for s in (S1, S2, S3, S4))
    ws = r.shuffle(ws)
    w = r.any([", ".join(ws), f"{ws[0]}, {ws[1]} and {ws[2]}", f"{ws[0]}, {ws[1]}, {ws[2]}"])
    return item("stories", system(r) + [user(fill(r.pat(ASK), w=w))], text, {"type": "contains-all", "expected": ws})
