"""Sums, differences and products of small numbers, bare and in word problems."""
from . import lexicon as L
from . import wording2 as W
from .common import bot, cap, fill, item, user
from .grammar import Pats
from .smalltalk import system

ADD = ["What is {a} + {b}?", "{a} + {b}", "What is {a} plus {b}?", "Add {a} and {b}.", "What do you get if you add {a} to {b}?", "{a} + {b} = ?", "Calculate {a} + {b}.", "How much is {a} plus {b}?",
       "Please add {a} and {b}.", "Find the sum of {a} and {b}.", "{a} plus {b}?", "Compute {a} + {b}.", "Tell me {a} + {b}.", "What is the sum of {a} and {b}?", "How much do {a} and {b} make together?",
       "Work out {a} + {b}.", "Solve {a} + {b}.", "How much is {a} + {b}?", "What is the total of {a} and {b}?", "I have to add {a} and {b}, what comes out?"]
SUB = ["What is {a} - {b}?", "{a} - {b}", "What is {a} minus {b}?", "Subtract {b} from {a}.", "What do you get if you take {b} from {a}?", "{a} - {b} = ?", "Calculate {a} - {b}.", "How much is {a} minus {b}?",
       "Please subtract {b} from {a}.", "Find the difference of {a} and {b}.", "{a} minus {b}?", "Compute {a} - {b}.", "Tell me {a} - {b}.", "What is {a} take away {b}?", "If {b} is taken off {a}, how much remains?",
       "Work out {a} - {b}.", "Solve {a} - {b}.", "How much is {a} - {b}?", "Take {b} away from {a}.", "I have to subtract {b} from {a}, what comes out?"]
MUL = ["What is {a} * {b}?", "{a} * {b}", "What is {a} times {b}?", "Multiply {a} by {b}.", "What do you get if you multiply {a} by {b}?", "{a} * {b} = ?", "Calculate {a} * {b}.", "How much is {a} times {b}?",
       "Please multiply {a} by {b}.", "Find the product of {a} and {b}.", "{a} times {b}?", "Compute {a} x {b}.", "What is {a} x {b}?", "Work out {a} * {b}.", "What comes out when {a} is multiplied by {b}?"]
WORD_ADD = ["{n} has {a} {t}. {m} gives {n} {b} more. How many {t} does {n} have now?", "{n} has {a} {t} and {m} has {b} {t}. How many {t} do they have together?",
            "{n} bought {a} {t} and then {b} more. How many {t} did {n} buy?", "There are {a} {t} in one box and {b} in another. How many {t} are there in all?",
            "{n} picked {a} {t} before noon and another {b} after it. What is the total number of {t}?", "On {d} {n} sold {a} {t}. On the next day {n} sold {b}. How many {t} were sold?",
            "{n} had {a} {t}. Then {n} found {b} {t}. How many does {n} have?", "{n} counted {a} {t} and {m} counted {b}. How many did they count in total?",
            "A shop has {a} {t}. It gets {b} new ones. How many {t} does the shop have?", "If {n} owns {a} {t} and gets {b} from {m} as a gift, how many {t} is that?",
            "{n} made {a} {t}. {m} made {b} {t}. How many {t} did they make?", "{n} read {a} pages on {d} and {b} pages later. How many pages is that?",
            "In the morning {n} saw {a} {t}, in the evening {b}. How many {t} did {n} see?", "{n} put {a} {t} in a bag. {m} put in {b}. How many {t} are in the bag?",
            "The basket of {n} holds {a} {t}; the one of {m} holds {b}. Both together hold how many {t}?"]
WORD_SUB = ["{n} has {a} {t}. {n} gives {b} to {m}. How many {t} does {n} have left?", "{n} had {a} {t} and lost {b}. How many {t} are left?",
            "There were {a} {t}. {n} ate {b} of them. How many {t} remain?", "{n} bought {a} {t} and used {b}. How many {t} are left?",
            "Out of {a} {t} that {n} owned, {b} got broken. How many good {t} are still there?", "A shop had {a} {t}. It sold {b}. How many {t} does it have now?",
            "{n} has {a} {t} and {m} has {b}. How many more does {n} have?", "{n} baked {a} {t}. {m} took {b}. How many are left for {n}?",
            "{n} needs {a} {t} but has only {b}. How many more does {n} need?", "Of the {a} {t} in the room of {n}, {m} carried away {b}. What number of {t} stayed?",
            "{n} had {a} dollars. {n} spent {b} dollars. How many dollars are left?", "There are {a} {t} on the table. {n} takes away {b}. How many are on the table now?",
            "{n} sold {b} of {a} {t}. How many {t} does {n} still have?", "{a} {t} were in the box. {b} fell out. How many are in the box?",
            "Yesterday {n} still had {a} {t}; since then {b} were given to {m}. How many can {n} keep?"]
WORD_MUL = ["{n} has {b} boxes with {a} {t} in each. How many {t} are there?", "Each bag has {a} {t}. {n} has {b} bags. How many {t} does {n} have?",
            "{n} buys {b} packs of {a} {t}. How many {t} is that?", "There are {b} rows of {a} {t}. How many {t} are there in all?",
            "Every day {n} collects {a} {t}. How many {t} will it be after {b} days?", "{b} friends have {a} {t} each. How many {t} do they have together?",
            "One ticket costs {a} dollars. How much do {b} tickets cost?", "{n} makes {a} {t} a day. How many {t} does {n} make in {b} days?",
            "{n} fills {b} jars with {a} {t} each. How many {t} are in the jars?", "{n} needs {a} {t} for one cake and wants to bake {b} cakes. How many {t} are needed?"]
HAVE = ["{n} has {a} {t}.", "{n} owns {a} {t}.", "There are {a} {t} in the {p}.", "{n} bought {a} {t}.", "{n} starts with {a} {t}.", "{n} keeps {a} {t} in the {p}.", "At first {n} has {a} {t}.", "{n} counts {a} {t}.",
        "In the {p} there are {a} {t}.", "{n} holds {a} {t}."]
GAIN = ["{m} gives {n} {b} more.", "Then {n} finds {b} more.", "{n} buys {b} more.", "{b} more {t} come in.", "{m} brings {b} more {t}.", "Later {b} {t} are added.", "{n} gets {b} from {m}.", "{m} adds {b} {t}.", "Another {b} {t} arrive.", "{n} wins {b} {t}.",
        "{m} has {b} {t} too. They put them together.", "{n} makes {b} new ones."]
LOSE = ["{n} gives {b} to {m}.", "{n} loses {b}.", "{b} {t} are sold.", "{m} takes {b} away.", "{n} eats {b}.", "Then {b} {t} break.", "{n} uses {b} of them.", "{b} are given to {m}.", "{m} steals {b} {t}.", "{n} throws {b} away.",
        "{n} sends {b} {t} to {m}.", "{b} of them get lost."]
NOW = ["How many {t} are there now?", "How many {t} does {n} have now?", "How many {t} is that?", "How many does {n} have?", "What is the number of {t} now?", "How many {t} are there in the end?", "Count the {t}.", "How many {t} remain with {n}?",
       "So how many {t} are there?", "What number of {t} is there?"]
LEAD = ["", "", "", "", "", "Hi. ", "A sum for you. ", "Please help me: ", "Math question. ", "Can you solve this one? "]

BARE = {"+": Pats(ADD, *W.ADD), "-": Pats(SUB, *W.SUB), "*": Pats(MUL, *W.MUL)}
HAVES, EACH, NOWS = Pats(HAVE, *W.HAVE), Pats([], *W.EACH), Pats(NOW, *W.NOW_Q)
CHANGE = {"+": Pats(GAIN, *W.GAIN), "-": Pats(LOSE, *W.LOSE)}
LEADS = Pats([x for x in LEAD if x], W.SUM_OPEN)


def steps_add(a, b):
    ao, at, bo, bt = a % 10, a // 10, b % 10, b // 10
    o = ao + bo
    if at == 0 and bt == 0:
        return f"{a} + {b} = {o}."
    c = o // 10
    s = f"{a} + {b}: {ao} + {bo} = {o}" + (", carry 1; " if c else "; ")
    return s + f"{at} + {bt}" + (" + 1" if c else "") + f" = {at + bt + c}."


def steps_sub(a, b):
    ao, at, bo, bt = a % 10, a // 10, b % 10, b // 10
    if at == 0 and bt == 0:
        return f"{a} - {b} = {a - b}."
    w = ao < bo
    s = f"{a} - {b}: {ao + 10 * w} - {bo} = {ao + 10 * w - bo}" + (", borrow 1; " if w else "; ")
    return s + f"{at} - {bt}" + (" - 1" if w else "") + f" = {at - bt - w}."


def steps_mul(a, b):
    if a < 10 or b >= 10:
        return f"{a} * {b} = {a * b}."
    o, t = a % 10 * b, a // 10 * b
    return f"{a} * {b}: {a // 10 * 10} * {b} = {t * 10}, {a % 10} * {b} = {o}; {t * 10} + {o} = {a * b}."


def operands(r, op):
    """A pair of the split: test pairs never occur in training (pairs of digits in both)."""
    while True:
        if op == "*":
            a, b = (r.int(2, 9), r.int(2, 9)) if r.p(0.4) else (r.int(10, 30 if r.test else 49), r.int(2, 9 if not r.test else 5))
        else:
            a, b = (r.int(10, 99), r.int(10, 99)) if r.p(0.75) else (r.int(2, 99), r.int(2, 20))
            if op == "-" and b > a:
                a, b = b, a
        if r.test and a < 10:
            continue
        if a < 10 and b < 10 or L.held(f"{a}{op}{b}") == r.test:
            return a, b


def solve(a, op, b):
    w = {"+": steps_add, "-": steps_sub, "*": steps_mul}[op](a, b)
    v = {"+": a + b, "-": a - b, "*": a * b}[op]
    return f"{w} The answer is {v}.", v


def plain(r):
    op = r.any(["+", "+", "-", "-", "*"])
    a, b = operands(r, op)
    q = fill(r.pat(BARE[op]), a=a, b=b)
    ans, v = solve(a, op, b)
    return q, ans, v


def word(r):
    op = r.any(["+", "+", "-", "-", "*"])
    a, b = operands(r, op)
    n, m = r.names(2)
    q = r.any({"+": WORD_ADD, "-": WORD_SUB, "*": WORD_MUL}[op])
    if r.test or r.p(0.7):
        q = " ".join((r.pat(EACH), r.pat(NOWS)) if op == "*" else (r.pat(HAVES), r.pat(CHANGE[op]), r.pat(NOWS)))
    q = cap(fill(q, a=a, b=b, n=n, m=m, t=r.word("THINGS"), d=r.any(L.DAYS), p=r.word("PLACES")))
    ans, v = solve(a, op, b)
    return q, ans, v


def make(r):
    q, ans, v = (plain if r.p(0.5) else word)(r)
    ms = system(r) if r.p(0.5) else []
    if not r.test:
        for _ in range(r.any([0, 0, 1, 2, 3])):
            q2, a2, _ = (plain if r.p(0.6) else word)(r)
            ms += [user(r.lead(LEADS) + q2), bot(a2)]
    return item("arithmetic", ms + [user(r.lead(LEADS) + q)], ans, {"type": "last-number", "expected": v})
