"""Lists: sort, reverse, count, pick and rewrite short lists."""
from . import lexicon as L
from . import wording2 as W
from .common import bot, fill, item, user
from .grammar import Pats, widen
from .smalltalk import system

ORD = ["first", "second", "third", "fourth", "fifth"]
ASK = {
    "sort": ["Sort these {k} from A to Z: {l}", "Sort alphabetically: {l}", "Put these {k} in alphabetical order: {l}", "Sort the {k} by the alphabet: {l}", "In alphabetical order, please: {l}", "Order these {k} alphabetically: {l}",
             "Arrange the {k} from A to Z: {l}", "Sort this list alphabetically: {l}", "Please sort these {k}: {l}", "Bring the {k} into alphabetical order: {l}"],
    "up": ["Sort these numbers from small to large: {l}", "Sort the numbers: {l}", "Order these numbers from smallest to largest: {l}", "Put the numbers in ascending order: {l}", "Arrange from the smallest number to the largest one: {l}",
           "Sort ascending: {l}", "Please sort these numbers: {l}", "Sort this list of numbers, smallest first: {l}", "Arrange the numbers in ascending order: {l}", "Bring the numbers in order, smallest first: {l}"],
    "down": ["Sort these numbers from large to small: {l}", "Sort descending: {l}", "Order these numbers from largest to smallest: {l}", "Put the numbers in descending order: {l}", "Arrange from the largest number to the smallest one: {l}",
             "Sort this list of numbers, largest first: {l}", "Sort the numbers, biggest first: {l}", "Please sort these numbers in descending order: {l}", "Arrange the numbers in descending order: {l}", "Bring the numbers in order, largest first: {l}"],
    "reverse": ["Reverse this list: {l}", "Reverse the order: {l}", "Write these {k} in reverse order: {l}", "Turn this list around: {l}", "Give the list backwards: {l}", "Say these {k} backwards: {l}", "Put the list in reverse: {l}",
                "Write the list from the last item to the first: {l}", "Reverse these {k}: {l}", "List these {k} in reverse order: {l}"],
    "count": ["How many {k} are in this list: {l}", "Count the {k}: {l}", "How many items are there: {l}", "How long is this list: {l}", "Count how many {k} there are: {l}", "How many {k} do you see: {l}", "Count the items: {l}",
              "Tell me the number of items: {l}", "How many {k} did I write: {l}", "What is the count of these {k}: {l}"],
    "pick": ["What is the {o} item: {l}", "Give me the {o} of these: {l}", "Pick the {o} one: {l}", "Which one is {o}: {l}", "Name the {o} item of the list: {l}", "Which is the {o} of these {k}: {l}", "Tell me the {o} item in this list: {l}",
             "Take the {o} item: {l}", "What comes {o} in this list: {l}", "Say the {o} item in the list: {l}"],
    "max": ["Which number is the largest: {l}", "Pick the largest number: {l}", "What is the biggest number: {l}", "Find the largest: {l}", "Say which number is the largest one: {l}", "Which is the biggest of these: {l}", "Name the largest number: {l}",
            "What is the maximum of {l}", "Tell me the largest number: {l}", "Give me the largest number here: {l}"],
    "min": ["Which number is the smallest: {l}", "Pick the smallest number: {l}", "What is the lowest number: {l}", "Find the smallest: {l}", "Say which number is the smallest one: {l}", "Which is the smallest of these: {l}",
            "Name the smallest number: {l}", "What is the minimum of {l}", "Tell me the smallest number: {l}", "Give me the smallest number here: {l}"],
    "remove": ["Remove {x} from this list: {l}", "Delete {x} from the list: {l}", "Take {x} out of this list: {l}", "Write the list without {x}: {l}", "Leave {x} out: {l}", "Drop {x} from the list: {l}", "Cross out {x}: {l}",
               "The list is {l}. Remove {x}.", "Remove the word {x}: {l}", "Please take {x} off the list: {l}"],
    "add": ["Add {x} to this list: {l}", "Append {x}: {l}", "Put {x} at the end of this list: {l}", "Write the list with {x} added: {l}", "Add {x} at the end: {l}", "Extend the list by {x}: {l}", "The list is {l}. Add {x}.",
            "Also put {x} on the list: {l}", "Please add {x} to: {l}", "Put {x} on this list too: {l}"],
    "replace": ["Replace {x} by {y}: {l}", "Change {x} to {y} in this list: {l}", "Replace {x} with {y}: {l}", "Write {y} in place of {x}: {l}", "Put {y} where {x} is: {l}", "Swap {x} for {y}: {l}", "Use {y} instead of {x}: {l}",
                "The list is {l}. Replace {x} with {y}.", "In this list, change {x} into {y}: {l}", "In the list, replace {x} by {y}: {l}"],
    "bullets": ["Write as bullet points: {l}", "Make a bullet list: {l}", "Turn this into a bullet list: {l}", "One item per line with a dash: {l}", "Rewrite as bullet points: {l}", "Use bullets: {l}", "Show as a bullet list: {l}",
                "Put each item on its own line with a dash: {l}", "Give me bullet points: {l}", "Format this as a bullet list: {l}"],
    "numbered": ["Number these items: {l}", "Make a numbered list: {l}", "Turn this into a numbered list: {l}", "Write as a numbered list: {l}", "Rewrite as a numbered list: {l}", "Give each item a number: {l}", "Show as a numbered list: {l}",
                 "Put numbers in front: {l}", "Number the list: {l}", "Format this as a numbered list: {l}"],
    "sentence": ["Join with commas and the word and: {l}", "Write as a sentence part with and: {l}", "Join these with and at the end: {l}", "Write them in one line with and before the last: {l}", "Join the items with commas and and: {l}"],
}
widen(ASK, W.LISTS)
HEADS = {"sort": "In order: ", "reverse": "Reversed: "}
KIND = {"OBJECTS": "words", "ANIMALS": "animals", "NAMES": "names", "THINGS": "things", "CITIES": "cities", "JOBS": "jobs", "FOODS": "foods", "PLACES": "places", "COLORS": "colors"}
OPEN = ["", "", "", "", "", "Please. ", "Hi. ", "List task: ", "Can you do this? ", "Here is a small task. "]
OPENS = Pats([x for x in OPEN if x], W.LIST_OPEN)
OPS = ["sort", "up", "down", "reverse", "reverse", "count", "count", "pick", "pick", "max", "min", "remove", "add", "replace", "bullets", "numbered", "sentence"]


def words(r, n):
    p = r.any(list(KIND))
    n = min(n, len(L.pool(p, r.split)))
    out = r.words(p, n)
    return out, KIND[p]


def show(r, xs):
    x = r.rng.random()
    return ", ".join(xs) if x < 0.85 else "\n" + "\n".join("- " + y for y in xs)


def numbered(xs):
    """Working shown: each item with its number."""
    return ", ".join(f"{i + 1} {x}" for i, x in enumerate(xs))


def task(r, op=None):
    """(question, answer) of one list task."""
    op = op or r.any(OPS)
    if op in ("up", "down", "max", "min"):
        n = r.any([3, 3, 4, 4, 5, 6]) if not r.test else r.int(3, 4)
        xs, hi = [], r.any([99, 99, 99, 999])
        while len(xs) < n:
            v = r.num(2, hi)
            if v not in xs:
                xs.append(v)
        ans = {"up": sorted(xs), "down": sorted(xs, reverse=True), "max": [max(xs)], "min": [min(xs)]}[op]
        head = "It is " if len(ans) == 1 else "In order: "
        return op, fill(r.pat(ASK[op]), l=show(r, [str(x) for x in xs]), k="numbers"), head + ", ".join(map(str, ans)) + "."
    n = r.any([2, 3, 3, 4, 4, 5, 6, 7]) if not r.test else r.int(3, 4)
    if op == "sort":
        n = min(n, 5)
    if op == "count" and r.p(0.4):
        n = r.int(4, 9) if not r.test else r.int(3, 6)
    xs, kind = words(r, n)
    if r.p(0.15) and op != "sort":
        xs, kind = [str(r.num(2, 99)) for _ in xs], "numbers"
        if len(set(xs)) < len(xs):
            return task(r, op)
    if op == "sort" and len({x[0].lower() for x in xs}) < len(xs):
        return task(r, op)
    kw = {"k": kind, "l": show(r, xs)}
    if op == "sort":
        ans = sorted(xs, key=str.lower)
    elif op == "reverse":
        ans = xs[::-1]
    elif op == "count":
        return op, fill(r.pat(ASK[op]), **kw), numbered(xs) + f". There are {len(xs)}."
    elif op == "pick":
        i = r.int(0, min(4, len(xs) - 1))
        kw["o"] = ORD[i]
        if r.p(0.3):
            i, kw["o"] = len(xs) - 1, "last"
        return op, fill(r.pat(ASK[op]), **kw), numbered(xs[:i + 1]) + f". It is {xs[i]}."
    elif op == "remove":
        x = r.any(xs)
        kw["x"] = x
        ans = [y for y in xs if y != x]
    elif op == "add":
        x, _ = words(r, 1)
        if x[0] in xs:
            return task(r, op)
        kw["x"] = x[0]
        ans = xs + x
    elif op == "replace":
        x, (y,) = r.any(xs), words(r, 1)[0]
        if y in xs:
            return task(r, op)
        kw.update(x=x, y=y)
        ans = [y if z == x else z for z in xs]
    elif op == "bullets":
        return op, fill(r.pat(ASK[op]), **kw), "\n".join("- " + x for x in xs)
    elif op == "numbered":
        return op, fill(r.pat(ASK[op]), **kw), "\n".join(f"{i + 1}. {x}" for i, x in enumerate(xs))
    elif op == "sentence":
        return op, fill(r.pat(ASK[op]), **kw), "Joined: " + ", ".join(xs[:-1]) + " and " + xs[-1] + "."
    return op, fill(r.pat(ASK[op]), **kw), HEADS.get(op, "New list: ") + ", ".join(ans) + "."


def check(op, a):
    if op in ("bullets", "numbered"):
        return {"type": "exact", "expected": a}
    return {"type": "ends", "expected": a.rstrip(".").split(". ")[-1]}


def make(r, sort=None):
    """A chat of list tasks; `sort` leaves only sorting by letters, or all but that."""
    ops = OPS if sort is None else ["sort"] if sort else [x for x in OPS if x != "sort"]
    ms = system(r) if r.p(0.5) else []
    if not r.test:
        for _ in range(r.any([0, 0, 1, 2, 3])):
            _, q, a = task(r, r.any(ops))
            ms += [user(r.lead(OPENS) + q), bot(a)]
    op, q, a = task(r, r.any(ops))
    return item("lists", ms + [user(r.lead(OPENS) + q)], a, check(op, a), op=op)
