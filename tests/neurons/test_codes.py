"""Codes of units and latents, their statistics and their tables, against brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.table import from_parquet, to_parquet
from neuroconcepts_ray.neurons.encode import encode_latents, encode_units
from neuroconcepts_ray.neurons.normalisation import Normalisation
from neuroconcepts_ray.neurons.statistics import statistics
from neuroconcepts_ray.neurons.tables import (
    codes_of,
    codes_table,
    neurons_table,
    read_normalisation,
    write_normalisation,
)
from neuroconcepts_ray.sae.activation import TopK
from neuroconcepts_ray.sae.model import SAE


def activations(rows: int = 40, d: int = 12, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((rows, d)) * np.arange(1, d + 1) + 3).astype(np.float32)
    x[:, 4] = 2.5  # a unit that never varies
    return x


def test_units_keep_the_largest_positive_z_scores_and_a_constant_unit_never_fires() -> None:
    x = activations()
    codes = encode_units(Normalisation.of(x), x, top=5).toarray()
    std = x.std(axis=0)
    z = np.divide(x - x.mean(axis=0), std, out=np.zeros_like(x), where=std > 1e-5)
    for row, expected in zip(codes, z, strict=True):
        best = [j for j in sorted(range(12), key=lambda j: -expected[j])[:5] if expected[j] > 0]
        assert np.flatnonzero(row).tolist() == sorted(best)
        np.testing.assert_allclose(row[best], expected[best], rtol=1e-4)
    assert not codes[:, 4].any()


def test_the_scale_of_a_unit_does_not_decide_whether_it_fires() -> None:
    x = activations()
    scaled = (x * np.geomspace(1e-3, 1e3, 12)).astype(np.float32)
    one, other = (encode_units(Normalisation.of(v), v, top=3).toarray() for v in (x, scaled))
    np.testing.assert_array_equal(one > 0, other > 0)
    np.testing.assert_allclose(one, other, rtol=1e-3)


def test_no_image_to_normalise_by_is_an_error() -> None:
    with pytest.raises(InputError, match="first partition"):
        Normalisation.of(activations(0))


def test_latents_are_the_saes_own_codes_whatever_the_batch() -> None:
    torch.manual_seed(0)
    sae = SAE(torch.randn(30, 12), torch.randn(30), torch.randn(30, 12), torch.randn(12), TopK(4))
    x = activations()
    x.flags.writeable = False  # as it comes out of Ray
    expected = sae.encode_dense(torch.tensor(x)).numpy()
    for batch_size in (1, 7, 100):
        codes = encode_latents(sae, x, batch_size)
        assert codes.shape == (40, 30)
        np.testing.assert_allclose(codes.toarray(), expected, rtol=1e-5, atol=1e-5)


@given(st.integers(0, 1000), st.integers(0, 5), st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_codes_survive_their_tables(seed: int, rows: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    dense = (rng.random((rows, n)) * (rng.random((rows, n)) < 0.4)).astype(np.float32)
    ids = [f"i{number}" for number in range(rows)]
    table = from_parquet(to_parquet(codes_table(ids, csr_array(dense))))
    assert [str(field.type) for field in table.schema] == ["string", "list<element: uint32>", "list<element: float>"]
    assert all(row == sorted(row) for row in table["neurons"].to_pylist())
    again = codes_of([table, table], n)
    assert again.image_ids.tolist() == ids * 2
    assert again.matrix.dtype == np.float32
    np.testing.assert_array_equal(again.matrix.toarray(), np.concatenate([dense, dense]))


def test_equal_codes_give_equal_bytes() -> None:
    dense = encode_units(Normalisation.of(activations()), activations(), top=4)
    ids = [f"i{number}" for number in range(40)]
    assert to_parquet(codes_table(ids, dense)) == to_parquet(codes_table(ids, csr_array(dense.toarray())))


def test_statistics_equal_brute_force_and_ties_go_by_image_id() -> None:
    rng = np.random.default_rng(5)
    dense = rng.integers(0, 4, (60, 7)).astype(np.float32) * (rng.random((60, 7)) < 0.5)
    dense[:, 6] = 0
    ids = np.array([f"i{number:02d}" for number in rng.permutation(60)])
    counted, shown = rng.random(60) < 0.8, rng.random(60) < 0.4
    got = statistics(csr_array(dense), ids, counted, shown, top=5)
    for j in range(7):
        firing = [v for v, c in zip(dense[:, j], counted, strict=True) if c and v > 0]
        assert got.density[j] == pytest.approx(len(firing) / counted.sum())
        assert got.mean[j] == pytest.approx(np.mean(firing) if firing else 0)
        assert got.max[j] == max(firing, default=0)
        pairs = [(-v, i) for v, i, s in zip(dense[:, j], ids.tolist(), shown, strict=True) if s and v > 0]
        assert list(zip(got.top_images[j], got.top_values[j], strict=True)) == [(i, -v) for v, i in sorted(pairs)[:5]]
    table = from_parquet(to_parquet(neurons_table(got)))
    assert table.column_names == ["neuron", "density", "mean", "max", "top_images", "top_values"]
    assert table["top_images"].to_pylist() == got.top_images


def test_a_normalisation_survives_its_file() -> None:
    one = Normalisation.of(activations())
    other = read_normalisation(write_normalisation(one))
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.std, other.std)
