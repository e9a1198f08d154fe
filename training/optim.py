"""Muon for the matrices, AdamW for the embedding and the norms."""
import torch


@torch.no_grad()
def orthogonalize(g, steps=5):
    """Newton-Schulz iteration towards the nearest semi-orthogonal matrix, batched, bfloat16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    flip = x.shape[-2] > x.shape[-1]
    if flip:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return (x.mT if flip else x).float()


class Muon(torch.optim.Optimizer):
    """Momentum, then orthogonalized updates; fused matrices are treated by their parts."""

    def __init__(self, groups, lr, momentum=0.95, decay=0.01):
        super().__init__(groups, dict(lr=lr, lr0=lr, momentum=momentum, decay=decay, parts=None))

    @torch.no_grad()
    def step(self):
        for g in self.param_groups:
            for p in g["params"]:
                if p.grad is None:
                    continue
                s = self.state[p]
                if "m" not in s:
                    s["m"] = torch.zeros_like(p)
                m = s["m"].mul_(g["momentum"]).add_(p.grad)
                u = p.grad.add(m, alpha=g["momentum"])
                u = torch.cat([orthogonalize(x) * max(1.0, x.shape[0] / x.shape[1]) ** 0.5 for x in u.split(g["parts"] or [len(u)])])
                p.mul_(1 - g["lr"] * g["decay"]).add_(u, alpha=-g["lr"])


def make_optimizers(model, lr, adam_lr):
    c = model.cfg
    q, k = c.heads * c.head_dim, c.kv_heads * c.head_dim
    L = model.layers
    muon = Muon([{"params": [l.qkv for l in L], "parts": [q, k, k]}, {"params": [l.gate_up for l in L], "parts": [c.ffn, c.ffn]},
                 {"params": [l.o for l in L] + [l.down for l in L]}], lr)
    rest = [p for l in L for p in (l.norm1.weight, l.norm2.weight)] + [model.norm.weight]
    adam = torch.optim.AdamW([{"params": [model.embed], "lr0": adam_lr, "weight_decay": 0.01}, {"params": rest, "lr0": adam_lr, "weight_decay": 0.0}],
                             lr=adam_lr, betas=(0.9, 0.95), eps=1e-8)
    return [muon, adam]
