"""Tool calls: schemas in the system turn, the exact call, then the answer from its result."""
import json

from . import lexicon as L
from . import smalltalk
from . import wording2 as W
from .common import bot, cap, fill, item, user
from .grammar import Pats
from .requests import TEST_REQUESTS

VALUES = {
    "city": lambda r: r.city(), "city2": lambda r: r.city(), "name": lambda r: r.name(), "full": lambda r: r.full(), "date": lambda r: r.date(), "day": lambda r: r.any(L.DAYS),
    "time": lambda r: r.time(), "n": lambda r: r.num(2, 60), "n2": lambda r: r.num(2, 99), "obj": lambda r: r.obj(), "title": lambda r: r.title(), "food": lambda r: r.word("FOODS"),
    "drink": lambda r: r.word("DRINKS"), "place": lambda r: r.word("PLACES"), "color": lambda r: r.word("COLORS"), "things": lambda r: r.word("THINGS"), "animal": lambda r: r.word("ANIMALS"),
    "job": lambda r: r.word("JOBS"), "hobby": lambda r: r.word("HOBBIES"), "id": lambda r: r.num(100, 9999), "subject": lambda r: r.word("SUBJECTS"), "month": lambda r: r.any(L.MONTHS),
    "message": lambda r: r.any(["I am late", "see you soon", "call me back", "the meeting is over", "dinner is ready", "I am at the " + r.word("PLACES"), "bring the " + r.word("OBJECTS"),
                                "thank you for the " + r.word("OBJECTS"), " ".join(r.word("OBJECTS") for _ in range(3)), "the " + r.word("THINGS") + " are in the " + r.word("PLACES"), "happy birthday", "I found the " + r.word("OBJECTS")]),
    "lang": lambda r: r.any(["French", "German", "Spanish", "Italian", "Polish", "Greek", "Dutch", "Swedish", "Turkish", "Korean"]),
    "room": lambda r: r.any(["kitchen", "bedroom", "hallway", "bathroom", "living room", "office", "garage", "cellar"]),
    "sky": lambda r: r.any(["sunny", "cloudy", "rainy", "windy", "clear", "snowy", "foggy", "stormy"]), "state": lambda r: r.any(["done", "ready", "open", "closed", "sent", "booked", "saved", "waiting"]),
    "yes": lambda r: r.any(["yes", "no"]), "cur": lambda r: r.any(["dollars", "euros", "pounds", "yen", "francs", "crowns"]), "cur2": lambda r: r.any(["dollars", "euros", "pounds", "yen", "francs", "crowns"]),
}
INTS = {"n", "n2", "id"}
# name | description | param=slot,... | requests ; ... | result key=slot,...
DOMAINS = """
get_weather|Get the weather in a city.|city=city|What is the weather in {city}?;How is the weather in {city} now?;Tell me the weather in {city}.;I need the weather for {city}.;Is the weather good in {city}?|temperature=n,sky=sky
get_forecast|Get the weather forecast of a city for a day.|city=city,day=day|What is the forecast for {city} on {day}?;Give me the forecast for {day} in {city}.;How will it be in {city} on {day}? I need the forecast.;Show the {day} forecast for {city}.;I want the forecast of {city} for {day}.|temperature=n,sky=sky
get_time|Get the current time in a city.|city=city|What time is it in {city}?;Tell me the time in {city}.;What is the time in {city} now?;I need the current time in {city}.;Which time do they have in {city}?|time=time
send_message|Send a message to a person.|to=name,text=message|Send {name} the message: {message}.;Tell {name} this: {message}.;Write to {name}: {message}.;Send a message to {name} saying {message}.;Message {name} that {message}.|status=state
book_table|Book a table in a restaurant.|people=n,time=time|Book a table for {n} people at {time}.;I need a table for {n} at {time}.;Reserve a table at {time} for {n} people.;We are {n} people and want a table at {time}.;Can I get a table for {n} people at {time}?|table=n2,status=state
set_alarm|Set an alarm.|time=time|Set an alarm for {time}.;Wake me up at {time}.;I need an alarm at {time}.;Please set the alarm to {time}.;Let the alarm ring at {time}.|status=state
set_timer|Start a timer for some minutes.|minutes=n|Start a timer for {n} minutes.;Set a timer of {n} minutes.;I need a {n} minute timer.;Count {n} minutes with a timer.;Timer for {n} minutes, please.|status=state
play_song|Play a song.|title=title|Play the song {title}.;I want to hear {title}.;Put on the song {title}.;Can you play {title}?;Let me listen to the song {title}.|length=n,status=state
find_book|Find a book by its title.|title=title|Find the book {title}.;Do you have the book {title}?;Search for the book {title}.;Look up the book called {title}.;I am looking for the book {title}.|author=full,pages=id
find_train|Find a train between two cities.|from=city,to=city2|Find a train from {city} to {city2}.;When is the next train from {city} to {city2}?;I need to go from {city} to {city2} by train.;Which train goes from {city} to {city2}?;Show me trains to {city2} from {city}.|leaves=time,platform=n
book_flight|Book a flight to a city.|city=city,date=date|Book a flight to {city} on {date}.;I want to fly to {city} on {date}.;Get me a flight to {city} for {date}.;Please book me on a flight to {city} on {date}.;On {date} I have to fly to {city}. Book it.|flight=id,price=n2
book_hotel|Book a hotel room in a city.|city=city,nights=n|Book a hotel in {city} for {n} nights.;I need a hotel room in {city} for {n} nights.;Get me {n} nights in a hotel in {city}.;Find a hotel in {city}, I stay {n} nights.;Reserve a hotel room for {n} nights in {city}.|hotel=title,price=id
order_food|Order food for delivery.|dish=food,amount=n|Order {n} portions of {food}.;I want to order {n} times {food}.;Get me {n} portions of {food}.;Please order {food} for {n} people.;Order {food}, {n} portions please.|price=n2,minutes=n
order_drink|Order a drink at the bar.|drink=drink|Order a {drink}.;I would like to drink {drink}.;Get me some {drink}.;One {drink}, please.;Bring me {drink} to drink.|price=n2
check_stock|Check how many items are in stock.|item=obj|How many of the {obj} are in stock?;Is the {obj} in stock?;Check the stock of {obj}.;Do we still have the {obj} in stock?;What is the stock for the {obj}?|count=n2
get_price|Get the price of an item.|item=obj|What is the price of the {obj}?;How much is the {obj}?;Tell me the price of the {obj}.;I want to know the price of the {obj}.;Check the price of the {obj}.|price=n2
add_event|Add an event to the calendar.|title=title,date=date|Add the event {title} on {date} to my calendar.;Put {title} in my calendar for {date}.;I have an event called {title} on {date}. Add it.;Note the event {title} on {date}.;Add {title} to the calendar on {date}.|id=id,status=state
get_events|Get the events of a day from the calendar.|day=day|What events do I have on {day}?;Show my calendar for {day}.;Which events are on {day}?;What is in my calendar on {day}?;List the events of {day}.|count=n,first=title
call_person|Call a person on the phone.|name=name|Call {name}.;Please phone {name}.;Make a call to {name}.;I want to call {name}.;Ring up {name} on the phone.|status=state
find_contact|Find the contact of a person.|name=full|Find the contact of {full}.;What is the number of {full}?;Look up {full} in my contacts.;Search my contacts for {full}.;I need the contact of {full}.|number=id,city=city
turn_on_light|Turn on the light in a room.|room=room|Turn on the light in the {room}.;Lights on in the {room}, please.;Make light in the {room}.;Switch on the light of the {room}.;It is dark in the {room}, turn on the light.|status=state
set_temperature|Set the temperature of a room.|room=room,degrees=n|Set the {room} to {n} degrees.;Make it {n} degrees in the {room}.;Heat the {room} to {n} degrees.;I want {n} degrees in the {room}.;Change the temperature in the {room} to {n}.|status=state
lock_door|Lock a door.|door=room|Lock the {room} door.;Please lock the door of the {room}.;Can you lock the {room} door?;Close and lock the door to the {room}.;The door of the {room} must be locked.|status=state
translate_text|Translate a text to a language.|text=message,language=lang|Translate {message} to {lang}.;How do you say {message} in {lang}?;Put this in {lang}: {message}.;I need {message} translated into {lang}.;Give me the {lang} translation of {message}.|words=n
convert_money|Convert money from one currency to another.|amount=n2,from=cur,to=cur2|Convert {n2} {cur} to {cur2}.;How much is {n2} {cur} in {cur2}?;Change {n2} {cur} into {cur2}.;I have {n2} {cur}. What is it in {cur2}?;Convert money: {n2} {cur} to {cur2}.|amount=id
track_order|Track an order by its number.|order=id|Where is my order {id}?;Track order {id}.;What is the state of order {id}?;Check on order number {id}.;Has order {id} been sent?|status=state,day=day
cancel_order|Cancel an order by its number.|order=id|Cancel order {id}.;I want to cancel my order {id}.;Please stop order {id}, I cancel it.;Order {id} must be cancelled.;Cancel the order with number {id}.|status=state
create_user|Create a user account.|name=full,age=n|Create a user {full}, age {n}.;Make an account for {full}, who is {n} years old.;Add a new user called {full}, aged {n}.;Register {full}, {n} years, as a user.;New user: {full}, {n} years old.|id=id
delete_file|Delete a file by its number.|file=id|Delete file {id}.;Remove the file {id}.;Please delete file number {id}.;I no longer need file {id}, delete it.;File {id} should be deleted.|status=state
add_to_cart|Add items to the shopping cart.|item=things,count=n|Add {n} {things} to my cart.;Put {n} {things} in the cart.;I want {n} {things} in my shopping cart.;My cart needs {n} {things}.;Place {n} {things} into the shopping cart.|total=n2
find_recipe|Find a recipe for a dish.|dish=food|Find a recipe for {food}.;How do I cook {food}? Find a recipe.;I need a recipe for {food}.;Show me a {food} recipe.;Which recipe is there for {food}?|minutes=n,name=title
find_doctor|Find a doctor in a city.|city=city|Find a doctor in {city}.;I need a doctor in {city}.;Is there a doctor in {city}?;Which doctor works in {city}?;Look for a doctor near {city}.|name=full,phone=id
get_news|Get the news about a topic.|topic=subject|What is the news about {subject}?;Show me news on {subject}.;Any news about {subject}?;Get the latest news on {subject}.;Read me the news about {subject}.|title=title
buy_ticket|Buy tickets for a show.|show=title,count=n|Buy {n} tickets for {title}.;I want {n} tickets for the show {title}.;Get {n} tickets for {title}.;We need {n} tickets to see {title}.;Purchase {n} tickets for the show {title}.|price=n2,seat=n
rent_car|Rent a car in a city for some days.|city=city,days=n|Rent a car in {city} for {n} days.;I need a car for {n} days in {city}.;Get me a rental car in {city}, {n} days.;For {n} days I want to rent a car in {city}.;Rent me a car for {n} days in {city}.|price=id,car=color
save_note|Save a note.|text=message|Save the note: {message}.;Make a note that says {message}.;Write a note: {message}.;Note this down: {message}.;Please save this as a note: {message}.|id=id
feed_pet|Feed an animal.|animal=animal,time=time|Feed the {animal} at {time}.;Give food to the {animal} at {time}.;At {time} the {animal} must be fed.;Please feed my {animal} at {time}.;The {animal} gets its food at {time}.|status=state
paint_wall|Paint a wall in a color.|room=room,color=color|Paint the {room} wall {color}.;I want the wall of the {room} in {color}.;Make the wall in the {room} {color}.;The {room} wall should be painted {color}.;Give the wall in the {room} a {color} paint.|liters=n,price=n2
find_job|Find open jobs in a city.|job=job,city=city|Find a job as a {job} in {city}.;Are there jobs for a {job} in {city}?;I look for work as a {job} in {city}.;Which jobs does {city} have for a {job}?;Search {job} jobs in {city}.|count=n,company=title
get_score|Get the score of a team.|team=city|What is the score of {city}?;How did the team of {city} play? Get the score.;Tell me the score of {city}.;Which score does {city} have?;I need the score for the team {city}.|score=n,points=n2
plan_route|Plan a route between two places.|start=place,end=place2|Plan a route from the {place} to the {place2}.;How do I get from the {place} to the {place2}?;Show me the route from the {place} to the {place2}.;What is the way from the {place} to the {place2}?;I am at the {place} and need a route to the {place2}.|minutes=n
get_balance|Get the balance of an account.|account=id|What is the balance of account {id}?;How much money is in account {id}?;Show the balance of {id}.;Check account {id} for its balance.;Tell me the balance on account {id}.|balance=id
send_money|Send money to a person.|to=name,amount=n2|Send {n2} dollars to {name}.;Pay {name} {n2} dollars.;Transfer {n2} dollars to {name}.;Give {name} {n2} dollars from my account.;I owe {name} {n2} dollars. Send the money.|status=state,id=id
water_plants|Water the plants in a place.|place=place,liters=n|Water the plants in the {place} with {n} liters.;Use {n} liters to water the {place}.;Give the plants in the {place} {n} liters of water.;The plants in the {place} need {n} liters.;Put {n} liters of water on the plants of the {place}.|status=state
join_class|Join a class for a hobby.|hobby=hobby,day=day|Sign me up for the {hobby} class on {day}.;I want to join {hobby} on {day}.;Join the {day} class in {hobby}.;Put me in the {hobby} class on {day}.;Let me take the class for {hobby} on {day}.|teacher=full,room=n
add_reminder|Add a reminder for a time.|text=message,time=time|Remind me at {time}: {message}.;Add a reminder at {time} saying {message}.;At {time} remind me of this: {message}.;I need a reminder for {time}: {message}.;Set a reminder, {time}, {message}.|status=state
find_movie|Find where a movie is shown.|title=title,city=city|Where can I see the movie {title} in {city}?;Find the movie {title} in {city}.;Is {title} shown in {city}?;Which cinema in {city} shows the movie {title}?;Show me the movie {title} in {city}.|cinema=title,time=time
count_visitors|Count the visitors of a place on a date.|place=place,date=date|How many visitors did the {place} have on {date}?;Count the visitors of the {place} on {date}.;On {date}, how many visitors came to the {place}?;Give me the visitors of the {place} for {date}.;What was the number of visitors in the {place} on {date}?|visitors=id
repair_item|Ask for the repair of an item.|item=obj,owner=name|Repair the {obj} of {name}.;The {obj} of {name} is broken. Ask for a repair.;{name} needs a repair of the {obj}.;Please have the {obj} repaired for {name}.;Get a repair for the {obj} that {name} owns.|price=n2,day=day
rate_book|Rate a book with stars.|title=title,stars=n|Give the book {title} {n} stars.;Rate {title} with {n} stars.;I rate the book {title} at {n} stars.;{n} stars for the book {title}.;My rating of {title} is {n} stars.|average=n
hire_worker|Hire a worker for a job.|name=full,job=job|Hire {full} as a {job}.;We want {full} to work as a {job}. Hire them.;Please hire {full} for the job of {job}.;{full} will be our new {job}.;Give {full} a job as a {job}.|id=id,start=date
get_distance|Get the distance between two cities.|from=city,to=city2|How far is it from {city} to {city2}?;What is the distance from {city} to {city2}?;Get the distance between {city} and {city2}.;How many miles are between {city} and {city2}?;Tell me the distance from {city} to {city2}.|miles=id
open_window|Open a window in a room.|room=room|Open the window in the {room}.;Let fresh air in the {room}, open the window.;Please open the {room} window.;The window of the {room} should be open.;Can you open the window in the {room}?|status=state
wash_clothes|Wash clothes at a temperature.|item=things,degrees=n|Wash the {things} at {n} degrees.;The {things} need a wash at {n} degrees.;Clean the {things} with {n} degrees.;Start to wash the {things} at {n} degrees.;Please wash my {things} at {n} degrees.|minutes=n
find_store|Find a store which sells an item.|item=obj,city=city|Which store in {city} sells a {obj}?;Find a store for a {obj} in {city}.;Where can I buy a {obj} in {city}?;I look for a store in {city} with a {obj}.;Who sells a {obj} in {city}?|store=title,price=n2
get_birthday|Get the birthday of a person.|name=full|When is the birthday of {full}?;Tell me the birthday of {full}.;What is {full}'s birthday?;I forgot the birthday of {full}.;Look up when {full} has a birthday.|date=date
""".strip().split("\n")
SYN = {"city": ["city", "town", "location", "city_name", "destination"], "name": ["name", "person", "contact", "who", "person_name"], "date": ["date", "on_date", "when", "calendar_date", "for_date"],
       "time": ["time", "at", "clock", "start_time", "hour"], "n": ["count", "amount", "number", "quantity", "size"], "obj": ["item", "object", "product", "thing", "article"],
       "title": ["title", "name", "label", "full_title", "heading"], "day": ["day", "weekday", "on_day", "date", "day_name"], "food": ["dish", "food", "meal", "recipe", "food_name"],
       "room": ["room", "area", "where", "room_name", "zone"], "id": ["id", "number", "code", "reference", "key"], "full": ["name", "full_name", "person", "contact", "customer"],
       "place": ["place", "location", "site", "spot", "area"], "message": ["text", "message", "content", "body", "words"]}
PRE = ["get", "find", "do", "my", "app", "home", "fetch", "lookup", "run", "api", "make", "ask"]
POST = ["now", "tool", "info", "service", "v2", "data", "request", "action", "api", "today"]
OPEN = ["", "", "", "", "", "Please help. ", "Hi! ", "Hello. ", "Hey, ", "Quick one: ", "I have a request. ", "OK, ", "Next: ", "Could you help me? ", "Do this for me: ",
        "One thing. ", "Now, ", "If you can: ", "My request: ", "Would you be so kind? "]
CLOSE = ["", "", "", "", "", " Thanks!", " Please.", " Thank you.", " Please hurry.", " I count on you!"]
OPENS, CLOSES = Pats([x for x in OPEN if x], W.REQ_OPEN), Pats([x for x in CLOSE if x], W.REQ_CLOSE)
VERBS = set("""set book reserve find get add put call phone make turn switch lock translate convert change track cancel create register delete remove place show search look rent save write note
feed give paint plan send pay transfer water use join sign rate repair hire open wash clean start check order play buy purchase count count bring tell remind read close list heat stop""".split())
FRAMES = Pats([], *W.FRAMES)
VALUES["place2"] = VALUES["place"]


def parse(line):
    name, desc, params, reqs, result = line.split("|")
    pairs = lambda s: [tuple(x.split("=")) for x in s.split(",")]
    return name, desc, pairs(params), reqs.split(";"), pairs(result)


PARSED = [parse(x) for x in DOMAINS]
UNSEEN = {d[0] for d in L.part(PARSED, "test")}


def variant(r, dom):
    """A domain with its tool and parameter names perhaps changed, so names must be copied."""
    name, desc, params, reqs, result = dom
    known = name
    if r.p(0.4):
        x = r.rng.random()
        name = f"{r.pat(PRE)}_{name.split('_', 1)[1]}" if x < 0.4 else f"{name}_{r.pat(POST)}" if x < 0.7 else "_".join(reversed(name.split("_", 1)))
    if L.EXTRA and not r.test and r.p(0.3):
        name = "_".join(r.sample(L.EXTRA, r.int(1, 3)))
        if len(params) == 1:
            params = [(r.any(L.EXTRA), params[0][1])]
    out, seen = [], set()
    for p, slot in params:
        q = r.pat(SYN[slot]) if slot in SYN and r.p(0.3) else p
        q = p if q in seen else q
        seen.add(q)
        out.append((q, slot))
    if len({p for p, _ in out}) < len(out):
        out = params
    return name, desc, out, reqs, result, known


def schema(r, dom, rich):
    name, desc, params = dom[:3]
    props = {}
    for p, slot in params:
        props[p] = {"type": "integer" if slot in INTS else "string"}
        if rich:
            props[p]["description"] = f"The {p.replace('_', ' ')}."
    return {"type": "function", "function": {"name": name, "description": desc, "parameters": {"type": "object", "properties": props, "required": [p for p, _ in params]}}}


def call(name, args):
    return "<tool_call>\n" + json.dumps({"name": name, "arguments": args}) + "\n</tool_call>"


def say(result):
    return "The " + " and the ".join(f"{k.replace('_', ' ')} is {v}" for k, v in result.items()) + "."


def framed(r, core):
    """A request, sometimes the polite form of one that starts with a verb."""
    first = core.split(" ")[0]
    if first.lower() not in VERBS or core.endswith("?") or ". " in core or not r.p(0.4):
        return core
    return cap(fill(r.pat(FRAMES), vp=first.lower() + core[len(first):].rstrip(".")))


def one(r, dom):
    """(request, arguments, result) for a domain."""
    _, _, params, reqs, res, name = dom
    v = {}
    for _, s in params:
        while s not in v or list(v.values()).count(v[s]) > 1:
            v[s] = VALUES[s](r)
    if r.test and name in TEST_REQUESTS:
        reqs = TEST_REQUESTS[name]
    core = framed(r, r.any(reqs))
    q = r.lead(OPENS) + fill(core, **v) + (" " + r.pat(CLOSES).strip() if r.p(0.35) else "")
    keys = list(res)
    if len(keys) > 1 and r.p(0.4):
        keys = [r.any(keys)]
    elif r.p(0.4):
        extra = [(k, s) for k, s in (("place", "place"), ("code", "id"), ("person", "name"), ("color", "color"), ("rating", "n")) if k not in dict(keys)]
        keys.append(r.any(extra))
    return q, {p: v[s] for p, s in params}, {k: VALUES[s](r) for k, s in keys}


def make(r, part=None):
    pool = PARSED if r.test else L.part(PARSED, "train")
    doms = [variant(r, d) for d in r.sample(pool, r.any([1, 1, 2, 2, 3, 4] if not r.test else [1, 2, 2, 3]))]
    if len({d[0] for d in doms}) < len(doms) or r.test and not any(d[5] in TEST_REQUESTS or d[5] in UNSEEN for d in doms):
        return make(r, part)
    rich = r.p(0.25)
    tools = [schema(r, d, rich) for d in doms]
    ms = smalltalk.system(r)
    if not r.test and r.p(0.12):
        q, a, w = smalltalk.turn(r)
        ms += [user(q), bot(a)]
    n = 1 if r.test or r.p(0.3) else r.int(2, 4)
    for i in range(n):
        if not r.test and r.p(0.06):
            q, a, w = smalltalk.turn(r)
            ms.append(user(q))
            if i < n - 1:
                ms.append(bot(a))
            last = (a, {"type": "contains-any", "expected": w})
            continue
        d = r.any([d for d in doms if not r.test or d[5] in TEST_REQUESTS or d[5] in UNSEEN] or doms)
        q, args, result = one(r, d)
        ms.append(user(q))
        c = call(d[0], args)
        if part == "call":
            return item("tools", ms, c, {"type": "tool-call", "expected": {"name": d[0], "arguments": args}}, tools=tools)
        ms += [bot(c), {"role": "tool", "content": json.dumps(result)}]
        a = say(result)
        last = (a, {"type": "contains-all", "expected": [str(x) for x in result.values()]})
        if i < n - 1:
            ms.append(bot(a))
    return item("tools", ms, last[0], last[1], tools=tools)
