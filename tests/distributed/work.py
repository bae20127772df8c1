"""Loads, workers and loops for the tests of the engine; module level, so that Ray's workers find them by name."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.distributed.train import Save, State, World
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Receipt
from neuroconcepts_ray.lake.recipe import plan_from_json
from neuroconcepts_ray.lake.shards import Shard


def load(shard: Shard, spec: dict[str, Any]) -> Block:
    if shard.rows[0].image_id in spec.get("unreadable", ()):
        raise TimeoutError(110, "Connection timed out", "/secret/patient/path")
    if shard.rows[0].image_id in spec.get("changed", ()):
        raise InputError("a source changed", where=shard.rows[0].image_id)
    numbers = [int(row.image_id[1:]) for row in shard.rows]
    return Block(np.array(numbers, dtype=np.int64), list(range(len(numbers))))


class Doubler:
    """Writes twice the numbers of a shard; may kill its process the first times it meets an image."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.lake = Lake.open(spec["lake"], spec["phi"])
        self.plan = plan_from_json(spec["plan"])

    def __call__(self, shard: Shard, block: Block) -> None:
        deadly = self.spec.get("deadly", {}).get(shard.rows[0].image_id, 0)
        marks = Path(self.spec["lake"]) / "marks"
        marks.mkdir(exist_ok=True)
        before = len(list(marks.glob(f"{shard.key}-*")))
        if before < deadly:
            (marks / f"{shard.key}-{before}").touch()
            os._exit(9)
        data = (block.array * 2).tobytes()
        part = self.lake.put_part(self.plan, f"{shard.key}.bin", data, rows=len(block.array))
        self.lake.commit_receipt(self.plan, Receipt(shard=shard.key, part=part))


def count(spec: dict[str, Any], world: World, resume: State | None, save: Save) -> None:
    """Counts to spec["to"]; rank spec["rank"] dies once at spec["dies_at"], raises at spec["raises_at"]."""
    mine = world.rank == spec.get("rank", 0)
    x = resume.tensors["x"] if resume else torch.full((2,), spec.get("apart", 0.0) * world.rank)
    start = resume.meta["step"] if resume else 0
    trail = resume.meta["trail"] if resume else []
    for step in range(start, spec["to"]):
        if step == spec.get("raises_at") and mine:
            with (Path(spec["folder"]) / "tries").open("a") as tries:
                tries.write("x")
            raise ConfigError("no such backbone", value="resnet19")
        if step == spec.get("dies_at") and mine and not Path(spec["mark"]).exists():
            Path(spec["mark"]).touch()
            time.sleep(1)
            os._exit(9)
        x = x + world.size
        trail = [*trail, step]
        save(State({"x": x}, {"step": step + 1, "trail": trail}), {"step": step + 1})
