"""The encoder: a table of word vectors, and two layers of attention that correct them.

The layers start as nothing (their last matrices are zero), so that the table can be trained alone first, at a hundredth of the cost.
There is no norm at the end: the length of a word's vector is its weight in the mean.
"""
import torch
import torch.nn.functional as F
from torch import nn

DIM, HEADS, INNER, LAYERS, VOCAB = 256, 4, 128, 2, 16384
DIMENSIONS = (64, 128, 256)  # prefixes of a vector that are vectors of their own


class Layer(nn.Module):
    def __init__(self, dim, heads, inner):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * inner), nn.Linear(inner, dim)
        self.up, self.down = nn.Linear(dim, dim), nn.Linear(dim, dim)
        # how fast a head forgets what is to the left and to the right: positions without a table, so without a longest text
        self.slope = nn.Parameter(torch.linspace(-4, 0, heads)[:, None].repeat(1, 2))  # [heads, 2]
        for last in (self.out, self.down):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x, mask, left):
        """x [B, T, D]; mask [B, 1, 1, T] is 0 or very negative; left [T, T] is i - j."""
        b, t, _ = x.shape
        n = self.out.in_features
        q, k, v = (y.view(b, t, self.heads, n // self.heads).transpose(1, 2) for y in self.qkv(self.norm1(x)).split(n, dim=-1))  # [B, H, T, n/H]
        s = F.softplus(self.slope)[:, :, None, None]  # [H, 2, 1, 1]
        bias = -(s[:, 0] * left.clamp(min=0) + s[:, 1] * (-left).clamp(min=0))  # [H, T, T]
        a = torch.softmax(q @ k.transpose(-1, -2) * (n // self.heads) ** -0.5 + bias + mask, dim=-1)
        x = x + self.out((a @ v).transpose(1, 2).reshape(b, t, n))
        return x + self.down(F.relu(self.up(self.norm2(x))))


class Encoder(nn.Module):
    def __init__(self, vocab=VOCAB, dim=DIM, heads=HEADS, inner=INNER, layers=LAYERS):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        nn.init.normal_(self.embed.weight, std=0.1)
        self.layers = nn.ModuleList(Layer(dim, heads, inner) for _ in range(layers))

    def forward(self, input_ids, attention_mask):
        """input_ids, attention_mask: int64 [B, T] -> last_hidden_state f32 [B, T, D]."""
        x = self.embed(input_ids)
        i = torch.arange(input_ids.shape[1], device=x.device)
        left = (i[:, None] - i[None, :]).to(x.dtype)
        mask = (1.0 - attention_mask.to(x.dtype))[:, None, None, :] * -10000.0
        for layer in self.layers:
            x = layer(x, mask, left)
        return x


def pool(hidden, attention_mask):
    """Mean of the words that are there, at length 1: [B, T, D] -> [B, D]."""
    m = attention_mask.to(hidden.dtype)[:, :, None]
    return F.normalize((hidden * m).sum(1) / m.sum(1).clamp(min=1), dim=-1)
