"""Postings keep the codes exactly, in the same bytes, and refuse what is not theirs."""

import numpy as np
import pytest
from scipy import sparse

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.retrieval.postings import Postings, build


@pytest.fixture(scope="module")
def codes() -> sparse.csr_array:
    rng = np.random.default_rng(0)
    return sparse.random_array((300, 80), density=0.1, rng=rng, format="csr", dtype=np.float32)


def test_two_builds_have_equal_bytes_whatever_the_order_of_storage(codes: sparse.csr_array) -> None:
    shuffled = sparse.csr_array(codes.tocsc().tocoo())
    shuffled.indices = shuffled.indices.copy()
    assert build(codes) == build(codes) == build(shuffled)


def test_codes_come_back_exactly(codes: sparse.csr_array) -> None:
    opened = Postings.open(build(codes), rows=300, n=80)
    assert (opened.codes() != codes).nnz == 0
    for j in (0, 17, 79):
        ids, values = opened.posting(j)
        np.testing.assert_array_equal(ids, np.flatnonzero(codes[:, [j]].toarray()[:, 0]))
        np.testing.assert_array_equal(values, codes[ids][:, [j]].toarray()[:, 0])


def test_a_space_of_silent_neurons_is_an_empty_index() -> None:
    opened = Postings.open(build(sparse.csr_array((5, 4), dtype=np.float32)), rows=5, n=4)
    assert opened.codes().nnz == 0
    assert len(opened.strongest(2, 20)[0]) == 0


@pytest.mark.parametrize("kept", [slice(0), slice(-7), slice(900), slice(1, None)])
def test_damaged_files_are_refused(codes: sparse.csr_array, kept: slice) -> None:
    with pytest.raises(InputError, match="not a FAISS index"):
        Postings.open(build(codes)[kept], rows=300, n=80)


def test_postings_of_another_space_or_archive_are_refused(codes: sparse.csr_array) -> None:
    with pytest.raises(InputError, match="another space"):
        Postings.open(build(codes), rows=300, n=81)
    with pytest.raises(InputError, match="does not have"):
        Postings.open(build(codes), rows=200, n=80)


def test_a_foreign_faiss_index_is_refused() -> None:
    faiss = pytest.importorskip("faiss")
    data = faiss.serialize_index(faiss.IndexFlatIP(4)).tobytes()
    with pytest.raises(InputError, match="holds no postings"):
        Postings.open(data, rows=0, n=0)
