"""The actor of mining: holds the classifier; infers a shard, writes it, commits its receipts."""

import time
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from neuroconcepts_ray.activations.config import ActivationsConfig
from neuroconcepts_ray.activations.extract import check_finite, extract, spread
from neuroconcepts_ray.activations.load import open_manifest
from neuroconcepts_ray.activations.tables import activations_table
from neuroconcepts_ray.classifier.model import load_classifier
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.distributed.profile import numeric_profile
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Receipt
from neuroconcepts_ray.lake.recipe import plan_from_json
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
        # Nothing is differentiated, but autocast keeps the rounded weights of those alone that could be.
        self.model.requires_grad_(True)
        # A wrong tap is an error at once, not at the end of the first shard.
        size = self.model.card.pixels.size
        black = np.zeros((1, self.model.card.pixels.channels, size, size), dtype=np.uint8)
        self._extract(black, list(self.plans))
        self.profile = numeric_profile(
            dtype=self.dtype, device=spec["device"], libraries=(*self.model.card.libraries, "pillow")
        )
        if spec["device"] == "cuda":
            torch.backends.cudnn.deterministic = True

    def _extract(self, images: UInt8[np.ndarray, "n c h w"], taps: list[str]) -> dict[str, Float[np.ndarray, "n _"]]:
        return extract(
            self.model,
            images,
            taps,
            batch_size=self.config.batch_size,
            dtype=self.dtype,
            reduction=self.config.reduction,
            tokens=self.config.tokens,
        )

    def __call__(self, shard: Shard, block: Block) -> None:
        """Infer the shard and write it once for each tap that has no receipt for these rows."""
        keys = {tap: _cut(shard.rows, plan.recipe.digest, 0, len(shard.rows)).key for tap, plan in self.plans.items()}
        wanted = {tap: key for tap, key in keys.items() if self.lake.receipt(self.plans[tap], key) is None}
        if not wanted:
            return
        start = time.perf_counter()
        found = self._extract(spread(block.array, block.kept, len(shard.rows)), list(wanted))
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
