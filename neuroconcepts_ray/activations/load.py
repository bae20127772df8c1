"""What a CPU task does before the model: the pixels of a shard, packed or decoded. Without torch."""

from typing import Any

from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.lake.shards import Shard
from neuroconcepts_ray.pixels.load import decode_shard
from neuroconcepts_ray.pixels.packed import load_packed


def load(shard: Shard, spec: dict[str, Any]) -> Block:
    """The films of a shard as uint8 [m, c, s, s]; those that will never decode are set aside.

    Args:
        shard: The shard.
        spec: See :func:`decode_shard` and, where it has ``packed``, :func:`load_packed`; both give the same.
    """
    return (load_packed if spec.get("packed") else decode_shard)(shard, spec, "activations")
