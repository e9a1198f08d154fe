"""A small world: facts as sentences, with the questions they answer.

Each kind gives (statements, questions as (pattern, slot)); slots are drawn by `SLOTS`.
`{a}` is the subject. A question about slot s is answered with the value of s.
"""
from . import lexicon as L
from .common import an, cap, fill
from .grammar import Pats
from .wording import FACTS

SLOTS = {
    "place": lambda r: r.word("PLACES"),
    "city": lambda r: r.city(),
    "obj": lambda r: r.obj(),
    "job": lambda r: r.word("JOBS"),
    "color": lambda r: r.word("COLORS"),
    "thing": lambda r: r.word("THINGS"),
    "n": lambda r: r.num(2, 99),
    "age": lambda r: r.num(5, 95),
    "price": lambda r: r.num(2, 99),
    "year": lambda r: r.num(1850, 2024),
    "b": lambda r: r.name(),
    "pet": lambda r: r.word("ANIMALS"),
    "petname": lambda r: r.name(),
    "food": lambda r: r.word("FOODS"),
    "drink": lambda r: r.word("DRINKS"),
    "hobby": lambda r: r.word("HOBBIES"),
    "day": lambda r: r.any(L.DAYS),
    "month": lambda r: r.any(L.MONTHS),
    "time": lambda r: r.time(),
    "subject": lambda r: r.word("SUBJECTS"),
}

KINDS = {
    "at": (["{a} is in the {place}.", "{a} went to the {place}.", "{a} walked to the {place}.", "{a} is waiting in the {place}.", "{a} ran into the {place}.",
            "{a} moved to the {place}.", "You can find {a} in the {place}.", "{a} travelled to the {place}.", "After lunch {a} went back to the {place}.", "{a} has just arrived at the {place}.",
            "{a} stays in the {place}.", "{a} is now at the {place}.", "In the {place} sits {a}.", "{a} hurried to the {place}.", "Right now {a} can be seen in the {place}."],
           [(["Where is {a}?", "Where did {a} go?", "In which place is {a}?", "Where can I find {a}?", "Where might {a} be?", "Tell me where {a} is.", "What place is {a} in?",
              "Where is {a} now?", "Do you know where {a} is?", "At what place can one find {a}?"], "place"),
            (["Who is in the {place}?", "Who went to the {place}?", "Who is at the {place}?", "Which person is in the {place}?", "Who can be found in the {place}?"], "a")]),
    "has": (["{a} has a {obj}.", "{a} bought a {obj}.", "{a} found a {obj}.", "{a} is holding a {obj}.", "{a} owns a {obj}.", "{a} took the {obj}.", "{a} carries a {obj}.",
             "The {obj} belongs to {a}.", "{a} picked up the {obj}.", "In one hand {a} holds a {obj}.", "{a} got a {obj}.", "{a} keeps a {obj}.", "The owner of the {obj} is {a}.",
             "{a} packed the {obj}.", "There is a {obj} which {a} owns."],
            [(["What does {a} have?", "What did {a} take?", "What thing does {a} have?", "Which object does {a} have?", "What is the thing that {a} has?", "What has {a} got?",
               "Tell me what {a} has.", "What does {a} own?", "What is {a} holding?", "Which thing belongs to {a}?"], "obj"),
             (["Who has the {obj}?", "Who owns the {obj}?", "Who took the {obj}?", "Whose is the {obj}?", "Which person has the {obj}?", "To whom does the {obj} belong?",
               "Tell me who has the {obj}.", "Who got the {obj}?", "Who is the owner of the {obj}?", "The {obj} is in whose hands?"], "a")]),
    "job": (["{a} is a {job}.", "{a} works as a {job}.", "{a} became a {job}.", "For many years {a} was a {job}.", "{a} earns a living as a {job}.", "{a} has the job of a {job}.",
             "As a {job}, {a} is very busy.", "{a} has always been a {job}.", "{a} likes the work of a {job}.", "By trade {a} is a {job}."],
            [(["What is the job of {a}?", "What does {a} do for work?", "What does {a} work as?", "What is {a}'s job?", "How does {a} earn a living?", "Which job does {a} have?",
               "What work does {a} do?", "Tell me the job of {a}.", "What kind of work does {a} do?", "As what is {a} employed?"], "job"),
             (["Who is the {job}?", "Who works as a {job}?", "Which person is a {job}?", "Who is a {job}?", "What is the name of the {job}?"], "a")]),
    "color": (["The {obj} of {a} is {color}.", "{a} painted the {obj} {color}.", "{a} has a {color} {obj}.", "{a}'s {obj} is {color}.", "{a} likes the {obj} because it is {color}.",
               "{a} bought a {color} {obj}.", "The {obj} that belongs to {a} is {color}.", "{a} chose {color} for the {obj}.", "Look, {a} has a {obj} and it is {color}.", "The color {color} was picked for the {obj} by {a}."],
              [(["What color is the {obj}?", "What is the color of the {obj}?", "Which color does the {obj} have?", "What color does {a}'s {obj} have?", "In which color is the {obj}?",
                 "What color is {a}'s {obj}?", "Tell me the color of the {obj}.", "Which color is the {obj} of {a}?", "What color did {a} get?", "The {obj} is of what color?"], "color")]),
    "count": (["{a} has {n} {thing}.", "{a} bought {n} {thing}.", "There are {n} {thing} in the box of {a}.", "{a} found {n} {thing}.", "{a} collected {n} {thing} this week.",
               "{a} counted {n} {thing}.", "{a} brought {n} {thing}.", "On the table of {a} there are {n} {thing}.", "{a} owns {n} {thing}.", "In the bag of {a} you would find {n} {thing}."],
              [(["How many {thing} does {a} have?", "How many {thing} did {a} get?", "How many {thing} are there?", "What is the number of {thing}?", "Do you know how many {thing} {a} has?",
                 "How many {thing} are with {a}?", "Tell me how many {thing} {a} has.", "How many {thing} has {a} got?", "{a} has how many {thing}?", "What number of {thing} does {a} have?"], "n"),
               (["Who has {n} {thing}?", "Who has the {thing}?", "Who owns the {thing}?", "Which person has {n} {thing}?", "Whose are the {thing}?"], "a")]),
    "age": (["{a} is {age} years old.", "{a} turned {age} last week.", "{a} is {age}.", "At the age of {age}, {a} is still curious.", "{a} will soon be more than {age} years of age.",
             "{a} just turned {age}.", "The age of {a} is {age}.", "{a} has reached the age of {age}.", "Everyone knows that {a} is {age} years old.", "{a} celebrated with {age} candles on the cake."],
            [(["How old is {a}?", "What is the age of {a}?", "What is {a}'s age?", "Tell me how old {a} is.", "Do you know the age of {a}?", "How many years old is {a}?",
               "Which age does {a} have?", "Can you say how old {a} is?", "{a} is how old?", "What age has {a} reached?"], "age")]),
    "price": (["The {obj} costs {price} dollars.", "The price of the {obj} is {price} dollars.", "The {obj} was sold for {price} dollars.", "For the {obj} {a} paid {price} dollars.",
               "{a} spent {price} dollars on the {obj}.", "{a} got the {obj} for {price} dollars.", "{a} paid {price} dollars for the {obj}.", "The {obj} is {price} dollars.",
               "They ask {price} dollars for the {obj}.", "To buy the {obj} one needs {price} dollars."],
              [(["How much is the {obj}?", "How much does the {obj} cost?", "What is the price of the {obj}?", "What does the {obj} cost?", "How many dollars is the {obj}?",
                 "How much was paid for the {obj}?", "Tell me the price of the {obj}.", "What did the {obj} cost?", "How many dollars does the {obj} cost?", "At what price was the {obj} sold?"], "price")]),
    "lives": (["{a} lives in {city}.", "{a} moved to {city}.", "The home of {a} is in {city}.", "{a} has a house in {city}.", "{a} settled down in {city} long ago.",
               "{a} was born in {city}.", "{a} comes from {city}.", "{a} grew up in {city}.", "{a} rents a flat in {city}.", "The family of {a} has its home in {city}."],
              [(["Where does {a} live?", "In which city does {a} live?", "Which city does {a} live in?", "What city is {a} from?", "In what city is the home of {a}?",
                 "Where is {a} from?", "Where is the home of {a}?", "What is the city of {a}?", "Tell me where {a} lives.", "Which city is home to {a}?"], "city"),
               (["Who lives in {city}?", "Who is from {city}?", "Who comes from {city}?", "Which person lives in {city}?", "Who has a home in {city}?"], "a")]),
    "pet": (["{a} has a {pet} named {petname}.", "{a} has a {pet} called {petname}.", "The {pet} of {a} is called {petname}.", "{petname} is the {pet} of {a}.", "{a} calls the {pet} {petname}.",
             "{a} loves a {pet} whose name is {petname}.", "{a} takes care of a {pet} named {petname}.", "{a} feeds a {pet}, and its name is {petname}.", "{a} owns a {pet} by the name of {petname}.", "{a} lives with a {pet} and named it {petname}."],
            [(["What is the name of {a}'s {pet}?", "What is the {pet} called?", "What is {a}'s {pet} called?", "What is the name of the {pet}?", "How is the {pet} of {a} called?",
               "What name does the {pet} have?", "Tell me the name of the {pet}.", "How did {a} name the {pet}?", "Which name has the {pet}?", "By what name does {a} call the {pet}?"], "petname"),
             (["What animal does {a} have?", "What kind of animal is {petname}?", "Which animal does {a} have?", "Which pet does {a} have?", "What pet lives with {a}?"], "pet")]),
    "food": (["{a} likes {food}.", "{a} loves to eat {food}.", "{a} eats {food} every day.", "The favorite food of {a} is {food}.", "{a} ordered {food} for dinner.",
              "For lunch {a} had {food}.", "{a} cooked {food}.", "{a} always asks for {food}.", "{a} made {food} for the guests.", "Nothing tastes better to {a} than {food}."],
             [(["What does {a} like to eat?", "What did {a} eat?", "What food does {a} like?", "Which food does {a} like?", "Which dish does {a} enjoy?", "What is the favorite food of {a}?",
                "What does {a} eat?", "What food did {a} have?", "Tell me what {a} eats.", "What is the food that {a} likes?"], "food"),
              (["Who likes {food}?", "Who eats {food}?", "Who had {food}?", "Which person likes {food}?", "Who enjoys {food}?"], "a")]),
    "drink": (["{a} drinks {drink}.", "{a} likes {drink} best.", "{a} ordered {drink}.", "In the morning {a} drinks {drink}.", "{a} never says no to {drink}."],
              [(["What does {a} drink?", "What did {a} drink?", "What drink does {a} like?", "Which drink does {a} like?", "What does {a} like to drink?"], "drink")]),
    "hobby": (["{a} enjoys {hobby}.", "{a} loves {hobby}.", "The hobby of {a} is {hobby}.", "{a} spends the weekend with {hobby}.", "In the free time {a} does some {hobby}.",
               "{a} is very good at {hobby}.", "{a} is fond of {hobby}.", "After work {a} goes for {hobby}.", "{a} learned {hobby} as a child.", "What {a} likes most is {hobby}."],
              [(["What is the hobby of {a}?", "What does {a} enjoy?", "What does {a} like to do?", "What is {a}'s hobby?", "How does {a} spend free time?", "Which hobby does {a} have?",
                 "What is {a} good at?", "What does {a} love to do?", "Tell me the hobby of {a}.", "What hobby has {a} taken up?"], "hobby")]),
    "when": (["{a} leaves on {day}.", "{a} will arrive on {day}.", "{a} has a meeting on {day}.", "On {day} {a} goes to the market.", "{a} plans the trip for {day}.",
              "{a} has the exam on {day}.", "{a} is coming back on {day}.", "The party of {a} is on {day}.", "{a} visits the doctor on {day}.", "It is {day} when {a} sets off."],
             [(["When does {a} leave?", "On which day is it for {a}?", "When will {a} arrive?", "On what day does {a} go?", "Which day did {a} choose?", "What day is it for {a}?",
                "On which day does {a} go?", "When is the day of {a}?", "When does {a} go?", "What day suits {a}?"], "day")]),
    "time": (["{a} gets up at {time}.", "{a} comes at {time}.", "{a} opens the shop at {time}.", "The train of {a} leaves at {time}.", "At {time} {a} has a lesson.",
              "{a} starts work at {time}.", "{a} goes to bed at {time}.", "The bus of {a} comes at {time}.", "{a} has dinner at {time}.", "It is {time} when {a} begins the day."],
             [(["At what time does {a} start?", "What time is it for {a}?", "At which time is it for {a}?", "At what hour does {a} come?", "Which time is right for {a}?"], "time")]),
    "year": (["{a} was born in {year}.", "{a} founded the club in {year}.", "{a} wrote the book in {year}.", "In {year} {a} won a prize.", "It was {year} when {a} came to the town.",
              "{a} built the house in {year}.", "{a} opened the shop in {year}.", "In the year {year} {a} moved away.", "{a} left the town in {year}.", "{a} finished school in {year}."],
             [(["In which year was it for {a}?", "What year is told for {a}?", "In what year did {a} do this?", "Which year belongs to {a}?", "What is the year of {a}?"], "year")]),
    "gave": (["{a} gave the {obj} to {b}.", "{a} sent a {obj} to {b}.", "{b} got a {obj} from {a}.", "{a} handed the {obj} to {b}.", "The {obj} was passed from {a} to {b}.",
              "{a} sold the {obj} to {b}.", "{a} showed the {obj} to {b}.", "{b} received the {obj} from {a}.", "{a} lent a {obj} to {b}.", "From {a} came the {obj} for {b}."],
             [(["Who gave the {obj} to {b}?", "From whom did {b} get the {obj}?", "Who gave {b} the {obj}?", "Who did {b} get the {obj} from?", "Who let {b} have the {obj}?"], "a"),
              (["Who got the {obj}?", "Who received the {obj}?", "To whom did {a} give the {obj}?", "Who got the {obj} from {a}?", "Who was the {obj} for?"], "b"),
              (["What did {a} give to {b}?", "What did {b} get?", "What did {a} give {b}?", "What did {b} get from {a}?", "What thing went from {a} to {b}?"], "obj")]),
    "study": (["{a} studies {subject}.", "{a} teaches {subject}.", "{a} reads books about {subject}.", "{a} has a lesson in {subject}.", "The best marks of {a} are in {subject}."],
              [(["What does {a} study?", "What subject does {a} like?", "Which subject does {a} have?", "What is the subject of {a}?", "Which field is {a} into?"], "subject")]),
}
for _k, (_s, _g) in FACTS.items():
    _old = KINDS[_k]
    KINDS[_k] = Pats(_old[0], *_s), [(Pats(q, *g), slot) for (q, slot), g in zip(_old[1], _g, strict=True)]
KINDLIST = list(KINDS)
NEED = {k: [x for x in SLOTS if any("{" + x + "}" in p for ps in (st, *(q for q, _ in qs)) for p in ps)] for k, (st, qs) in KINDS.items()}


def make_fact(r, a, kind=None, used=()):
    """(kind, values, sentence) about subject a; values avoid `used`."""
    kind = kind or r.any(KINDLIST)
    stmts, qs = KINDS[kind]
    s = r.pat(stmts)
    v = {"a": a}
    for k in NEED[kind]:
        for _ in range(20):
            v[k] = SLOTS[k](r)
            if v[k] not in used and v[k] != a:
                break
    s = fill(s, **v)
    for x in "aeiou":
        s = s.replace(" a " + x, " an " + x)
    return kind, v, cap(s)


def ask(r, kind, v, slot=None):
    """(question, answer value, slot) for a fact."""
    groups = KINDS[kind][1]
    g = r.any(groups) if slot is None else next(x for x in groups if x[1] == slot)
    return fill(r.pat(g[0]), **v), str(v[g[1]]), g[1]


def reply(slot, val):
    """The short answer for a slot's value; a word never starts it, so that its tokens are those of the passage."""
    if slot in ("n", "age"):
        return f"{val}."
    if slot == "place":
        return f"In the {val}."
    if slot in ("city", "month"):
        return f"In {val}."
    if slot == "obj":
        return f"The {val}."
    if slot in ("job", "pet"):
        return f"It is {an(val)}."
    if slot == "day":
        return f"On {val}."
    if slot == "time":
        return f"At {val}."
    if slot == "price":
        return f"{val} dollars."
    if slot == "year":
        return f"In {val}."
    return f"It is {val}."
