"""Greedy decoding of the training model with a KV cache."""
import torch
import torch.nn.functional as F

from model import Config, Pebble
from quant import w4_round


def load_model(path):
    c = torch.load(path, weights_only=False, map_location="cpu")
    m = Pebble(Config(**c["config"]))
    m.load_state_dict(c["model"])
    return m.eval()


def bake(model):
    """Round all matmul weights to w4 once, in place."""
    with torch.no_grad():
        for n, p in model.named_parameters():
            if p.dim() == 2:
                p.copy_(w4_round(p))
    return model


@torch.no_grad()
def greedy(model, ids, limit, stop, qat=False):
    c, n = model.cfg, model.cfg.heads // model.cfg.kv_heads
    cache = [None] * c.layers
    out, pos, new = [], 0, list(ids)
    while True:
        x = F.embedding(torch.tensor([new]), model.embed)
        T = len(new)
        cos, sin = model.cos[pos:pos + T], model.sin[pos:pos + T]
        for i, layer in enumerate(model.layers):
            q, k, v = layer.qkv_heads(x, cos, sin, qat)
            if cache[i] is not None:
                k, v = torch.cat((cache[i][0], k), 2), torch.cat((cache[i][1], v), 2)
            cache[i] = (k, v)
            kk, vv = k.repeat_interleave(n, 1), v.repeat_interleave(n, 1)
            x = layer.finish(x, F.scaled_dot_product_attention(q, kk, vv, is_causal=T > 1), qat)
        pos += T
        t = int(model.head(model.norm(x[:, -1:]), qat)[0, -1].argmax())
        if t == stop or len(out) >= limit or pos >= c.context:
            return out
        out.append(t)
        new = [t]
