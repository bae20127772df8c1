"""A training whose peak memory is measured, in a process of its own: prints the bytes that the rows added."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from neuroconcepts_ray.sae.begin import begin
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.data import Resident, Rows
from neuroconcepts_ray.sae.fit import Member, fit
from neuroconcepts_ray.sae.spool import Spooled

D, PART = 1024, 4096
CONFIG = SAEConfig(latents=1024, k=8, steps=30, batch_size=1024, threads=1, init="random")


def parts(rows: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for start in range(0, rows, PART):
        yield rng.random((min(PART, rows - start), D), dtype=np.float32)


def peak() -> int:
    """Of this program alone: getrusage's would begin at what the process that started it had."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def train(rows: Rows) -> None:
    fit(rows, [Member(CONFIG, begin(rows, CONFIG))], lambda *_: None)


if __name__ == "__main__":
    kind, rows, budget = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    train(Spooled(parts(PART), PART, D, PART * D * 4))  # what a training costs whatever its rows
    before = peak()
    if kind == "spooled":
        train(Spooled(parts(rows), rows, D, budget))
    else:
        train(Resident(torch.from_numpy(np.concatenate(list(parts(rows))))))
    print(peak() - before)
