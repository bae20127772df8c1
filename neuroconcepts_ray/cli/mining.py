"""How far mining is, from the lake's records alone: shards, rate, what holds it up, what was set aside and why."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from statistics import median

from neuroconcepts_ray.activations.pace import SAMPLE, bottleneck, crew, pace
from neuroconcepts_ray.activations.passes import Pass, passes
from neuroconcepts_ray.classifier.card import load_card
from neuroconcepts_ray.cli.units import span
from neuroconcepts_ray.lake import leases
from neuroconcepts_ray.lake.lake import READERS
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan
from neuroconcepts_ray.lake.store import Blob
from neuroconcepts_ray.pipeline import Outcome, Pipeline
from neuroconcepts_ray.pixels.shards import shard_sizes

VERBS = ("mine", "run", "plan")
"""Commands that mine."""

READ = 32
"""Receipts that a look reads, of all artifacts together: on S3 each takes milliseconds of a look of two seconds."""

PAUSE_S = 60.0
"""A gap between two receipts that is longer, and ten times the usual one, is a pause, and no part of the rate."""


@dataclass(frozen=True)
class Progress:
    """How far a pass is.

    Attributes:
        of: ``images`` or ``patches``.
        shards: Shards of each artifact.
        shards_done: Finished ones by artifact, among them those of films that have changed since.
        images: Images of the catalog, the places of erased ones included.
        images_done: Those of the artifact that is furthest behind.
        per_second: Images a second by the times of its newest receipts; None where they do not tell.
        running: Whether a command that mines holds a lease.
        eta_s: Seconds to the end at that rate; None where nothing is running.
        seconds: Seconds an image by step, as the newest receipts say.
        bottleneck: The step that holds up the others.
        causes: Images set aside by cause; of an unfinished artifact as far as receipts were read.
        receipts: How many of that artifact were read.
    """

    of: str
    shards: int
    shards_done: dict[str, int]
    images: int
    images_done: int
    per_second: float | None
    running: bool
    eta_s: int | None
    seconds: dict[str, float]
    bottleneck: str | None
    causes: dict[str, int]
    receipts: int


def progress(line: Pipeline, outcomes: Sequence[Outcome]) -> list[Progress]:
    """Look at the passes of a config's mining; none before there are a catalog and a classifier.

    Args:
        line: The pipeline.
        outcomes: Of a walk over it.
    """
    have = {one.name: one.manifest for one in outcomes if one.manifest is not None}
    plans = {one.name: one.plan for one in outcomes if one.stage.verb == "mine" and one.plan is not None}
    if not plans:
        return []
    pixels = load_card(line.lake, have["classifier"]).pixels
    with ThreadPoolExecutor(READERS) as pool:
        found = dict(zip(plans, pool.map(lambda plan: _receipts(line, plan), plans.values()), strict=True))

    live = leases.live(leases.leases(line.lake.store), time.time())
    running = any(held.lease.verb in VERBS for held in live)
    return [
        _far(line, one, have, {name: found[name] for name in one.plans}, max(4, READ // len(plans)), running=running)
        for one in passes(plans, pixels)
    ]


def _far(
    line: Pipeline,
    one: Pass,
    have: Mapping[str, Manifest],
    found: Mapping[str, Sequence[Blob]],
    each: int,
    *,
    running: bool,
) -> Progress:
    """How far a pass is.

    Args:
        line: The pipeline.
        one: The pass.
        have: What is finished.
        found: The receipts of each of its artifacts, oldest first.
        each: Of how many of them are read.
        running: Whether a command that mines is at work.
    """
    config = line.config.activations
    sizes = shard_sizes(have["catalog"].facts["partitions"], one.pixels, config.shard_rows)
    done = {name: len(sizes) if name in have else min(len(some), len(sizes)) for name, some in found.items()}
    behind = min(done, key=lambda name: done[name])
    read = {}
    for name in sorted(one.plans, key=lambda name: name != behind):
        keys = [PurePosixPath(blob.key).stem for blob in found[name][-each:]]
        read[name] = [receipt for receipt in line.lake.receipts(one.plans[name], keys) if receipt is not None]
    at = pace(read)
    a_shard = sum(sizes) / max(1, len(sizes))
    images_done = round(a_shard * done[behind])
    rate = per_second([blob.modified for blob in found[behind][-SAMPLE:]], a_shard)
    left = sum(sizes) - images_done
    aside = have[behind].quarantined if behind in have else [bad for some in read[behind] for bad in some.quarantined]
    return Progress(
        of="patches" if one.patched else "images",
        shards=len(sizes),
        shards_done=done,
        images=sum(sizes),
        images_done=images_done,
        per_second=rate,
        running=running,
        eta_s=round(left / rate) if left and rate and running else None,
        seconds={} if at is None else dict(at.seconds),
        bottleneck=None if at is None else bottleneck(at, crew(line.config.compute, config.threads)),
        causes=dict(Counter(bad.cause for bad in aside).most_common()),
        receipts=len(read[behind]),
    )


def _receipts(line: Pipeline, plan: Plan) -> list[Blob]:
    """The receipts of a recipe, oldest first."""
    blobs = line.lake.store.scan(f"{plan.recipe.kind}/{plan.recipe.digest}/receipts")
    return sorted((blob for blob in blobs if blob.key.endswith(".json")), key=lambda blob: blob.modified)


def per_second(times: Sequence[float], images: float) -> float | None:
    """The rate since the last pause.

    Args:
        times: When shards were finished, ascending.
        images: Images of a shard.
    """
    gaps = [later - sooner for sooner, later in pairwise(times)]
    if not gaps:
        return None
    longest = max(PAUSE_S, 10 * median(gaps))
    pauses = [number for number, gap in enumerate(gaps) if gap > longest]
    recent = gaps[pauses[-1] + 1 :] if pauses else gaps
    return round(len(recent) * images / sum(recent), 3) if sum(recent) > 0 else None


def lines(every: Sequence[Progress]) -> list[str]:
    """What people are told; nothing before the first shard is finished."""
    if not any(any(one.shards_done.values()) for one in every):
        return []
    return [said for one in every for said in _lines(one)]


def _lines(one: Progress) -> list[str]:
    behind = min(one.shards_done.values())
    mining = "mining" if one.of == "images" else f"mining {one.of}"
    said = [f"{mining}: {behind:,} of {one.shards:,} shards, {one.images_done:,} of {one.images:,} images"]
    if one.per_second is not None:
        said[0] += f", {one.per_second:,.1f} a second"
    if behind < one.shards:
        rest = f"{span(one.eta_s)} to go" if one.eta_s is not None else "running" if one.running else "not running"
        said[0] += f"; {rest}"
    if one.seconds:
        steps = ", ".join(f"{step} {1e3 * spent:.1f}" for step, spent in one.seconds.items())
        said.append(f"ms an image: {steps}; the others wait for: {one.bottleneck}")
    if one.causes and behind < one.shards:
        causes = ", ".join(f"{count:,} {cause}" for cause, count in one.causes.items())
        said.append(f"set aside so far, in the newest {one.receipts} shards: {causes}")
    return said
