"""What every trainer of `make bench-sae` shares, ours and the peers': data, one clock, one scorer, one conversation.

Runs under the project's Python and the peers' alike, and imports neither. A trainer is a process that reads one task a
line (JSON) and answers one line; what the libraries print goes to stderr.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

UNTIMED = 2
"""Steps before the clock starts: construction, lazy imports, first calls."""
FOUND = 0.9
"""|cos| from which a planted atom counts as found."""


@dataclass
class Task:
    """One training.

    Attributes:
        folder: Where train.npy [m, d], order.npy [steps, b], held.npy [h, d] and perhaps atoms.npy [a, d] and
            begin.npy [n, d] (unit rows) are.
        n: Latents.
        k: Latents that fire.
        settings: "own" (as each library recommends) or "equal" (one learning rate, no warm-up, one beginning).
        lr: The learning rate of equal settings.
        seed: Of the initial weights.
        score: Whether to measure quality; otherwise only speed counts.
        options: What one trainer alone understands, such as its precision.
    """

    folder: str
    n: int
    k: int
    settings: str = "own"
    lr: float = 3e-3
    seed: int = 0
    score: bool = True
    options: dict[str, Any] = field(default_factory=dict)

    def read(self, name: str) -> Tensor | None:
        path = Path(self.folder) / f"{name}.npy"
        return torch.from_numpy(np.load(path)) if path.exists() else None


@dataclass
class Clock:
    """From the moment that the batch after the untimed ones is asked for until the trainer has done its last step."""

    asked: int = 0
    began: float = 0.0
    ended: float = 0.0

    def batch(self) -> None:
        if self.asked == UNTIMED:
            self.began = time.perf_counter()
        self.asked += 1

    def stop(self) -> None:
        self.ended = time.perf_counter()

    def rate(self, rows: int) -> float:
        """Samples a second after the untimed steps."""
        return (self.asked - UNTIMED) * rows / (self.ended - self.began)


@dataclass
class Data:
    """Rows and the order they are trained in."""

    task: Task
    x: Tensor
    order: Tensor
    clock: Clock

    @property
    def steps(self) -> int:
        return len(self.order)

    @property
    def batch(self) -> int:
        return self.order.shape[1]

    def batches(self) -> Iterator[Tensor]:
        for numbers in self.order:
            self.clock.batch()
            yield self.x[numbers]


@dataclass
class Fitted:
    """What a training leaves: (x̂, dense codes) of inputs, and its directions, one row a latent."""

    reconstruct: Callable[[Tensor], tuple[Tensor, Tensor]]
    directions: Tensor


Trainer = Callable[[Data], Fitted]


@torch.no_grad()
def score(fitted: Fitted, held: Tensor, atoms: Tensor | None) -> dict[str, float]:
    """Held-out FVU (ratio of sums, about the held-out mean, in float64), L0, share that never fires; atoms found."""
    left, l0, alive = 0.0, 0.0, torch.zeros(len(fitted.directions), dtype=torch.bool)
    for x in held.split(2048):
        x_hat, z = fitted.reconstruct(x)
        left += float((x.double() - x_hat.double()).square().sum())
        l0 += float((z != 0).sum())
        alive |= (z != 0).any(dim=0)
    wide = held.double()
    found = {
        "fvu": left / float((wide - wide.mean(dim=0)).square().sum()),
        "l0": l0 / len(held),
        "silent": float(1 - alive.float().mean()),
    }
    if atoms is not None:
        unit = torch.nn.functional.normalize(fitted.directions.float(), dim=1)
        found["found"] = float(((atoms @ unit.T).abs().amax(dim=1) >= FOUND).float().mean())
    return found


def run(trainer: Trainer, task: Task) -> dict[str, float]:
    x, order = task.read("train"), task.read("order")
    if x is None or order is None:
        raise SystemExit(f"no data in {task.folder}")
    torch.manual_seed(task.seed)
    clock = Clock()
    data = Data(task, x, order.long(), clock)
    fitted = trainer(data)
    result = {"samples_per_s": clock.rate(data.batch)}
    held = task.read("held")
    return result | (score(fitted, held, task.read("atoms")) if task.score and held is not None else {})


def serve(trainer: Trainer, version: str) -> None:
    """Answer tasks until there are none."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(int(os.environ.get("SAE_THREADS", "2")))
    answers.write(json.dumps({"version": version, "torch": torch.__version__}) + "\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(run(trainer, Task(**json.loads(line)))) + "\n")
        answers.flush()
