import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from neuroconcepts_ray.pixels.tables import of_part, to_part


@pytest.mark.parametrize("shape", [(3, 1, 8, 8), (2, 3, 5, 5), (0, 1, 8, 8)])
def test_a_part_gives_back_what_was_written_and_is_the_same_bytes_again(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    names = [f"i{number}" for number in range(shape[0])]
    data = to_part(names, x)
    image_ids, pixels = of_part(data)
    assert image_ids == names
    assert (pixels.shape, pixels.tobytes()) == (x.shape, x.tobytes())
    assert to_part(names, pixels) == data


def test_a_part_is_read_without_us() -> None:
    x = np.random.default_rng(1).integers(0, 256, (2, 1, 4, 4), dtype=np.uint8)
    table = pq.read_table(io.BytesIO(to_part(["a", "b"], x)))
    shape = json.loads(table.schema.metadata[b"shape"])
    rows = [np.frombuffer(row["pixels"], np.uint8).reshape(shape) for row in table.to_pylist()]
    np.testing.assert_array_equal(np.stack(rows), x)


def test_a_part_is_little_larger_than_its_pixels() -> None:
    x = np.random.default_rng(2).integers(0, 256, (64, 1, 64, 64), dtype=np.uint8)
    assert len(to_part([f"{number:036}" for number in range(64)], x)) < 1.05 * x.nbytes
