"""The held-out check: prompts with names and numbers masked share no 8-gram."""
import json
import re

from curriculum import lexicon as L

WORD = re.compile(r"[A-Za-z_']+|\d+|[^\sA-Za-z_'\d]")
N = 8


def masked(text):
    """Lower-case words; names and numbers are @ (runs of them, with commas, are one); punctuation dropped."""
    names = L.all_mask_words()
    out = []
    for w in WORD.findall(text):
        base = w[:-2] if w.endswith("'s") else w
        if w.isdigit() or base.lower() in names or L.invented(base):
            w = "@"
        elif not (w[0].isalpha() or w[0] in "_'"):
            continue
        w = w.lower()
        if w == "@" and out and out[-1] == "@":
            continue
        out.append(w)
    return out


def prompt_text(item):
    """What the user and the tools wrote; JSON schemas shown in a user turn are machine text and left out."""
    t = "\n".join(m["content"] for m in item["messages"] if m["role"] in ("user", "tool"))
    if item.get("schema"):
        t = t.replace(json.dumps(item["schema"]), " ")
    return t


def without_schemas(text):
    """The text with whatever is a JSON schema in it left out."""
    out, at = "", 0
    while (i := text.find('{"type": "object", "properties":', at)) >= 0:
        _, end = json.JSONDecoder().raw_decode(text, i)
        out, at = out + text[at:i] + " ", end
    return out + text[at:]


def document_grams(text, plain=False):
    """8-grams of a training document as the model reads it: its user and tool turns, or plain text."""
    if plain:
        return text_grams(text.replace("<|endoftext|>", ""))
    turns = re.findall(r"<\|im_start\|>(?:user|tool)\n(.*?)<\|im_end\|>", text, re.S)
    return grams({"messages": [{"role": "user", "content": without_schemas("\n".join(turns))}]})


def grams(item):
    """Hashable 8-grams of a prompt; a shorter prompt is one gram of its own."""
    w = masked(prompt_text(item))
    if len(w) < N:
        return {tuple(w)}
    return {tuple(w[i:i + N]) for i in range(len(w) - N + 1)}


def text_grams(text):
    w = masked(text)
    return {tuple(w[i:i + N]) for i in range(len(w) - N + 1)}
