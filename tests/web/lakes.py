"""A lake with a published index of the naive model's archive, cut into segments."""

from pathlib import Path

import numpy as np

from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.retrieval import changes
from neuroconcepts_ray.retrieval.ranking import Statistics
from neuroconcepts_ray.retrieval.snapshot import Snapshot, commit_snapshot
from tests.retrieval.model import Archive


def open_lake(folder: Path) -> Lake:
    return Lake.open(str(folder / "lake"), str(folder / "phi"))


def put(lake: Lake, a: Archive, cuts: tuple[int, ...] = (), name: str = "first", *, publish: bool = True) -> Manifest:
    """A base over an archive; `cache` beside the lake."""
    edges = [0, *cuts, len(a.dense)]
    drafts = [a.some(list(range(x, y))).draft(f"{name}{x}") for x, y in zip(edges, edges[1:], strict=False)]
    plan = Plan(Recipe("index", 2, {}), {"catalog": name, "codes": f"codes of {name}"})
    frequency = (a.dense != 0).sum(axis=0).astype(np.int64)
    snapshot = Snapshot(
        tuple((draft.key, draft.rows) for draft in drafts), {}, Statistics(len(a.dense), frequency)
    )
    parts = [part for draft in drafts for part in draft.put(lake, plan)]
    base = commit_snapshot(lake, plan, "index.latents", snapshot, parts, {"codes": "recipe"})
    if publish:
        changes.publish(lake, base, cache(lake))
    return base


def cache(lake: Lake) -> Path:
    """A folder beside the lake."""
    return Path(lake.store.uri).parent / "cache"
