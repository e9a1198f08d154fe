"""Reading: answer from a passage, or say that the passage does not tell."""
from .common import bot, cap, fill, item, user
from .facts import KINDLIST, KINDS, ask, make_fact, reply
from .grammar import Pats
from .smalltalk import system

UNKNOWN = "I don't know. The text does not say."
FORMS = ["{p}\n\n{q}", "Text: {p}\n\nQuestion: {q}", "Read this text and answer the question.\n\n{p}\n\n{q}", "{q}\n\n{p}", "Here is a passage.\n{p}\nNow tell me: {q}",
         "Passage: {p}\nQuestion: {q}", "Answer from the text.\n{p}\n{q}", "{p} {q}", "Use only this text: {p}\n\n{q}", "I read this today: {p} So, {q}",
         "Question: {q}\nText: {p}", "Look at the following story.\n\n{p}\n\nMy question is: {q}", "Context:\n{p}\n\nQ: {q}", "Please read:\n{p}\n\nThen answer: {q}", "My question about the text below: {q}\n\n{p}",
         "\"{p}\"\n\n{q}", "{p}\n---\n{q}", "Based on this text, {q}\n\n{p}", "A short text:\n{p}\n\nAccording to it, {q}", "The notes say this. {p}\nGoing by those notes: {q}",
         "Document:\n{p}\n\n{q}", "<text>{p}</text>\n{q}", "Given: {p}\nAsked: {q}", "Article: {p}\n\nAnswer this: {q}", "Study what is written here.\n{p}\nWhat I need to know: {q}"]
FILL_A = ["The sun was shining.", "It was a cold day.", "The birds were singing.", "Nobody knew what would happen next.", "It rained all day.", "The street was very quiet.",
          "Everyone was happy.", "The wind blew through the trees.", "It had been a long week.", "The evening came slowly.", "There was much to do.", "Time went by quickly.",
          "The people of the town were friendly.", "Snow covered the roofs.", "The day was warm and bright.", "Nothing else happened that day.", "The air smelled of flowers.",
          "It was an ordinary morning.", "A clock was ticking somewhere.", "Far away a dog barked.", "The sky was full of clouds.", "The children were playing outside.",
          "A small fire was burning.", "The road was empty.", "All the lights were on late that night.", "Soon the moon came up.", "The door was open.", "A cat slept by the window.",
          "Music came from next door.", "Leaves were lying all over the path.", "The river was calm.", "They talked for a long time.", "The news spread fast.", "It was almost noon.",
          "Some smoke rose above the houses.", "The old house was silent.", "Every seat was taken.", "The grass was green.", "The tea was still hot.", "No ship was to be seen out at sea."]
LINK = ["", "", "", "", "", "Today ", "Meanwhile ", "Also, ", "By the way, ", "As we know, ", "Later ", "Then ", "People say that ", "It is true that ", "At last ", "Of course ", "Now ",
        "We heard that ", "In fact, ", "Everyone saw how "]
FORMS = Pats(FORMS, "(Text|Passage|Story|Notes|Document|Report|Page|Letter|Entry|Chapter|Message)(: |:\n){p}(\n|\n\n| )(Question|Q|Asked|My question|Task|Query|Wanted|To answer)(: |:\n){q}",
             "(Read|See|Look at|Take|Study|Consider|Use) (this|the text|the story|these notes|this page|this report|what follows)(: |:\n|.\n){p}(\n|\n\n| )(Now|So|Then|Question:|Answer:|Next,|Well,|Please:|) {q}",
             "(Here is|This is|I have|I found|I read|You get|We got) (a text|a story|a page|some notes|a report|a letter|a message)(: |:\n|.\n){p}(\n|\n\n| )(Now|So|Then|Question:|Answer:|My question:|Well,|Please:|) {q}",
             "{q}(\n|\n\n| )(Text|Passage|Story|Notes|Document|Report|Page|Here is the text|The text is this|The story)(: |:\n){p}")
LINKS = Pats([x for x in LINK if x], "(It is said|They say|I heard|We know|We read|It is clear|Everyone knows|I think|The report says|Someone said|We were told|I learned|It seems|He said|She wrote|The paper wrote|I can tell you|I am sure) that",
             "(In the meantime|Besides|Moreover|As always|So|Surely|In truth|As you know|On that day|Back then|After a while|In other news|First|Second|Next|Finally|And|Once more|By chance|Of late|As it happens|Well|To be sure)(,|)")
_fill = {"train": [], "test": []}


def set_filler(split, sentences):
    """Sentences of real text used to lengthen passages."""
    _fill[split] = sentences


def filler(r, n):
    """About n filler sentences: a run of real text, or stock lines."""
    src = _fill[r.split]
    if src and r.p(0.7):
        i = r.int(0, max(0, len(src) - n - 1))
        return src[i:i + n]
    return [r.pat(FILL_A) for _ in range(min(n, 3))]


def passage(r, n_facts, n_fill):
    """(facts, text) with n_facts about different people and filler between."""
    names = r.names(n_facts)
    facts, used = [], set(names)
    one = r.any(KINDLIST) if r.p(0.3) else None
    for i, a in enumerate(names):
        who = a if i == 0 or r.p(0.8) else facts[-1][1]["a"]
        kind = one if one and r.p(0.6) else r.any(KINDLIST)
        if any(f[1]["a"] == who and f[0] == kind for f in facts):
            who = a
        f = make_fact(r, who, kind, used)
        used |= {x for k, x in f[1].items() if not isinstance(x, int) or x > 9}
        facts.append(f)
    parts = []
    for _, v, s in facts:
        link = r.lead(LINKS, 0.6)
        if link and (s.startswith(v["a"]) or not r.p(0.5)):
            s = link + (s if any(s.startswith(str(x)) for x in v.values()) else s[0].lower() + s[1:])
        parts.append([cap(s)])
    gaps = [r.int(0, len(parts)) for _ in range(n_fill)]
    out = []
    for i in range(len(parts) + 1):
        k = gaps.count(i)
        if k:
            out += filler(r, k)
        if i < len(parts):
            out += parts[i]
    return facts, " ".join(out)


def unambiguous(facts, f, q, val, slot):
    """No other fact could answer the question."""
    kind, v, _ = f
    for g in facts:
        if g is f:
            continue
        if g[0] == kind and (slot in ("a",) or g[1]["a"] == v["a"]):
            shared = [k for k in v if k not in ("a", slot) and g[1].get(k) == v[k]]
            if shared or g[1]["a"] == v["a"]:
                return False
        if g[1].get(slot) == v[slot] and slot != "a" and g[0] == kind and v["a"] not in q:
            return False
    if v["a"] not in q and slot != "a":
        return sum(g[0] == kind or set(g[1]) & {"obj", "thing", "pet"} & set(v) != set() and any(str(g[1].get(k)) == str(v[k]) for k in ("obj", "thing", "pet") if k in v)
                   for g in facts) == 1
    if slot == "a":
        return sum(g[0] == kind for g in facts) == 1 or any(k in v and str(v[k]) in q for k in v if k not in ("a", "b"))
    return not any(g is not f and g[1]["a"] == v["a"] and slot in g[1] for g in facts)


def sizes(r, long):
    if long:
        return r.int(3, 10), r.int(12, 42)
    x = r.rng.random()
    if x < 0.35:
        return r.int(1, 3), r.int(0, 2)
    if x < 0.75:
        return r.int(3, 6), r.int(0, 5)
    return r.int(4, 9), r.int(3, 14)


def question(r, facts):
    for _ in range(30):
        f = r.any(facts)
        q, val, slot = ask(r, f[0], f[1])
        if unambiguous(facts, f, q, val, slot):
            return q, val, slot, f
    return None


def unknown(r, facts):
    """A question of a known kind that the passage does not answer."""
    for _ in range(50):
        if r.p(0.55):
            a, kind = r.name(), (r.any(facts)[0] if r.p(0.7) else r.any(KINDLIST))
            if any(a in f[2] for f in facts):
                continue
        else:
            a, kind = r.any(facts)[1]["a"], r.any(KINDLIST)
            about = [f for f in facts if f[1]["a"] == a or f[1].get("b") == a]
            slots = {k for f in about for k in f[1]}
            if any(f[0] == kind for f in facts) or any(g[1] in slots for g in KINDS[kind][1] if g[1] != "a"):
                continue
        _, v, _ = make_fact(r, a, kind)
        groups = [g for g in KINDS[kind][1] if g[1] != "a"]
        q = fill(r.pat(r.any(groups)[0]), **v)
        if a in q:
            return q
    return None


def others(facts, val, q):
    """Values of the passage that a right answer does not contain."""
    out = {str(f[1]["a"]) for f in facts}
    return sorted(x for x in out if x != val and x not in val and val not in x)[:8]


def make(r, long=False, idk=None):
    while True:
        facts, text = passage(r, *sizes(r, long))
        want_idk = r.p(0.15) if idk is None else idk
        ms = system(r)
        form = r.pat(FORMS)
        turns, n = [], (1 if r.test or r.p(0.2) else r.int(2, 3 + len(facts) // 2))
        for _ in range(n):
            if want_idk and (idk or r.p(0.5)):
                q = unknown(r, facts)
                turns.append(q and (q, UNKNOWN, None))
            else:
                got = question(r, facts)
                turns.append(got and (got[0], reply(got[2], got[1]), got[1]))
        turns = list({t[0]: t for t in turns if t}.values())
        if not turns:
            continue
        n = len(turns)
        for i, (q, a, _) in enumerate(turns):
            ms.append(user(fill(form, p=text, q=q) if i == 0 else q))
            if i < n - 1:
                ms.append(bot(a))
        q, a, val = turns[-1]
        if val is None:
            return item("unknown", ms, a, {"type": "contains-any", "expected": ["don't know", "does not say", "not know"]})
        return item("reading", ms, a, {"type": "contains", "expected": val, "not": [UNKNOWN[:12]] + others(facts, val, q)})
