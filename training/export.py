"""Write a checkpoint as a Hugging Face folder.

    python training/export.py --from qat.pt --qat            # w4 values, exact in float16
    python training/export.py --from base.pt --to runs/export-f32
"""
import argparse
import json
import os
import shutil

import torch
from safetensors.torch import load_file, save_file

import tokenizer as tk
from chat import END, EOT
from generate import bake, load_model
from quant import w4_parts

HERE = os.path.dirname(os.path.abspath(__file__))
RUNS = os.path.join(HERE, "runs")
OUT = os.path.join(HERE, "..", "models", "pebble", "hf")


def hf_state(model):
    """Tensors under Hugging Face's names."""
    c = model.cfg
    q, k = c.heads * c.head_dim, c.kv_heads * c.head_dim
    out = {"model.embed_tokens.weight": model.embed, "model.norm.weight": model.norm.weight}
    for i, l in enumerate(model.layers):
        p = f"model.layers.{i}."
        a, b, v = l.qkv.split((q, k, k))
        g, u = l.gate_up.split((c.ffn, c.ffn))
        out.update({p + "self_attn.q_proj.weight": a, p + "self_attn.k_proj.weight": b, p + "self_attn.v_proj.weight": v,
                    p + "self_attn.o_proj.weight": l.o, p + "mlp.gate_proj.weight": g, p + "mlp.up_proj.weight": u,
                    p + "mlp.down_proj.weight": l.down, p + "input_layernorm.weight": l.norm1.weight,
                    p + "post_attention_layernorm.weight": l.norm2.weight})
    return {n: t.detach().float().contiguous().clone() for n, t in out.items()}


def from_hf(folder, model):
    """Loads a folder that this file wrote into a training model."""
    s = load_file(os.path.join(folder, "model.safetensors"))
    state = {"embed": s["model.embed_tokens.weight"], "norm.weight": s["model.norm.weight"]}
    for i in range(model.cfg.layers):
        p, q = f"model.layers.{i}.", f"layers.{i}."
        state.update({q + "qkv": torch.cat([s[p + f"self_attn.{x}_proj.weight"] for x in "qkv"]), q + "o": s[p + "self_attn.o_proj.weight"],
                      q + "gate_up": torch.cat([s[p + f"mlp.{x}_proj.weight"] for x in ("gate", "up")]), q + "down": s[p + "mlp.down_proj.weight"],
                      q + "norm1.weight": s[p + "input_layernorm.weight"], q + "norm2.weight": s[p + "post_attention_layernorm.weight"]})
    model.load_state_dict({n: t.float() for n, t in state.items()})


def check_w4(state):
    """Every matrix survives float16 and a second quantization unchanged."""
    for n, t in state.items():
        if t.dim() == 2:
            half = t.half().float()
            assert torch.equal(half, t), n
            d, q = w4_parts(t)
            assert torch.equal(((q - 8) * d.unsqueeze(-1)).reshape(t.shape), t), n
            assert torch.equal(d.half().float(), d), n


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--from", dest="src", default="qat.pt")
    p.add_argument("--to", default=OUT)
    p.add_argument("--qat", action="store_true", help="round to w4 first; matrices as exact float16")
    p.add_argument("--f16", action="store_true", help="round matrices to float16")
    a = p.parse_args(argv)
    model = load_model(os.path.join(RUNS, a.src))
    if a.qat:
        bake(model)
    state = hf_state(model)
    if a.qat:
        check_w4(state)
    if a.qat or a.f16:
        state = {n: t.half() if t.dim() == 2 else t for n, t in state.items()}
    os.makedirs(a.to, exist_ok=True)
    save_file(state, os.path.join(a.to, "model.safetensors"), metadata={"format": "pt"})
    c = model.cfg
    tokdir = os.path.join(RUNS, "tokenizer")
    tok = tk.load(tokdir)
    eot, end = tok.token_to_id(EOT), tok.token_to_id(END)
    conf = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": c.vocab, "hidden_size": c.dim,
            "intermediate_size": c.ffn, "num_hidden_layers": c.layers, "num_attention_heads": c.heads, "num_key_value_heads": c.kv_heads,
            "head_dim": c.head_dim, "hidden_act": "silu", "rms_norm_eps": c.eps, "rope_theta": c.theta, "max_position_embeddings": c.context,
            "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False, "bos_token_id": eot, "eos_token_id": end,
            "pad_token_id": eot, "torch_dtype": "float16" if (a.qat or a.f16) else "float32"}
    gen = {"bos_token_id": eot, "eos_token_id": [end, eot], "pad_token_id": eot, "do_sample": True, "temperature": 0.3, "top_p": 0.9,
           "max_new_tokens": 256}
    for name, x in (("config.json", conf), ("generation_config.json", gen)):
        with open(os.path.join(a.to, name), "w") as f:
            json.dump(x, f, indent=1)
            f.write("\n")
    shutil.copy(os.path.join(tokdir, "tokenizer.json"), a.to)
    tk.save(tok, a.to)
    os.chmod(os.path.join(a.to, "model.safetensors"), 0o644)
    size = os.path.getsize(os.path.join(a.to, "model.safetensors"))
    print(f"{a.to}: {model.count()} parameters, {size} bytes", flush=True)


if __name__ == "__main__":
    main()
