"""One training step of a decoder in plain PyTorch, and with Opacus, beside ours.

    python lm_peer.py [REPEATS [MODEL]]

The two decoders, batches and threads are those of `lm_step.rs` in `agency-node/torch/examples`. A step
is forward, backward and (with Opacus) clipping: everything before noise and the update of the weights.
Opacus cannot clip tied weights, so its decoder has an output map of its own. Prints one JSON object a
line.
"""

import json
import statistics
import sys
import time
import warnings

import opacus
import torch
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (
    GradSampleModuleFastGradientClipping,
)
from opacus.optimizers.optimizer_fast_gradient_clipping import (
    DPOptimizerFastGradientClipping,
)
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import nn
from torch.nn import functional as F

TOKENS = 256
CONTEXT = 128
THREADS = 2
# Rows that Opacus takes at a time, as ours: its memory grows with the batch otherwise.
MICROBATCH = 16
MODELS = {"1m": (5, 128, 4, 344, 64), "25m": (8, 512, 8, 1376, 16)}


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(width, 1e-5), nn.RMSNorm(width, 1e-5)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x, cos, sin):
        n, t, w = x.shape
        y = self.norm1(x)
        q, k, v = (
            m(y).view(n, t, self.heads, w // self.heads).transpose(1, 2)
            for m in (self.q, self.k, self.v)
        )

        def turn(a):
            one, two = a.chunk(2, -1)
            return a * cos + torch.cat((-two, one), -1) * sin

        y = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(n, t, w))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Decoder(nn.Module):
    def __init__(self, layers, width, heads, hidden, tied):
        super().__init__()
        self.table = nn.Embedding(TOKENS, width)
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))
        self.norm = nn.RMSNorm(width, 1e-5)
        self.head = None if tied else nn.Linear(width, TOKENS, bias=False)
        half = width // heads // 2
        angles = torch.outer(torch.arange(CONTEXT), 1e4 ** (-torch.arange(half) / half))
        angles = torch.cat((angles, angles), 1)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, tokens):
        x = self.table(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        x = self.norm(x)
        return F.linear(x, self.table.weight) if self.head is None else self.head(x)


def plain(sizes, tokens, targets):
    model = Decoder(*sizes, tied=True)

    def step():
        model.zero_grad()
        for x, y in zip(tokens.split(MICROBATCH), targets.split(MICROBATCH)):
            loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum")
            (loss / CONTEXT).backward()

    return step


def ghost(sizes, tokens, targets):
    """Norms without gradients, then a second backward pass."""
    model = GradSampleModuleFastGradientClipping(
        Decoder(*sizes, tied=False), max_grad_norm=1.0, use_ghost_clipping=True
    )
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(model.parameters(), lr=0.0),
        noise_multiplier=0.0,
        max_grad_norm=1.0,
        expected_batch_size=len(tokens),
    )
    loss = DPLossFastGradientClipping(model, optimizer, nn.CrossEntropyLoss())

    def step():
        for x, y in zip(tokens.split(MICROBATCH), targets.split(MICROBATCH)):
            optimizer.zero_grad()
            # Sequences: Opacus wants [rows * tokens, classes] and how it is cut.
            loss(model(x).flatten(0, 1), y.flatten(), shape=(x.shape[0], CONTEXT)).backward()
            optimizer.pre_step()

    return step


def measure(step, repeats):
    """Seconds, after one step that does not count."""
    times = []
    for i in range(repeats + 1):
        start = time.perf_counter()
        step()
        if i:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    warnings.filterwarnings("ignore")
    repeats = max(3, int(sys.argv[1])) if len(sys.argv) > 1 else 5
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    for name, (layers, width, heads, hidden, windows) in MODELS.items():
        if len(sys.argv) > 2 and sys.argv[2] != name:
            continue
        sizes = (layers, width, heads, hidden)
        tokens = torch.randint(0, TOKENS, (windows, CONTEXT))
        targets = torch.randint(0, TOKENS, (windows, CONTEXT))
        line = {
            "bench": "lm_peer",
            "model": name,
            "windows": windows,
            "context": CONTEXT,
            "threads": THREADS,
            "torch": torch.__version__,
            "opacus": opacus.__version__,
        }
        for key, kind in (("pytorch", plain), ("opacus", ghost)):
            seconds = measure(kind(sizes, tokens, targets), repeats)
            line[f"{key}_tokens_per_second"] = windows * CONTEXT / seconds
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
