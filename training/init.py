"""Starting weights with a bias towards copying.

A few heads start as what training would find late: layer 0 has heads which look one and
two tokens back, layers 1 and 2 have heads which look for the place after an earlier
occurrence of the current token and copy what they find. All of it stays trainable.

The residual stream is split at the start by an orthonormal basis: `codes` (which token is
here), `marks` (which token stands before, written by layer 0) and the parts that layers 1
and 2 copy. Channel 0 is a constant, which makes heads that look at fixed offsets possible.
"""
import torch


@torch.no_grad()
def copy_bias(model, seed=0, const=3.0, size=0.5, gain=0.12, look=8.0, match=3.0, write=1.5, copy=3.0, rest=0.5, slow=0.02):
    c = model.cfg
    g = torch.Generator().manual_seed(seed)
    hd, H, K, per = c.head_dim, c.heads, c.kv_heads, c.heads // c.kv_heads
    half = hd // 2
    theta = 1.0 / (c.theta ** (torch.arange(half).float() / half))
    model.embed[:, 0] = 0
    model.embed.mul_(size * c.dim ** 0.5 / model.embed.norm(dim=1, keepdim=True))
    model.embed[:, 0] = const
    model.norm.weight.fill_(gain)
    for layer in model.layers:
        layer.o.mul_(rest)
        layer.down.mul_(rest)
    x0 = const / (size ** 2 + const ** 2 / c.dim) ** 0.5  # channel 0 after the first norm
    near = torch.zeros(half)  # fast rotations tell neighbours apart
    near[:4] = torch.tensor([1.0, 1.0, 0.7, 0.5])
    slots = [i for i in range(half) if theta[i] < slow]  # slow rotations match at any distance
    slots = slots + [i + half for i in slots]
    n = len(slots)
    q, _ = torch.linalg.qr(torch.randn(c.dim - 1, c.dim - 1, generator=g))
    basis = torch.cat((torch.zeros(c.dim - 1, 1), q.T), 1)
    rows = iter(basis)
    take = lambda k: torch.stack([next(rows) for _ in range(k)])
    codes, marks = [take(n) for _ in range(K)], [take(n) for _ in range(K)]
    left = (c.dim - 1 - 2 * K * n) // K
    sizes = [min(hd, left), min(hd, left - hd)] if left > hd else [left]
    first = model.layers[0]
    for j in range(K):
        k0, v0 = H * hd + j * hd, (H + K) * hd + j * hd
        first.qkv[k0:k0 + hd] *= 0.1
        first.qkv[k0:k0 + half, 0] = look / x0 * near
        first.qkv[v0:v0 + n] = codes[j]
        for h, back in ((j * per, 1), (j * per + 1, 2)):
            first.qkv[h * hd:(h + 1) * hd] *= 0.1
            first.qkv[h * hd:h * hd + half, 0] = look / x0 * near * torch.cos(back * theta)
            first.qkv[h * hd + half:(h + 1) * hd, 0] = -look / x0 * near * torch.sin(back * theta)
        h = j * per
        first.o[:, h * hd:h * hd + n] = marks[j].T * write
    for layer, m in zip(model.layers[1:3], sizes):
        for j in range(K):
            h, k0, v0 = j * per, H * hd + j * hd, (H + K) * hd + j * hd
            layer.qkv[h * hd:(h + 1) * hd] *= 0.1
            layer.qkv[k0:k0 + hd] *= 0.1
            for a, s in enumerate(slots):
                layer.qkv[h * hd + s] = codes[j][a] * match
                layer.qkv[k0 + s] = marks[j][a] * match
            v = take(m)
            layer.qkv[v0:v0 + m] = v
            layer.o[:, h * hd:h * hd + m] = v.T * copy
