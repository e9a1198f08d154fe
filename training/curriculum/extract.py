"""JSON extraction: a text and a schema, answered with one JSON object."""
import json

from . import lexicon as L
from . import wording2 as W
from .common import bot, cap, fill, item, user
from .grammar import Pats
from .tools import VALUES

# field: (key names, slot, sentences); {v} is the value
FIELDS = {
    "person": {
        "name": (["name", "full_name", "person", "who", "person_name"], "full", ["This is {v}.", "I met {v}.", "The person is called {v}.", "{v} is new here.", "We welcome {v} today.", "My friend is {v}.", "Here comes {v}.", "Have you heard of {v}?", "Let me present {v}.", "Everyone here knows {v}."]),
        "age": (["age", "years", "age_years", "person_age", "years_old"], "n2", ["The age is {v}.", "{v} years old.", "Just turned {v}.", "Already {v} years old.", "Born {v} years ago.", "Age: {v}.", "That makes {v} years.", "Has lived for {v} years.", "Now {v} years of age.", "There were {v} candles on the last birthday cake."]),
        "city": (["city", "home", "town", "lives_in", "home_city"], "city", ["Lives in {v}.", "The home is in {v}.", "Comes from {v}.", "Now living in {v}.", "One can visit them in {v}.", "The city is {v}.", "Moved to {v} last year.", "Found a flat in {v}.", "Born and raised in {v}.", "Sends greetings from {v}."]),
        "job": (["job", "work", "profession", "role", "occupation"], "job", ["Works as a {v}.", "The job is {v}.", "A {v} by trade.", "Earns a living as a {v}.", "Was hired to be a {v}.", "Has been a {v} for years.", "Wants to stay a {v}.", "A good {v}, they say.", "Became a {v} after school.", "At work the title is {v}."]),
        "hobby": (["hobby", "likes", "free_time", "interest", "pastime"], "hobby", ["Likes {v}.", "The hobby is {v}.", "Spends evenings with {v}.", "Loves {v}.", "Weekends are for {v}.", "Enjoys {v} a lot.", "Very good at {v}.", "Talks about {v} all day.", "In the free time it is {v}.", "Cannot live without {v}."]),
        "pet": (["pet", "animal", "pet_kind", "has_pet", "companion"], "animal", ["Has a {v}.", "Owns a {v}.", "Lives with a {v}.", "Keeps a {v}.", "A {v} shares the home.", "There is a {v} at home.", "Bought a {v}.", "Takes care of a {v}.", "The pet is a {v}.", "At home waits a {v}."])},
    "order": {
        "customer": (["customer", "name", "buyer", "client", "ordered_by"], "full", ["{v} placed an order.", "The customer is {v}.", "An order came in from {v}.", "{v} wants to buy something.", "Our client {v} called.", "New order by {v}.", "{v} wrote to us.", "The buyer is {v}.", "We got mail from {v}.", "On the phone was {v}."]),
        "item": (["item", "product", "article", "goods", "item_name"], "obj", ["It is about a {v}.", "The item is a {v}.", "They want the {v}.", "The product is the {v}.", "What they chose is the {v}.", "Please send the {v}.", "The order is for a {v}.", "They picked the {v}.", "Wanted: {v}.", "In the parcel goes the {v}."]),
        "count": (["count", "quantity", "amount", "number", "pieces"], "n", ["{v} pieces.", "The quantity is {v}.", "They need {v} of them.", "{v} in all.", "Pack {v} of these.", "The number is {v}.", "Count: {v}.", "Send {v} pieces.", "We should ship {v}.", "As many as {v} are needed."]),
        "price": (["price", "cost", "total", "sum", "dollars"], "id", ["The price is {v} dollars.", "It costs {v} dollars.", "They pay {v} dollars.", "Total: {v} dollars.", "The bill says {v} dollars.", "For {v} dollars.", "The cost is {v} dollars.", "They will be charged {v} dollars.", "Sum of {v} dollars.", "Worth {v} dollars to them."]),
        "city": (["city", "ship_to", "address", "destination", "delivery_city"], "city", ["Ship it to {v}.", "Deliver to {v}.", "It goes to {v}.", "The address is in {v}.", "A truck will bring it to {v}.", "Destination: {v}.", "The parcel goes to {v}.", "They live in {v}.", "Send everything to {v}.", "It should reach {v} soon."]),
        "date": (["date", "due", "delivery_date", "by", "due_date"], "date", ["It is due on {v}.", "The date is {v}.", "Needed by {v}.", "Delivery on {v}.", "They expect it around {v}.", "It must arrive on {v}.", "Send it on {v}.", "Planned for {v}.", "Due date: {v}.", "Not later than {v}, please."])},
    "event": {
        "title": (["title", "event", "event_name", "name", "heading"], "title", ["The event is called {v}.", "Come to {v}.", "We invite you to {v}.", "Do not miss {v}.", "There will be a show named {v}.", "{v} is coming.", "Join us for {v}.", "Tickets for {v} are out.", "This year we have {v}.", "Everybody talks about {v}."]),
        "place": (["place", "location", "venue", "where", "site"], "place", ["It is in the {v}.", "The place is the {v}.", "We meet at the {v}.", "It happens at the {v}.", "Find your way to the {v}.", "Location: {v}.", "It takes place in the {v}.", "Meet us in the {v}.", "The venue is the {v}.", "People will gather in the {v}."]),
        "day": (["day", "weekday", "on", "when", "event_day"], "day", ["It is on {v}.", "The day is {v}.", "It takes place on {v}.", "This {v}.", "Keep {v} free.", "See you on {v}.", "Day: {v}.", "We start on {v}.", "Planned for {v}.", "The whole {v} is for it."]),
        "time": (["time", "starts", "start_time", "hour", "begin"], "time", ["It starts at {v}.", "The time is {v}.", "Doors open at {v}.", "We begin at {v}.", "Be there by {v}.", "Start: {v}.", "Music from {v}.", "Come at {v}.", "It will begin at {v}.", "The first act is on at {v}."]),
        "guests": (["guests", "seats", "people", "visitors", "capacity"], "id", ["There are {v} seats.", "{v} guests will come.", "We expect {v} people.", "Room for {v} guests.", "Up to {v} visitors fit in.", "{v} people said yes.", "Guests: {v}.", "About {v} people.", "{v} tickets were sold.", "The hall holds {v} of us."]),
        "host": (["host", "organizer", "contact", "by", "led_by"], "name", ["The host is {v}.", "{v} leads it.", "Ask {v}.", "It is run by {v}.", "Questions go to {v}.", "{v} is the host.", "Our guide is {v}.", "{v} organized it.", "Contact: {v}.", "The whole thing was the idea of {v}."])},
    "trip": {
        "traveler": (["traveler", "passenger", "name", "guest", "who"], "full", ["The passenger is {v}.", "{v} is going on a trip.", "A trip for {v}.", "{v} travels again.", "This ticket belongs to {v}.", "{v} packs the bags.", "Traveler: {v}.", "{v} booked a trip.", "It is a journey of {v}.", "Soon {v} will be away."]),
        "from": (["from", "start", "origin", "departure", "leaves_from"], "city", ["The trip starts in {v}.", "Leaving from {v}.", "From {v}.", "The start is {v}.", "It all begins in {v}.", "Departure: {v}.", "They set off from {v}.", "Starting point is {v}.", "They leave {v}.", "Home base is {v}."]),
        "to": (["to", "destination", "goal", "target", "arrival"], "city2", ["The goal is {v}.", "Going to {v}.", "To {v}.", "The destination is {v}.", "It ends in {v}.", "Arrival: {v}.", "They will reach {v}.", "They fly to {v}.", "The way leads to {v}.", "Bound for {v}."]),
        "date": (["date", "day", "travel_date", "when", "departs_on"], "date", ["On {v}.", "The date is {v}.", "They leave on {v}.", "Date: {v}.", "Departure is set for {v}.", "It is planned for {v}.", "They start on {v}.", "The ticket says {v}.", "They will go on {v}.", "Mark {v} for it."]),
        "days": (["days", "length", "nights", "duration", "number_of_days"], "n", ["They stay {v} days.", "It takes {v} days.", "{v} days in all.", "For {v} days.", "After {v} days they come home.", "Length: {v} days.", "A trip of {v} days.", "It lasts {v} days.", "{v} days of rest.", "They will be gone for {v} days."]),
        "seat": (["seat", "seat_number", "place", "chair", "seat_no"], "n2", ["Seat {v}.", "The seat is {v}.", "They sit on seat {v}.", "Seat number {v}.", "Their chair has the number {v}.", "Place number {v}.", "They got seat {v}.", "The ticket is for seat {v}.", "Booked seat: {v}.", "Row and seat: {v}."])},
    "book": {
        "title": (["title", "book", "name", "book_title", "work"], "title", ["The book is {v}.", "I read {v}.", "{v} is a fine book.", "This is about {v}.", "The cover says {v}.", "We bought {v}.", "The title is {v}.", "Have you read {v}?", "I recommend {v}.", "On my desk lies {v}."]),
        "author": (["author", "writer", "by", "written_by", "creator"], "full", ["Written by {v}.", "The author is {v}.", "{v} wrote it.", "By {v}.", "It came from the pen of {v}.", "It is a work of {v}.", "The writer is {v}.", "Author: {v}.", "{v} is the author.", "We owe it to {v}."]),
        "year": (["year", "published", "published_in", "print_year", "out_in"], "year", ["It came out in {v}.", "The year is {v}.", "Printed in {v}.", "Year: {v}.", "Readers first saw it in {v}.", "Published in {v}.", "It is from {v}.", "First sold in {v}.", "It was new in {v}.", "It goes back to {v}."]),
        "pages": (["pages", "length", "page_count", "size", "number_of_pages"], "id", ["It has {v} pages.", "{v} pages long.", "There are {v} pages.", "Pages: {v}.", "One must read {v} pages.", "{v} pages in all.", "A book of {v} pages.", "The length is {v} pages.", "I read all {v} pages.", "You turn {v} pages."]),
        "topic": (["topic", "subject", "about", "genre", "field"], "subject", ["It is about {v}.", "The topic is {v}.", "It teaches {v}.", "Topic: {v}.", "Those who study {v} need it.", "It deals with {v}.", "You learn {v} from it.", "A text on {v}.", "It belongs to {v}.", "Much {v} is in it."]),
        "price": (["price", "cost", "dollars", "value", "sold_for"], "n2", ["It costs {v} dollars.", "The price is {v} dollars.", "I paid {v} dollars.", "For {v} dollars.", "The shop asks {v} dollars.", "Price: {v} dollars.", "It was {v} dollars.", "You get it for {v} dollars.", "It is sold for {v} dollars.", "Its tag shows {v} dollars."])},
}
NOT_NOUNS = {"who", "lives in", "free time", "likes", "has pet", "ordered by", "ship to", "by", "due", "on", "when", "starts", "begin", "led by", "leaves from", "from", "to", "departs on", "about", "written by", "published", "published in", "out in", "sold for",
             "years old", "where", "dollars", "years"}
KEYED = Pats([], *W.KEYED)
EXTRA = {"year": lambda r: r.num(1850, 2024)}
ASK = ["Extract the data from this text as JSON.", "Give me the data of this text as JSON.", "Turn this text into JSON.", "Read the text and fill the JSON.", "Put the facts below into JSON.", "Write JSON for this text.",
       "Return JSON for this text.", "Convert this to JSON.", "Make a JSON object from this text.", "I need what this says as a JSON object.", "JSON please.", "Fill in the schema from the text.",
       "Answer with JSON only.", "Extract JSON.", "From what follows, produce JSON."]
FORMS = ["{ask}\nSchema: {s}\nText: {t}", "{ask}\n\n{s}\n\n{t}", "{t}\n\n{ask} Schema: {s}", "Schema: {s}\n{ask}\n{t}", "{ask}\nUse this schema: {s}\nHere is the text: {t}",
         "Text: {t}\nSchema: {s}\n{ask}", "{ask} Text: {t} Schema: {s}", "{s}\n{t}\n{ask}", "Use this JSON schema: {s}\n\n{ask} {t}", "What is written: {t}\nWanted shape: {s}\n{ask}"]
SYS = ["Answer with JSON that fits this schema: {s}", "You are Pebble. Reply with JSON only. Schema: {s}", "Extract data as JSON. The schema is {s}", "Reply in JSON. Use this schema:\n{s}", "Always answer in JSON of this schema: {s}"]
LIST = ["The list: {v}.", "They brought {v}.", "Needed are {v}.", "There are {v}.", "One could see {v}.", "They took {v}.", "Also {v}.", "Things: {v}.", "We saw {v}.", "In the box lie {v}."]
LISTKEY = ["things", "items", "list", "goods", "objects"]
FLAG = {True: ["It is paid.", "Paid: yes.", "It was paid already.", "The money came in, it is paid.", "All of it has been paid."],
        False: ["It is not paid.", "Paid: no.", "It was not paid yet.", "The money is missing, it is not paid.", "None of it has been paid."]}
FLAGKEY = ["paid", "is_paid", "was_paid", "payment_done", "already_paid"]


def row(r, slot, sents, used, keys):
    """(value, sentence) for a field, the value not used before; the sentence may name a key of the field."""
    make_value = EXTRA.get(slot) or VALUES[slot]
    v = make_value(r)
    while str(v) in used:
        v = make_value(r)
    used.add(str(v))
    names = [k for k in (k.replace("_", " ") for k in keys) if k not in NOT_NOUNS]
    if names and r.p(0.6 if r.test else 0.45):
        return v, cap(fill(r.pat(KEYED), v=v, k=r.any(names)))
    return v, fill(r.pat(sents), v=v)


def text_for(r, fields, shuffled):
    """(object, text) with fresh values for [(key, slot, sentences, wanted)]."""
    obj, text, used = {}, [], set()
    for key, slot, sents, wanted, keys in fields:
        if slot == "array":
            v = r.words("THINGS", r.int(2, 4))
            s = fill(r.pat(sents), v=", ".join(v[:-1]) + " and " + v[-1])
        elif slot == "flag":
            v = r.p(0.5)
            s = r.pat(sents[v])
        else:
            v, s = row(r, slot, sents, used, keys)
        if wanted:
            obj[key] = v
        text.append(s)
    text = " ".join(r.shuffle(text) if shuffled else text)
    for x in "aeiou":
        text = text.replace(" a " + x, " an " + x).replace("A " + x, "An " + x)
    return obj, text


def make(r):
    dom = FIELDS[r.any(list(FIELDS))]
    names = r.shuffle(dom)[:r.int(2, 6 if not r.test else 5)]
    want = r.int(1, min(len(names), 5)) if not r.test else r.int(2, min(len(names), 4))
    fields = []
    for i, f in enumerate(names):
        keys, slot, sents = dom[f]
        key = f if r.p(0.5) and not r.test else r.pat(keys) if r.p(0.5) else r.any(keys)
        fields.append((key, slot, sents, i < want, keys))
    if r.p(0.15):
        fields.append((r.any(LISTKEY), "array", LIST, True, ()))
    if r.p(0.15):
        fields.append((r.any(FLAGKEY), "flag", FLAG, True, ()))
    if len({x[0] for x in fields}) < len(fields):
        return make(r)
    first, text = text_for(r, fields, r.p(0.4))
    keys = [x[0] for x in fields if x[3]]
    if r.p(0.5):
        keys = r.shuffle(keys)
    kind = lambda v: {"type": "boolean"} if isinstance(v, bool) else {"type": "integer"} if isinstance(v, int) else \
        {"type": "array", "items": {"type": "string"}} if isinstance(v, list) else {"type": "string"}
    schema = {"type": "object", "properties": {k: kind(first[k]) for k in keys}, "required": keys}
    s = json.dumps(schema)
    obj = {k: first[k] for k in keys}
    if r.p(0.5):
        ms = [{"role": "system", "content": fill(r.pat(SYS), s=s)}, user(text if r.p(0.5) else r.pat(ASK) + "\n" + text)]
    else:
        ms = [user(fill(r.pat(FORMS), ask=r.pat(ASK), s=s, t=text))]
    for _ in range(0 if r.test else r.any([0, 0, 1, 2])):
        ms.append(bot(json.dumps(obj)))
        again, text = text_for(r, fields, r.p(0.4))
        obj = {k: again[k] for k in keys}
        ms.append(user(text))
    return item("json", ms, json.dumps(obj), {"type": "json-equal", "expected": obj}, schema=schema)
