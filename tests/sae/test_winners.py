"""The compiled selection against sorting."""

import numpy as np
import pytest
import torch

from neuroconcepts_ray.sae import winners
from neuroconcepts_ray.sae.compiled import bits, limits

DTYPES = [torch.bfloat16, torch.float32]


def pre(rows: int, n: int, dtype: torch.dtype) -> torch.Tensor:
    """Rounded, so that many are equal; a row without a positive value, one with NaN of both signs, one with ∞."""
    x = (torch.randn(rows, n, generator=torch.Generator().manual_seed(n)) * 8).round() / 8
    x[1] = -x[1].abs()
    x[2, n // 2], x[2, 0] = torch.nan, -torch.nan
    x[3, -1] = torch.inf
    return x.to(dtype)


def order(row: np.ndarray) -> np.ndarray:
    """Positive latents, descending, of equals the lowest first, NaN before all."""
    row = np.where(np.isnan(row), np.inf, row)
    return np.array([j for j in np.argsort(-row, kind="stable") if row[j] > 0], dtype=np.int64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "k"), [(1, 1), (31, 3), (32, 32), (100, 2), (500, 20)])
def test_the_k_largest_of_each_row(dtype: torch.dtype, n: int, k: int) -> None:
    x = pre(6, n, dtype)
    plain = x.float().numpy()
    latents, values = torch.zeros(6, k, dtype=torch.int32), torch.zeros(6, k, dtype=dtype)
    winners.winners(0, 6, bits(x), *limits(dtype), k, latents.numpy(), bits(values))
    for row, where, found in zip(plain, latents.numpy(), values.float().numpy(), strict=True):
        expected = np.sort(order(row)[:k])
        np.testing.assert_array_equal(where[: len(expected)], expected)
        np.testing.assert_array_equal(found[: len(expected)], row[expected])
        assert not found[len(expected) :].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [31, 100])
def test_all_that_reach_a_floor(dtype: torch.dtype, n: int) -> None:
    x = pre(6, n, dtype)
    plain = x.float().numpy()
    low, infinity = limits(dtype)
    peak = np.zeros((6, -(-n // winners.CHUNK)), low.dtype)
    winners.peaks(0, 6, bits(x), low, infinity, peak)
    floor = bits(torch.tensor([0.5], dtype=dtype))[0]
    counts = np.zeros(6, np.int64)
    latents, values = winners.reaching(0, 6, bits(x), peak, floor, counts)
    rows, columns = np.nonzero((plain >= 0.5) | np.isnan(plain))
    np.testing.assert_array_equal(counts, np.bincount(rows, minlength=6))
    np.testing.assert_array_equal(latents, columns)
    np.testing.assert_array_equal(torch.from_numpy(values).view(dtype).float().numpy(), plain[rows, columns])


def test_the_kth_largest_is_that_of_sorting() -> None:
    a = np.random.default_rng(0).integers(0, 50, 70).astype(np.int16)
    for k in range(1, 71):
        assert winners.kth(a, k, np.int16(0), np.int16(32767)) == np.sort(a)[-k]
    assert winners.kth(a, 71, np.int16(1), np.int16(32767)) == 1
