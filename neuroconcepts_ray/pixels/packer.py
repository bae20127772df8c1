"""The actor of packing: writes what a load task decoded, and commits its receipt."""

import time
from importlib.metadata import version
from typing import Any

from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Receipt
from neuroconcepts_ray.lake.recipe import plan_from_json
from neuroconcepts_ray.lake.shards import Shard
from neuroconcepts_ray.pixels.tables import to_part


class Packer:
    """Writes one part a shard, below the PHI root: films are pictures of patients, and may have text burned in."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.lake = Lake.open(spec["lake"], spec["phi"])
        self.plan = plan_from_json(spec["plan"])
        self.profile = {"pillow": version("pillow")}

    def __call__(self, shard: Shard, block: Block) -> dict[str, float]:
        """Write the shard, unless another attempt has; seconds by step."""
        if self.lake.receipt(self.plan, shard.key) is not None:
            return block.seconds
        start = time.perf_counter()
        image_ids = [shard.rows[number].image_id for number in block.kept]
        data = to_part(image_ids, block.array)
        part = self.lake.put_part(self.plan, f"{shard.key}.parquet", data, rows=len(image_ids), root="phi")
        seconds = {**block.seconds, "write": time.perf_counter() - start}
        receipt = Receipt(
            shard=shard.key, part=part, quarantined=block.quarantined, profile=self.profile, seconds=seconds
        )
        self.lake.commit_receipt(self.plan, receipt)
        return seconds
