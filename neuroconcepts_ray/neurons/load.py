"""What a CPU task does before encoding: read the activations of a shard. Without torch, so that it starts soon."""

from typing import Any

from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Part
from neuroconcepts_ray.lake.shards import Shard
from neuroconcepts_ray.lake.table import tensor_rows


def load(shard: Shard, spec: dict[str, Any]) -> Block:
    """The activations of a shard."""
    lake = Lake.open(spec["lake"], spec["phi"])
    table = lake.table(Part(**spec["parts"][shard.key]), ["activation"])
    return Block(tensor_rows(table["activation"]), list(range(len(shard.rows))))
