"""One training step of Opacus beside ours: ghost clipping, hooks, and plain PyTorch.

    python opacus_peer.py [REPEATS]

The three networks, the batch of 256 rows and the two threads are those of `dp_step.rs` in
`agency-node/torch/examples`. A private step is forward, backward and clipping: everything before
noise and the update of the weights. Prints one JSON object a line.
"""

import json
import statistics
import sys
import time
import warnings

import opacus
import torch
from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (
    GradSampleModuleFastGradientClipping,
)
from opacus.optimizers import DPOptimizer
from opacus.optimizers.optimizer_fast_gradient_clipping import (
    DPOptimizerFastGradientClipping,
)
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import nn

BATCH = 256
THREADS = 2
CLIP = 1.0


class Embedding(nn.Module):
    """Tokens, normalisation, a feed-forward part, the mean over positions."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10_000, 128)
        self.norm1 = nn.LayerNorm(128)
        self.up = nn.Linear(128, 512)
        self.down = nn.Linear(512, 128)
        self.norm2 = nn.LayerNorm(128)
        self.head = nn.Linear(128, 10)

    def forward(self, tokens):
        hidden = torch.relu(self.up(self.norm1(self.table(tokens))))
        return self.head(self.norm2(self.down(hidden)).mean(dim=1))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=8, stride=2, padding=3),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2, stride=1),
        nn.Conv2d(16, 32, kernel_size=4, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2, stride=1),
        nn.Flatten(),
        nn.Linear(512, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def mlp():
    return nn.Sequential(
        nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)
    )


MODELS = {
    "cnn": (cnn, lambda: torch.randn(BATCH, 1, 28, 28)),
    "mlp": (mlp, lambda: torch.randn(BATCH, 784)),
    "embedding": (Embedding, lambda: torch.randint(0, 10_000, (BATCH, 32))),
}


def plain(model, rows, labels):
    loss = nn.CrossEntropyLoss(reduction="sum")

    def step():
        model.zero_grad()
        loss(model(rows), labels).backward()

    return step


def hooks(model, rows, labels):
    """Per-record gradients by hooks, then clipped."""
    model = GradSampleModule(model)
    optimizer = DPOptimizer(
        torch.optim.SGD(model.parameters(), lr=0.0),
        noise_multiplier=0.0,
        max_grad_norm=CLIP,
        expected_batch_size=BATCH,
    )
    loss = nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        loss(model(rows), labels).backward()
        optimizer.pre_step()

    return step


def ghost(model, rows, labels):
    """Norms without gradients, then a second backward pass."""
    model = GradSampleModuleFastGradientClipping(
        model, max_grad_norm=CLIP, use_ghost_clipping=True
    )
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(model.parameters(), lr=0.0),
        noise_multiplier=0.0,
        max_grad_norm=CLIP,
        expected_batch_size=BATCH,
    )
    loss = DPLossFastGradientClipping(model, optimizer, nn.CrossEntropyLoss())

    def step():
        optimizer.zero_grad()
        loss(model(rows), labels).backward()
        optimizer.pre_step()

    return step


def measure(step, repeats):
    """Milliseconds, after two steps that do not count."""
    times = []
    for i in range(repeats + 2):
        start = time.perf_counter()
        step()
        if i >= 2:
            times.append((time.perf_counter() - start) * 1e3)
    return {
        "median": statistics.median(times),
        "min": min(times),
        "max": max(times),
        "n": len(times),
    }


def main():
    warnings.filterwarnings("ignore")
    repeats = max(7, int(sys.argv[1])) if len(sys.argv) > 1 else 9
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    for name, (make, inputs) in MODELS.items():
        rows, labels = inputs(), torch.randint(0, 10, (BATCH,))
        line = {
            "bench": "opacus_step",
            "model": name,
            "parameters": sum(p.numel() for p in make().parameters()),
            "batch": BATCH,
            "threads": THREADS,
            "torch": torch.__version__,
            "opacus": opacus.__version__,
        }
        for kind in (plain, ghost, hooks):
            line[f"{kind.__name__}_ms"] = measure(kind(make(), rows, labels), repeats)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
