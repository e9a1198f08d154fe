"""Seeded curriculum: one generator for each skill, composed from patterns."""
from . import arithmetic, drill, extract, lists, memory, reading, smalltalk, stories, tools

MAKERS = {
    "identity": smalltalk.make,
    "reading": reading.make,
    "reading-long": lambda r: reading.make(r, long=True),
    "unknown": lambda r: reading.make(r, idk=True),
    "memory": memory.make,
    "arithmetic": arithmetic.make,
    "tools": tools.make,
    "json": extract.make,
    "lists": lists.make,
    "sort": lambda r: lists.make(r, sort=True),
    "spell": drill.spell,
    "stories": stories.make,
    "drill": drill.make,
}
