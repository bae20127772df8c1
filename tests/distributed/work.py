"""Loads, workers and loops for the tests of the engine; module level, so that Ray's workers find them by name."""

import os
import time
from pathlib import Path
from typing import Any

import torch

from neuroconcepts_ray.distributed.train import Save, State, World
from neuroconcepts_ray.errors import ConfigError


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
