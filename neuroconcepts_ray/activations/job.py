"""This stage on Ray: CPU tasks decode shards, actors with the classifier infer and write them."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from neuroconcepts_ray.activations.config import ActivationsConfig, plan
from neuroconcepts_ray.activations.extract import check_finite, extract, spread
from neuroconcepts_ray.activations.load import load, open_manifest
from neuroconcepts_ray.activations.tables import activations_table
from neuroconcepts_ray.catalog.tables import load_catalog, load_sources
from neuroconcepts_ray.classifier.model import load_classifier
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.profile import numeric_profile
from neuroconcepts_ray.distributed.shards import map_shards
from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Receipt
from neuroconcepts_ray.lake.recipe import plan_from_json, plan_to_json
from neuroconcepts_ray.lake.shards import Row, Shard, cut
from neuroconcepts_ray.lake.table import to_parquet


class Miner:
    """Holds the classifier; infers a shard, writes one part a tap and commits their receipts."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.config = validate(ActivationsConfig, spec["config"])
        self.lake = Lake.open(spec["lake"], spec["phi"])
        self.plans = {tap: plan_from_json(data) for tap, data in spec["plans"].items()}
        self.dtype = str(spec["dtype"])
        self.model = load_classifier(self.lake, open_manifest(self.lake, tuple(spec["classifier"])), spec["device"])
        self.profile = numeric_profile(dtype=self.dtype, device=spec["device"], libraries=("timm", "pillow"))
        if spec["device"] == "cuda":
            torch.backends.cudnn.deterministic = True

    def __call__(self, shard: Shard, block: Block) -> None:
        """Infer the shard and write it once for each tap that has no receipt for these rows."""
        keys = {tap: _cut(shard.rows, plan.recipe.digest, 0, len(shard.rows)).key for tap, plan in self.plans.items()}
        wanted = {tap: key for tap, key in keys.items() if self.lake.receipt(self.plans[tap], key) is None}
        if not wanted:
            return
        start = time.perf_counter()
        found = extract(
            self.model,
            spread(block.array, block.kept, len(shard.rows)),
            list(wanted),
            batch_size=self.config.batch_size,
            dtype=self.dtype,
            reduction=self.config.reduction,
            tokens=self.config.tokens,
        )
        seconds = {**block.seconds, "infer": time.perf_counter() - start}
        image_ids = [shard.rows[number].image_id for number in block.kept]
        for tap, key in wanted.items():
            start = time.perf_counter()
            x = found[tap][block.kept]
            check_finite(tap, image_ids, x)
            data = to_parquet(activations_table(image_ids, x))
            part = self.lake.put_part(self.plans[tap], f"{key}.parquet", data, rows=len(image_ids))
            receipt = Receipt(
                shard=key,
                part=part,
                quarantined=block.quarantined,
                profile=self.profile,
                seconds={**seconds, "write": time.perf_counter() - start},
            )
            self.lake.commit_receipt(self.plans[tap], receipt)


def _cut(rows: list[Row], recipe: str, bytes_per_row: int, max_rows: int) -> Shard:
    """The one shard that these rows are under another recipe."""
    (only,) = cut(rows, recipe, bytes_per_row, max_rows)
    return only


def run(
    config: ActivationsConfig, have: Mapping[str, Manifest], lake: Lake, compute: ComputeConfig, root: str
) -> dict[str, Manifest]:
    """Mine every tap that is not there yet, in one pass.

    Args:
        config: Taps and arithmetic.
        have: ``catalog`` and ``classifier``.
        lake: Where the artifacts go.
        compute: Machines.
        root: The archive's root.

    Returns:
        ``{"activations.<tap>": manifest}`` for every tap.
    """
    plans = plan(config, have)
    found = {name: lake.find(mine) for name, mine in plans.items()}
    missing = {name.removeprefix("activations."): mine for name, mine in plans.items() if found[name] is None}
    done = {name: manifest for name, manifest in found.items() if manifest is not None}
    if not missing:
        return done

    # Built here once, so that a wrong tap is an error before anything is started.
    model = load_classifier(lake, have["classifier"])
    pixels = model.card.pixels
    shape = (1, pixels.channels, pixels.size, pixels.size)
    black = np.zeros(shape, dtype=np.uint8)
    probe = extract(
        model, black, list(missing), batch_size=1, dtype="float32", reduction=config.reduction, tokens=config.tokens
    )

    catalog = load_catalog(lake, have["catalog"])
    sources = load_sources(lake, have["catalog"])
    rows = [Row(image_id=str(image), source=sources[str(image)].sha256) for image in catalog.image_ids]
    shards = {
        tap: [
            shard
            for part in catalog.partitions
            for shard in cut(rows[part], mine.recipe.digest, int(np.prod(shape)), config.shard_rows)
        ]
        for tap, mine in missing.items()
    }
    receipts = {tap: lake.done_shards(mine) for tap, mine in missing.items()}
    lead = next(iter(missing))
    todo = [
        shard
        for number, shard in enumerate(shards[lead])
        if any(shards[tap][number].key not in receipts[tap] for tap in missing)
    ]
    map_shards(
        todo,
        worker=Miner,
        load=load,
        compute=compute,
        threads=config.threads,
        label="activations",
        spec={
            "config": config.model_dump(mode="json"),
            "dtype": missing[lead].recipe.config["dtype"],
            "plans": {tap: plan_to_json(mine) for tap, mine in missing.items()},
            "lake": lake.store.uri,
            "phi": lake.phi.uri,
            "catalog": _name(have["catalog"]),
            "classifier": _name(have["classifier"]),
            "pixels": pixels.model_dump(),
            "root": root,
            "device": compute.device,
        },
    )
    for tap, mine in missing.items():
        facts = {"tap": tap, "d": int(probe[tap].shape[1])}
        if "reduction" in mine.recipe.config:
            facts |= {"reduction": config.reduction, "tokens": config.tokens}
        done[f"activations.{tap}"] = assemble(
            lake,
            mine,
            f"activations.{tap}",
            shards[tap],
            facts=facts,
            max_bad_fraction=compute.max_bad_fraction,
            tolerant=compute.tolerant,
        )
    return {name: done[name] for name in plans}


def _name(manifest: Manifest) -> list[str]:
    return [manifest.kind, manifest.recipe, manifest.artifact]
