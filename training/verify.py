"""Compare an exported folder in transformers with the training model; write the logits fixture.

    python training/verify.py --from qat.pt --qat --fixture tests/fixtures/pebble-logits.json
"""
import argparse
import json
import os

import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from chat import render
from export import OUT, RUNS
from generate import bake, greedy, load_model

TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Get the weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
PROMPTS = [
    ([{"role": "user", "content": "Who are you?"}], None),
    ([{"role": "user", "content": "Mara has 12 apples. Tom gives Mara 9 more. How many apples does Mara have now?"}], None),
    ([{"role": "system", "content": "You are Pebble."}, {"role": "user", "content": "What is the weather in Oslo?"}], [TOOL]),
]
CASES = PROMPTS + [
    ([{"role": "user", "content": "Weather in Rome?"},
      {"role": "assistant", "content": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'},
      {"role": "tool", "content": '{"temperature": 21, "sky": "clear"}'}], [TOOL]),
]


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--from", dest="src", default="qat.pt")
    p.add_argument("--folder", default=OUT)
    p.add_argument("--qat", action="store_true", help="the folder holds w4 values")
    p.add_argument("--fixture", default="")
    a = p.parse_args()
    tok = AutoTokenizer.from_pretrained(a.folder)
    hf = LlamaForCausalLM.from_pretrained(a.folder, dtype=torch.float32).eval()
    ours = load_model(os.path.join(RUNS, a.src))
    if a.qat:
        bake(ours)
    for ms, tools in CASES:
        text = tok.apply_chat_template(ms, tools=tools, add_generation_prompt=True, tokenize=False)
        assert text == render(ms, tools), (text, render(ms, tools))
    structured = [CASES[-1][0][0], {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Rome"}}}]}, CASES[-1][0][2]]
    assert tok.apply_chat_template(structured, tools=[TOOL], add_generation_prompt=True, tokenize=False) == render(*CASES[-1])
    out, worst = [], 0.0
    for ms, tools in PROMPTS:
        ids = tok(render(ms, tools), add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            want = hf(torch.tensor([ids])).logits[0, -1].float()
            got = ours(torch.tensor([ids]))[0, -1].float()
        worst = max(worst, (want - got).abs().max().item())
        text = tok.decode(greedy(ours, ids, 60, tok.convert_tokens_to_ids("<|im_end|>")))
        top = want.topk(64)
        out.append({"prompt": render(ms, tools), "ids": ids, "top": [[int(i), float(f"{v:.7g}")] for v, i in zip(*top)], "greedy": text})
        if len(out) == 1:
            out[0]["logits"] = [float(f"{v:.7g}") for v in want]
        print(repr(text))
    print("template equals renderer; largest logit difference", worst)
    assert worst < 1e-4
    if a.fixture:
        os.makedirs(os.path.dirname(a.fixture), exist_ok=True)
        note = "transformers, float32 arithmetic on the exported values: logits after the last prompt token"
        with open(a.fixture, "w") as f:
            json.dump({"note": note, "vocab": ours.cfg.vocab, "prompts": out}, f, separators=(",", ":"))


if __name__ == "__main__":
    main()
