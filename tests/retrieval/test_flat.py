"""The flat index gives the nearest vectors exactly, whatever filters leave, and refuses files that are not its own."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.retrieval import flat, postings
from neuroconcepts_ray.retrieval.flat import Flat
from tests.retrieval.model import archive


def vectors(seed: int, m: int = 200, n: int = 12) -> np.ndarray:
    """Signed whole vectors, some of them twice, so that ties abound."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, (m, n)).astype(np.float32)
    x[m // 2 : m // 2 + 40] = x[:40]
    x[3] = 0
    return x


def naive(x: np.ndarray, query: np.ndarray, top: int, allowed: np.ndarray) -> list[int]:
    scored = []
    for row in np.flatnonzero(allowed).tolist():
        length = float(np.linalg.norm(x[row].astype(float))) * float(np.linalg.norm(query.astype(float)))
        scored.append((-round(float(x[row].astype(float) @ query) / length, 6) if length else 0.0, row))
    return [row for _, row in sorted(scored)[:top]]


@given(
    seed=st.integers(0, 50), top=st.sampled_from([1, 5, 20, 300]), share=st.sampled_from([1.0, 0.3, 0.02, 0.005, 0.0])
)
def test_the_nearest_are_those_of_a_loop_over_all_allowed_rows(seed: int, top: int, share: float) -> None:
    x = vectors(seed)
    allowed = np.random.default_rng(seed).random(len(x)) < share
    opened = Flat.open(flat.build(x), rows=len(x), n=x.shape[1])
    rows, scores = opened.search(x[7], top, allowed)
    assert rows.tolist() == naive(x, x[7], top, allowed)
    assert np.all(np.diff(scores) <= 0)
    if share == 1.0:
        everybody, _ = opened.search(x[7], top)
        assert everybody.tolist() == rows.tolist()


def test_a_mapped_file_answers_as_its_bytes_do_and_scores_alike_in_any_cut(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((300, 40)).astype(np.float32)
    path = tmp_path / "dense.faiss"
    path.write_bytes(flat.build(x))
    mapped, part = Flat.open(path, rows=300, n=40), Flat.open(flat.build(x[100:]), rows=200, n=40)
    np.testing.assert_array_equal(mapped.search(x[150], 30)[1], Flat.open(flat.build(x), rows=300, n=40).search(x[150], 30)[1])
    np.testing.assert_array_equal(mapped.scores(x[150])[100:], part.scores(x[150]))
    np.testing.assert_allclose(mapped.vectors, x / np.linalg.norm(x, axis=1, keepdims=True), rtol=1e-6)


def test_a_query_of_zeros_finds_nothing() -> None:
    x = vectors(0)
    rows, _ = Flat.open(flat.build(x), rows=len(x), n=x.shape[1]).search(np.zeros(x.shape[1], np.float32), 5)
    assert not len(rows)


def test_files_that_are_not_this_index_are_refused_by_what_they_are() -> None:
    data = flat.build(vectors(0))
    with pytest.raises(InputError, match="other images or another space"):
        Flat.open(data, rows=199, n=12)
    with pytest.raises(InputError, match="other images or another space"):
        Flat.open(data, rows=200, n=13)
    with pytest.raises(InputError, match="not a FAISS index"):
        Flat.open(data[:-50], rows=200, n=12)
    with pytest.raises(InputError, match="no flat vectors"):
        Flat.open(archive(0).draft().files["postings.faiss"], rows=120, n=24)
    assert postings.REDO in str(pytest.raises(InputError, Flat.open, b"nonsense of sorts", rows=1, n=1).value)
