"""Rows on disk are the rows in memory, bit by bit, and hold no more than their budget."""

from itertools import islice

import numpy as np
import pytest
import torch

from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.sae.begin import begin
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.data import Resident, batches
from neuroconcepts_ray.sae.fit import Member, fit
from neuroconcepts_ray.sae.spool import Spooled


def both(rows: int = 700, d: int = 12) -> tuple[Resident, Spooled]:
    x = np.random.default_rng(0).standard_normal((rows, d), dtype=np.float32)
    return Resident(torch.from_numpy(x)), Spooled(np.array_split(x, 5), rows, d, rows * d * 4 // 5)


@pytest.mark.parametrize("start", [0, 9])
def test_batches_are_those_of_rows_in_memory(start: int) -> None:
    resident, spooled = both()
    one, other = (list(islice(rows.batches(batches(700, 64, 3, start)), 25)) for rows in (resident, spooled))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_training_gives_the_same_bytes_and_history_from_disk() -> None:
    config = SAEConfig(latents=32, k=3, steps=25, batch_size=64, warmup=5, threads=1)
    members = []
    for rows in both():
        member = Member(config, begin(rows, config))
        fit(rows, [member], lambda *_: None)
        members.append(member)
    one, other = members
    assert all(torch.equal(t, other.state.tensors()[name]) for name, t in one.state.tensors().items())
    assert one.history == other.history
    assert one.history["steps"] == list(range(1, 26))


def test_a_disk_without_room_is_refused_before_anything_is_written() -> None:
    with pytest.raises(EnvironmentFault, match="room"):
        Spooled([], 10**13, 1024, 10**6)
