"""Makes a LoRA adapter on a CPU, in PEFT's form, and says what it does on held-out items before and after.

    python training/lora/orders.py
    python training/lora/train.py --base models/pebble/hf --out runs/orders-pebble
    python training/lora/train.py --base SmolLM2-135M-Instruct.Q4_1.gguf --targets q_proj,v_proj --steps 240 --batch 4 --limit 0 --out runs/orders-smollm2

A GGUF's numbers are trained beside as the file has them, in float32. `--limit 0` leaves the counting of right answers to `npx tsx
bench/skills/adapter.ts`, which asks the server. `--data` names another folder with train.jsonl and test.jsonl: lines of {"messages": [...], "answer": "..."}. The loss is that of the answer
alone. A test item is right when the greedy answer is the expected one, as JSON where both are JSON.
"""
import argparse
import json
import os
import random
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
ALL = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"


def load(base):
    """Model and tokenizer of a Hugging Face folder or a GGUF file, in float32."""
    folder, file = os.path.split(base) if base.endswith(".gguf") else (base, None)
    kw = {"gguf_file": file} if file else {}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **kw)
    return model, AutoTokenizer.from_pretrained(folder, **kw)


def read(path):
    with open(path) as f:
        return [json.loads(line) for line in f]


def prompt_ids(tok, item):
    text = tok.apply_chat_template(item["messages"], tokenize=False, add_generation_prompt=True)
    return tok(text, add_special_tokens=False)["input_ids"]


def batch_of(tok, items, end):
    """Ids and labels, padded on the right; only the answer and its end have labels."""
    rows = []
    for x in items:
        p, a = prompt_ids(tok, x), tok(x["answer"], add_special_tokens=False)["input_ids"] + [end]
        rows.append((p + a, [-100] * len(p) + a))
    width = max(len(ids) for ids, _ in rows)
    pad = lambda row, by: row + [by] * (width - len(row))  # noqa: E731
    return (torch.tensor([pad(ids, end) for ids, _ in rows]), torch.tensor([pad(labels, -100) for _, labels in rows]),
            torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows]))


def loss_of(model, ids, labels, mask):
    """Cross entropy of the answers' tokens; the head, a large part of a small model, is computed for these alone."""
    base = model.get_base_model()
    hidden = base.model(input_ids=ids, attention_mask=mask).last_hidden_state[:, :-1]
    wanted = labels[:, 1:] != -100
    return torch.nn.functional.cross_entropy(base.lm_head(hidden[wanted]), labels[:, 1:][wanted])


def same(got, want):
    try:
        return json.loads(got) == json.loads(want)
    except ValueError:
        return got.strip() == want.strip()


@torch.no_grad()
def evaluate(model, tok, items, end, tokens, show=0):
    """How many of the items are answered right, greedily."""
    model.eval()
    right = 0
    for i, x in enumerate(items):
        ids = torch.tensor([prompt_ids(tok, x)])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, eos_token_id=end, pad_token_id=end)
        got = tok.decode(out[0, ids.shape[1]:], skip_special_tokens=True)
        right += same(got, x["answer"])
        if i < show:
            print(f"  {x['messages'][-1]['content']}\n  -> {got!r}", flush=True)
    model.train()
    return right


def save(model, a):
    model.peft_config["default"].base_model_name_or_path = os.path.basename(a.base.rstrip("/"))
    model.save_pretrained(a.out, state_dict={name: w.half() for name, w in model.state_dict().items() if "lora_" in name})


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--base", required=True, help="a Hugging Face folder, or a GGUF file")
    p.add_argument("--data", default=os.path.join(HERE, "..", "runs", "orders"))
    p.add_argument("--out", required=True)
    p.add_argument("--targets", default=ALL)
    p.add_argument("--layers", type=int, help="the last so many alone, which is quicker; default: all")
    p.add_argument("--rank", type=int, default=8)
    p.add_argument("--alpha", type=float, default=16)
    p.add_argument("--steps", type=int, default=400)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--limit", type=int, default=200, help="test items")
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)

    model, tok = load(a.base)
    train, test = read(os.path.join(a.data, "train.jsonl")), read(os.path.join(a.data, "test.jsonl"))[:a.limit]
    end = tok.convert_tokens_to_ids("<|im_end|>")
    longest = max((len(tok(x["answer"])["input_ids"]) for x in test), default=0) + 8
    before = evaluate(model, tok, test, end, longest, show=2)
    print(f"before: {before} of {len(test)}", flush=True)

    count = model.config.num_hidden_layers
    last = list(range(count - a.layers, count)) if a.layers else None
    config = LoraConfig(r=a.rank, lora_alpha=a.alpha, target_modules=a.targets.split(","), layers_to_transform=last, task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    optim = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=a.lr, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optim, a.lr, total_steps=a.steps, pct_start=max(0.05, 2 / a.steps))
    rng = random.Random(a.seed)
    started = time.time()
    for step in range(a.steps):
        ids, labels, mask = batch_of(tok, rng.sample(train, a.batch), end)
        loss = loss_of(model, ids, labels, mask)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        schedule.step()
        optim.zero_grad()
        if step % 20 == 19:
            print(f"step {step + 1}: loss {loss.item():.4f}, {time.time() - started:.0f} s", flush=True)
            save(model, a)  # what there is, should it end before

    # what is stored is what is measured: float16
    for w in model.parameters():
        if w.requires_grad:
            w.data = w.data.half().float()
    after = evaluate(model, tok, test, end, longest, show=2)
    print(f"after: {after} of {len(test)}", flush=True)
    save(model, a)


if __name__ == "__main__":
    main()
