"""Word pools, each split in train and test parts (every fifth entry is test)."""
import re
from functools import lru_cache
from zlib import crc32


def part(items, split):
    """Entries of a pool for a split: index % 5 == 4 is test, the rest train."""
    return [x for i, x in enumerate(items) if (i % 5 == 4) == (split == "test")]


def held(text):
    """Hash split for open-ended values (numbers pairs, made-up names): one in eight is test."""
    return crc32(text.encode()) % 8 == 0


def W(s):
    return s.split()


def P(s):
    return [x.strip() for x in s.split(",") if x.strip()]


NAMES = W("""Anna Ben Clara David Emma Felix Grace Henry Isla Jack Kate Leo Mia Noah Olivia Paul Quinn Rosa Sam Tara Uma Victor
Wendy Xavier Yara Zoe Adam Bella Carl Dora Eric Fiona George Hanna Ivan Julia Kevin Laura Martin Nina Oscar Petra Ralph Sarah Tom Ursula
Vera Walter Yusuf Zara Alice Bruno Cora Dennis Elena Frank Gina Hugo Irene James Karen Lucas Maria Nathan Olga Peter Rita Simon Tina
Vincent Willa Amir Bianca Cyrus Delia Elias Freya Gordon Hazel Igor Jasmine Kofi Lena Marcus Nadia Otto Priya Ravi Sofia Theo Valerie
Wanda Yuki Zachary Aisha Boris Celine Diego Esther Farid Greta Hassan Ingrid Jonas Kira Liam Mona Nils Oriana Pablo Rachel Stefan Tanya
Viktor Wes Ada Bill Chloe Dan Ella Fred Gloria Harry Ida Joe Kim Lily Max Nora Owen Penny Rob Sue Tim Violet Will Amy Bob Cathy Don Eve
Finn Gus Holly Ike Jill Ken Lucy Mark Nick Oona Phil Ruth Sid Ted Vic Lara Maya Dylan Ruby Toby Molly Alex Chris Pat Robin Jordan Casey""")
SURNAMES = W("""Smith Brown Taylor Wilson Evans Walker Wright Green Hall Wood Harris Lewis Clark Young Scott Moore Hill Adams Baker Carter
Cooper Reed Ward Price Bell Fox Stone Lane Frost Marsh Nolan Ortiz Patel Quist Rossi Silva Torres Ueda Vance Weber Yates Zeller Abbott
Berg Costa Dahl Engel Flores Gomez Hansen Ito Jensen Klein Lopez Meyer Novak Olsen Park""")
CITIES = W("""London Paris Rome Berlin Madrid Oslo Vienna Dublin Lisbon Prague Athens Cairo Tokyo Delhi Boston Chicago Denver Seattle Austin
Dallas Toronto Sydney Nairobi Lima Bogota Warsaw Helsinki Geneva Milan Munich Hamburg Lyon Porto Seville Bergen Krakow Tallinn Riga
Vilnius Zagreb Split Kyoto Osaka Seoul Hanoi Manila Jakarta Perth Auckland Havana Quito Santiago Montreal Ottawa Phoenix Portland Miami
Atlanta Houston Leeds Bristol York Cardiff Glasgow Utrecht Ghent Basel Graz Turin Naples Malaga Tunis Accra Lagos Dakar""")
PLACES = P("""kitchen, garden, library, park, school, market, station, museum, office, bakery, beach, forest, hotel, airport, hospital, church,
farm, attic, cellar, garage, harbor, bank, cafe, theater, zoo, gym, stadium, bridge, castle, tower, barn, shed, bathroom, bedroom, hallway,
playground, river, lake, mountain, village, square, factory, workshop, studio, post office, town hall, bus stop, swimming pool, book shop,
court, temple, palace, cave, island, valley, meadow, desert, port, cinema, restaurant, pharmacy, stable, balcony, roof""")
OBJECTS = P("""lamp, book, key, ball, cup, hat, coat, umbrella, clock, chair, map, ring, bag, box, knife, spoon, plate, pen, pencil, letter,
candle, bottle, basket, blanket, mirror, ladder, hammer, rope, bell, drum, guitar, violin, camera, phone, radio, laptop, ticket, coin, wallet,
scarf, glove, boot, shoe, belt, shirt, jacket, towel, pillow, carpet, vase, brush, broom, bucket, shovel, rake, saw, nail, screw, wheel, bike,
kite, doll, puzzle, toy car, teapot, kettle, pan, pot, fork, bowl, tray, jar, tin, purse, necklace, watch, flag, tent, torch, compass,
notebook, newspaper, magazine, stamp, envelope, painting, statue, trophy, medal, helmet, backpack, suitcase, whistle, flute, trumpet, piano,
telescope, magnet, battery, cable, lock, chain, hook, net, bucket hat, sled, skate, racket, paddle, oar, anchor, barrel, crate, sack""")
THINGS = P("""apples, oranges, pears, plums, eggs, cookies, cakes, stamps, coins, marbles, books, pens, pencils, balls, shells, stones, flowers,
stickers, cards, candies, balloons, buttons, nuts, lemons, cherries, peaches, muffins, rolls, cups, plates, tickets, toys, beads, seeds,
bananas, grapes, carrots, onions, potatoes, tomatoes, sandwiches, pies, tarts, fish, chairs, boxes, bricks, nails, candles, ribbons, badges,
photos, letters, crayons, berries, melons, mangos, figs, olives, pancakes""")
COLORS = W("red blue green yellow purple black white brown pink gray orange silver golden crimson violet beige navy teal scarlet ivory")
ANIMALS = W("""dog cat horse rabbit parrot hamster goat duck pony turtle mouse cow sheep pig donkey lizard snake fox owl goose hen frog spider
bear wolf lion tiger monkey camel llama""")
FOODS = P("""pizza, soup, bread, cheese, rice, pasta, salad, fish, cake, honey, chocolate, ice cream, pancakes, curry, noodles, apple pie, toast, stew,
beans, waffles, dumplings, sushi, tacos, porridge, mushrooms, strawberries, roast chicken, yogurt, popcorn, omelette""")
DRINKS = P("tea, coffee, milk, water, lemonade, orange juice, cocoa, apple juice, ginger ale, mint tea, cider, iced tea, tomato juice, soda, green tea")
JOBS = P("""baker, teacher, doctor, farmer, nurse, driver, painter, singer, cook, pilot, writer, lawyer, judge, sailor, soldier, dentist, plumber,
gardener, tailor, butcher, barber, clerk, engineer, carpenter, waiter, reporter, actor, dancer, miner, mechanic, librarian, photographer,
musician, fisherman, electrician, builder, florist, chemist, guard, postman, architect, translator, surgeon, scientist, programmer""")
HOBBIES = P("""chess, swimming, painting, running, reading, fishing, dancing, singing, cooking, hiking, cycling, tennis, football, gardening, knitting,
sailing, skating, surfing, climbing, drawing, yoga, photography, camping, golf, pottery, rowing, archery, boxing, sewing, bowling""")
DAYS = W("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = W("January February March April May June July August September October November December")
RELATIONS = P("""sister, brother, mother, father, friend, uncle, aunt, cousin, neighbor, teacher, boss, son, daughter, grandmother, grandfather, wife,
husband, roommate, coach, nephew""")
ADJ = W("""small big old new heavy light broken shiny dusty round tiny large soft wooden plastic clean dirty empty full cheap pretty plain
thick thin long short strange famous lost rusty""")
SUBJECTS = P("""history, music, art, science, math, biology, poetry, geography, physics, chemistry, cooking, law, medicine, drama, economics""")
VERBS_PAST = P("walked, ran, drove, cycled, hurried, travelled, went, moved, rode, wandered")
TITLE1 = W("""Silent Golden Broken Hidden Last First Lost Winter Summer Distant Crimson Paper Glass Iron Silver Burning Frozen Little Secret Wild
Quiet Endless Bitter Gentle Lonely Hollow Bright Dark Ancient Stolen""")
TITLE2 = W("""River Garden Road House Night Morning Forest Star Moon Letter Island Song Shadow Storm Door Bridge Kingdom Sea Tower Fire Dream
Mirror Clock Voyage Harvest Window Mountain Lantern Promise Feather""")
_C = W("b d f g h j k l m n p r s t v w z br dr fl gr kr pl st tr sh th ch")
_V = W("a e i o u ai ea io ou")
_E = W("n l r s m x th na ra lo ko mi ta do sa ve ne ri la ka bel dor fin gan mar ton ley wick son")


INVENTED = re.compile(f"({'|'.join(_C)})({'|'.join(_V)})(({'|'.join(_C)})({'|'.join(_V)}))?({'|'.join(_E)})")
EXTRA, EXTRA_CAP = [], []  # words of general text, used as odd values in training
ALL = []  # every word of the vocabulary, for the copy drills alone


def made_up(rng, split):
    """An invented capitalised name."""
    while True:
        s = rng.choice(_C) + rng.choice(_V)
        if rng.random() < 0.4:
            s += rng.choice(_C) + rng.choice(_V)
        s = (s + rng.choice(_E)).capitalize()
        if held(s) == (split == "test"):
            return s


@lru_cache(1 << 18)
def invented(word):
    """Whether a word looks like a name of `made_up`; some words of English do."""
    return word[:1].isupper() and INVENTED.fullmatch(word.lower()) is not None


_cache = {}


def pool(name, split):
    k = (name, split)
    if k not in _cache:
        _cache[k] = part(globals()[name], split)
    return _cache[k]


def all_mask_words():
    """Lower-case words that count as names when prompts are masked."""
    return {w.lower() for p in (NAMES, SURNAMES, CITIES) for w in p}


def test_words():
    """Every value of the test pools, lower case."""
    pools = (OBJECTS, THINGS, ANIMALS, FOODS, DRINKS, JOBS, HOBBIES, PLACES, COLORS, SUBJECTS, NAMES, SURNAMES, CITIES, TITLE1, TITLE2)
    return {w.lower() for p in pools for x in part(p, "test") for w in x.split()}
