"""Memory: facts told in earlier turns, asked for later."""
from . import arithmetic, smalltalk
from .common import an, bot, cap, fill, item, user
from . import lexicon as L
from . import wording2 as W
from .grammar import Pats

# attribute: (value maker, statements, questions, answer); {o} is "my" or "my sister's"
ATTRS = {
    "name": (lambda r: r.name(), ["My name is {v}.", "I am called {v}.", "Call me {v}.", "I'm {v}.", "The name is {v}.", "Hi, I am {v}.", "Everybody calls me {v}.", "I go by {v}.",
                                  "Hello, my name is {v}.", "You may write down {v} as my name."],
             ["What is my name?", "Who am I?", "Do you remember my name?", "What am I called?", "Can you recall what I am called?", "Tell me my name.", "Say my name.", "How am I called?",
              "What was my name?", "Which name did I give you?"], "Your name is {v}."),
    "city": (lambda r: r.city(), ["I live in {v}.", "I am from {v}.", "My home is in {v}.", "I moved to {v}.", "These days {v} is where I live.", "I come from {v}.", "I grew up in {v}.",
                                  "I have a flat in {v}.", "My city is {v}.", "I reside in {v}."],
             ["Where do I live?", "Which city am I from?", "What is my city?", "In which city do I live?", "What city did I say I live in?", "Where am I from?", "Tell me where I live.",
              "Do you know where I live?", "Where is my home?", "Which city is mine?"], "You live in {v}."),
    "job": (lambda r: r.word("JOBS"), ["I am a {v}.", "I work as a {v}.", "My job is {v}.", "I earn my living as a {v}.", "By trade I am a {v}."],
            ["What is my job?", "What do I work as?", "What do I do for work?", "Which job do I have?", "How do I earn my living?"], "You are a {v}."),
    "age": (lambda r: r.num(10, 90), ["I am {v} years old.", "I'm {v}.", "My age is {v}.", "I turned {v} this year.", "I have lived for {v} years."],
            ["How old am I?", "What is my age?", "Do you know how old I am?", "Tell me my age.", "How many years old am I?"], "You are {v} years old."),
    "likes": (lambda r: r.word("HOBBIES"), ["I love {v}.", "My hobby is {v}.", "I enjoy {v}.", "In my free time I do {v}.", "What I like to do is {v}."],
              ["What is my hobby?", "What do I love?", "What do I enjoy?", "What do I do in my free time?", "Which hobby do I have?"], "Your hobby is {v}."),
}
OWNED = {
    "pet": (lambda r: r.name(), L.ANIMALS, ["My {k} is called {v}.", "My {k}'s name is {v}.", "I have a {k} named {v}.", "I have a {k} called {v}.", "{v} is the name of my {k}.",
                                            "I own a {k}. Its name is {v}.", "There is a {k} at home, and we call it {v}.", "We named our {k} {v}.", "I got a {k} and named it {v}.", "At home I have {v}, my {k}."],
            ["What is my {k} called?", "What is the name of my {k}?", "What is my {k}'s name?", "How is my {k} called?", "Which name does my {k} have?", "What did I name my {k}?",
             "Do you remember the name of my {k}?", "Tell me my {k}'s name.", "What do we call my {k}?", "My {k} has what name?"], "Your {k} is called {v}."),
    "kin": (lambda r: r.name(), L.RELATIONS, ["My {k} is called {v}.", "My {k}'s name is {v}.", "I have a {k} named {v}.", "{v} is my {k}.", "The name of my {k} is {v}.", "My {k} {v} is here.",
                                              "I came with {v}, my {k}.", "My {k} goes by {v}.", "I met my {k} {v} today.", "Meet {v}, who is my {k}."],
            ["What is my {k} called?", "What is the name of my {k}?", "What is my {k}'s name?", "How is my {k} called?", "Who is my {k}?", "Tell me the name of my {k}.",
             "Do you remember my {k}'s name?", "Which name does my {k} have?", "My {k} is called what?", "By which name did I call my {k}?"], "Your {k} is called {v}."),
    "fav": (None, ["color", "food", "drink", "animal", "city", "number", "day", "month", "subject", "hobby"],
            ["My favorite {k} is {v}.", "The {k} I like best is {v}.", "I like {v} more than any other {k}.", "Of every {k}, {v} is my favorite.", "If I had to pick one {k}, I would take {v}.",
             "{v} is my favorite {k}.", "For me the best {k} is {v}.", "My best-loved {k} is {v}.", "When it comes to {k}, I choose {v}.", "No {k} is as good as {v} to me."],
            ["What is my favorite {k}?", "Which {k} do I like best?", "What {k} do I like best?", "Which {k} is my favorite?", "What {k} would I choose?", "Tell me my favorite {k}.",
             "Do you remember my favorite {k}?", "What was my favorite {k}?", "Which {k} did I say I like?", "What {k} did I call the best?"], "Your favorite {k} is {v}."),
    "code": (lambda r: r.num(100, 9999), ["door code", "locker code", "PIN", "room number", "ticket number", "order number", "seat number", "bus number", "house number", "phone code", "gate number",
                                          "safe code", "badge number", "table number", "flight number"],
             ["My {k} is {v}.", "The {k} is {v}.", "Remember my {k}: {v}.", "Please note that the {k} is {v}.", "Keep in mind that {v} is my {k}.", "{v} is my {k}.", "I got {v} as my {k}.",
              "They gave me the {k} {v}.", "Write this down: my {k} is {v}.", "As {k} I was given {v}."],
             ["What is my {k}?", "What was the {k}?", "Tell me my {k}.", "Which {k} do I have?", "What {k} did they give me?", "Do you remember my {k}?", "What is the {k}?", "Give me my {k}.",
              "I forgot my {k}. What is it?", "Which number was my {k}?"], "Your {k} is {v}."),
    "when": (None, ["meeting", "exam", "flight", "party", "lesson", "dinner", "appointment", "train", "concert", "interview", "birthday", "game", "trip", "class", "wedding"],
             ["My {k} is on {v}.", "I have my {k} on {v}.", "The {k} is on {v}.", "On {v} I have a {k}.", "They moved my {k} to {v}.", "I planned my {k} for {v}.", "Remember that my {k} is on {v}.",
              "My {k} will be on {v}.", "I have a {k} on {v}.", "The date of my {k} is {v}."],
             ["When is my {k}?", "On which day is my {k}?", "When do I have my {k}?", "What day is my {k}?", "For when did I plan my {k}?", "When was my {k} again?", "Tell me when my {k} is.",
              "On what day is my {k}?", "Do you know when my {k} is?", "What is the date of my {k}?"], "Your {k} is on {v}."),
    "place": (None, ["key", "book", "bike", "phone", "bag", "wallet", "umbrella", "car", "coat", "passport", "camera", "ticket", "laptop", "glasses case", "hat"],
              ["My {k} is in the {v}.", "I put my {k} in the {v}.", "I left my {k} in the {v}.", "I keep my {k} in the {v}.", "The {v} is where I put my {k}.", "The {k} is in the {v}.",
               "I hid my {k} in the {v}.", "I forgot my {k} in the {v}.", "You should know that my {k} is in the {v}.", "There in the {v} lies my {k}."],
              ["Where is my {k}?", "Where did I put my {k}?", "Where did I leave my {k}?", "In which place is my {k}?", "Where should I look for my {k}?", "Where can I find my {k}?",
               "Tell me where my {k} is.", "Do you know where my {k} is?", "Where do I keep my {k}?", "I need my {k}. Where is it?"], "Your {k} is in the {v}."),
    "bought": (lambda r: r.num(2, 60), None,
               ["I bought {v} {k}.", "I have {v} {k}.", "I need {v} {k}.", "I got {v} {k} today.", "In my bag are {v} {k}.", "I own {v} {k}.", "I counted {v} {k}.", "I found {v} {k}.",
                "I brought {v} {k} home.", "There are {v} {k} on my desk."],
               ["How many {k} do I have?", "How many {k} did I buy?", "How many {k} are mine?", "Tell me how many {k} I have.", "What number of {k} did I mention?", "How many {k} did I say?",
                "How many {k} did I tell you about?", "Do you know how many {k} I have?", "How many {k} have I got?", "My {k} are how many?"], "You have {v} {k}."),
}
ACKS = ["OK, I will remember that.", "Got it.", "Noted.", "Thank you, I will keep that in mind.", "All right."]
LEAD = ["", "", "", "", "", "Please remember this. ", "Note: ", "Just so you know: ", "By the way, ", "Keep this in mind. ", "I want to tell you something. ", "So, ", "For later: ", "Remember: ", "Here is one more thing. "]
BEFORE = ["", "", "", "", "", "Now tell me. ", "Question: ", "Let us see. ", "OK. ", "Time for a test. ", "Hm. ", "And now: ", "Please answer. ", "I wonder. ", "Back to what I said. "]
for _k, (_s, _q) in W.ATTRS.items():
    ATTRS[_k] = ATTRS[_k][0], Pats(ATTRS[_k][1], *_s), Pats(ATTRS[_k][2], *_q), ATTRS[_k][3]
for _k, (_s, _q) in W.OWNED.items():
    OWNED[_k] = *OWNED[_k][:2], Pats(OWNED[_k][2], *_s), Pats(OWNED[_k][3], *_q), OWNED[_k][4]
LEADS, BEFORES = Pats([x for x in LEAD if x], W.LEAD), Pats([x for x in BEFORE if x], W.BEFORE)
UNKNOWN = "I don't know. You did not tell me."


def fav(r, k):
    return {"color": lambda: r.word("COLORS"), "food": lambda: r.word("FOODS"), "drink": lambda: r.word("DRINKS"), "animal": lambda: r.word("ANIMALS"), "city": r.city,
            "number": lambda: r.num(2, 99), "day": lambda: r.any(L.DAYS), "month": lambda: r.any(L.MONTHS), "subject": lambda: r.word("SUBJECTS"),
            "hobby": lambda: r.word("HOBBIES")}[k]()


def fact(r, kind=None):
    """(key, statement, question, answer, value)."""
    kind = kind or r.any(list(ATTRS) * 1 + list(OWNED) * 2)
    if kind in ATTRS:
        mk, st, qs, ans = ATTRS[kind]
        v, k = mk(r), ""
    else:
        mk, keys, st, qs, ans = OWNED[kind]
        k = r.any(keys) if keys else r.word("THINGS")
        v = fav(r, k) if kind == "fav" else mk(r) if mk else r.word("PLACES") if kind == "place" else (r.any(L.DAYS) if r.p(0.5) else r.date())
    f = lambda s: cap(fill(s, v=v, k=k).replace(" a a", " an a").replace(" a e", " an e").replace(" a o", " an o").replace(" a i", " an i"))
    if kind == "job":
        ans = f"You are {an(v)}."
    return (kind, k), f(r.pat(st)), f(r.pat(qs)), f(ans), str(v)


def distract(r):
    if r.p(0.6):
        q, a, _ = smalltalk.turn(r)
        if "Hello, " in a:
            return distract(r)
        return q, a
    q, a, _ = arithmetic.plain(r)
    return q, a


def make(r):
    while True:
        n = r.any([1, 1, 2, 2, 3, 3, 4, 5, 6] if not r.test else [1, 2, 2, 3, 3, 4])
        facts, seen = [], set()
        while len(facts) < n:
            f = fact(r)
            if f[0] in seen or any(f[4] == g[4] for g in facts):
                continue
            if f[0][0] in ("pet", "kin") and any(g[0][1] == f[0][1] for g in facts):
                continue
            seen.add(f[0])
            facts.append(f)
        ms = smalltalk.system(r)
        i = 0
        while i < n:
            if ms and ms[-1]["role"] == "assistant" and r.p(0.2):
                q, a = distract(r)
                ms += [user(q), bot(a)]
            k = min(n - i, r.any([1, 1, 1, 2, 3]))
            text = r.lead(LEADS) + " ".join(f[1] for f in facts[i:i + k])
            name = [f[4] for f in facts[i:i + k] if f[0] == ("name", "")]
            ms += [user(text), bot(f"Nice to meet you, {name[0]}!" if name else r.any(ACKS))]
            i += k
        for _ in range(r.any([0, 0, 1, 1, 2, 3] if not r.test else [0, 1, 1, 2])):
            q, a = distract(r)
            ms += [user(q), bot(a)]
        order = r.shuffle(facts)
        asked = order[:1] if r.test else order[:r.int(1, min(n, 4))]
        for j, f in enumerate(asked):
            ms.append(user(r.lead(BEFORES) + f[2]))
            if j < len(asked) - 1:
                ms.append(bot(f[3]))
        if not r.test and r.p(0.12):
            g = fact(r)
            if g[0] not in seen and not any(x[0][1] == g[0][1] and g[0][1] for x in facts):
                ms += [bot(asked[-1][3]), user(r.lead(BEFORES) + g[2])]
                return item("memory", ms, UNKNOWN, {"type": "contains", "expected": "don't know"})
        a, v = asked[-1][3], asked[-1][4]
        return item("memory", ms, a, {"type": "contains", "expected": v, "not": [f[4] for f in facts if f[4] != v and f[4] not in v and v not in f[4]]})
