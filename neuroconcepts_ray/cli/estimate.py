"""`plan`: what mining will take, by the receipts there are; and by a canary, 1 % of the shards mined and kept."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.activations.budget import sample
from neuroconcepts_ray.activations.estimate import Estimate, estimate, exceeded
from neuroconcepts_ray.activations.pace import pace
from neuroconcepts_ray.activations.passes import work
from neuroconcepts_ray.catalog.tombstones import check_finished
from neuroconcepts_ray.cli.units import size, span
from neuroconcepts_ray.cli.work import say
from neuroconcepts_ray.distributed.capacity import cluster_cpus
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake import leases
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.stages import stage


def plan(path: Path, overrides: list[str], *, new_only: bool, mine_canary: bool, as_json: bool) -> None:
    """Say what mining will take.

    Raises:
        InputError: There is no finished catalog or classifier yet.
    """
    line = Pipeline(pipeline.load(path, overrides), new_only=new_only)
    check_finished(line.lake)
    config, compute = line.config, line.config.compute
    outcomes = line.walk(until="train")
    for one in outcomes:
        if one.manifest is None and not one.stage.optional:
            raise InputError(
                f"what mining will take is not known before there is a {one.name}",
                remedy=f"Run `neuroconcepts {one.stage.verb}` with the same config first",
            )
    have = {one.name: one.manifest for one in outcomes if one.manifest is not None}
    found = work(config.activations, have, line.lake)
    cpus = None
    if mine_canary and any(one.canary.todo for one in found):
        mine = stage("mine")
        with leases.hold(line.lake.store, "plan"):
            mine.job().run(
                config.activations, have, line.lake, compute, root=config.catalog.root, canary=True, **mine.lent
            )
        cpus = cluster_cpus()
        found = work(config.activations, have, line.lake)
    told = [estimate(one, pace(sample(line.lake, one)), compute, config.activations.threads, cpus) for one in found]
    caps = exceeded(told, compute)
    if as_json:
        print(json.dumps({"passes": [asdict(one) for one in told], "caps": caps}, indent=1))  # noqa: T201 - the product
        return
    for each in told:
        if len(told) > 1:
            say(f"{each.of}:")
        for said in lines(each):
            say(said)
    if all(each.receipts for each in told) and len(told) > 1:
        say(total(told))
    for cap in caps:
        say(f"compute.{cap} {getattr(compute, cap)} would be exceeded: `mine` and `run` refuse to start.")


def total(told: Sequence[Estimate]) -> str:
    """What all passes take together.

    Args:
        told: The estimates.
    """
    written = size(sum(sum(each.bytes.values()) for each in told))
    hours = (sum(each.cpu_hours or 0 for each in told), sum(each.wall_hours or 0 for each in told))
    return f"together: {written}, {span(3600 * hours[0])} of one CPU, {span(3600 * hours[1])} of wall time"


def lines(told: Estimate) -> list[str]:
    """What people are told of a pass.

    Args:
        told: The estimate.
    """
    said = [
        f"images      {told.images:,}, of which {told.images_to_do:,} are to be mined",
        f"shards      {told.shards:,}: {told.shards_done:,} done, {told.shards_to_do:,} to do",
    ]
    if not told.shards_to_do:
        return [*said, "Nothing to do: everything is mined already."]
    if not told.receipts:
        return [*said, "No shard is finished yet, so nothing says what one takes: run `plan` with its canary."]
    said += [f"bytes       {size(count)}  {name}" for name, count in told.bytes.items()]
    return [
        *said,
        f"CPU         {span(3600 * (told.cpu_hours or 0))} of one CPU",
        *([] if told.gpu_hours is None else [f"GPU         {span(3600 * told.gpu_hours)} of one GPU"]),
        f"wall time   {span(3600 * (told.wall_hours or 0))} with {told.actors} actors on {told.cpus:g} CPUs",
        f"ms an image {', '.join(f'{step} {1e3 * spent:.1f}' for step, spent in told.seconds.items())}",
        f"bottleneck  {told.bottleneck}",
        f"All of it by {told.receipts:,} receipts.",
    ]
