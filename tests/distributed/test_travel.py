"""Shards and blocks come out of a journey as they went in."""

import numpy as np
import pytest

from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.distributed.travel import from_text, pack, refusal, to_text, unpack
from neuroconcepts_ray.lake.manifest import Quarantined
from neuroconcepts_ray.lake.shards import Row, Shard, Slip, Start

SHARD = Shard("k", [Row("i0", "s0"), Row("erased.0000.1", ""), Row("i2", "s2")], Start(1, 40, 39))


@pytest.mark.parametrize("one", [SHARD, Shard("k", []), Slip("k", 3, 2, Start(0, 8, 7))])
def test_shards_and_slips_cross_as_text(one: Shard | Slip) -> None:
    assert from_text(to_text(one)) == one


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (0, 1, 4, 4), (2,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_block_crosses_whole_and_is_not_copied(shape: tuple[int, ...], dtype: type) -> None:
    array = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    bad = Quarantined(image_id="i2", stage="activations", cause="truncated")
    table = pack(SHARD, Block(array, [0, 2][: len(array)], [bad], {"read": 0.5}))
    shard, block = unpack(table, 0)
    assert shard == SHARD
    np.testing.assert_array_equal(block.array, array)
    assert (block.array.dtype, block.kept, block.seconds) == (array.dtype, [0, 2][: len(array)], {"read": 0.5})
    assert block.quarantined == [bad]
    assert array.size == 0 or np.shares_memory(block.array, array)


def test_a_refusal_has_the_same_columns() -> None:
    assert refusal("{}", "why").schema == pack(SHARD, Block(np.zeros(1), [0])).schema


def test_rows_that_are_masked_keep_their_places() -> None:
    masked = SHARD.without([2])
    assert (masked.live, masked.size, masked.key, SHARD.live) == ([0], 3, "k", [0, 2])
