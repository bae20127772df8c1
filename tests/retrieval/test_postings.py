"""Postings and forward codes keep the codes exactly, in the same bytes, and refuse what is not theirs."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.retrieval import forward, postings
from neuroconcepts_ray.retrieval.forward import Forward
from neuroconcepts_ray.retrieval.postings import Postings

M, N = 300, 80


@pytest.fixture(scope="module")
def codes() -> sparse.csr_array:
    rng = np.random.default_rng(0)
    return sparse.random_array((M, N), density=0.1, rng=rng, format="csr", dtype=np.float32)


def sizes(codes: sparse.csr_array) -> np.ndarray:
    return np.bincount(codes.tocoo().col, minlength=codes.shape[1]).astype(np.int64)


def opened(codes: sparse.csr_array, **more: object) -> Postings:
    given = {"rows": M, "sizes": sizes(codes), **more}
    return Postings.open(postings.build(codes), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("build", [postings.build, forward.build])
def test_two_builds_have_equal_bytes_whatever_the_order_of_storage(codes: sparse.csr_array, build: object) -> None:
    shuffled = sparse.csr_array(codes.tocsc().tocoo())
    assert build(codes) == build(codes) == build(shuffled)  # type: ignore[operator]


@given(seed=st.integers(0, 1000), density=st.sampled_from([0.0, 0.02, 0.5, 1.0]), mapped=st.booleans())
def test_every_list_and_every_row_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, seed: int, density: float, mapped: bool
) -> None:
    rng = np.random.default_rng(seed)
    some = sparse.random_array((37, 11), density=density, rng=rng, format="csr", dtype=np.float32)
    source: tuple[bytes | Path, bytes | Path] = (postings.build(some), forward.build(some))
    if mapped:
        folder = tmp_path_factory.mktemp("mapped")
        for name, data in zip("pf", source, strict=True):
            (folder / name).write_bytes(data)  # type: ignore[arg-type]
        source = (folder / "p", folder / "f")
    rows = Forward.open(source[1], n=11)
    lists = Postings.open(source[0], rows=37, sizes=rows.sizes)
    lists.check(rows.cuts)
    dense = some.toarray()
    for j in range(11):
        ids, values = lists.posting(j)
        np.testing.assert_array_equal(ids, np.flatnonzero(dense[:, j]))
        np.testing.assert_array_equal(values, dense[ids, j])
    for row in range(37):
        neurons, values = rows.code(row)
        np.testing.assert_array_equal(neurons, np.flatnonzero(dense[row]))
        np.testing.assert_array_equal(values, dense[row, neurons])
    np.testing.assert_allclose(rows.norms, np.linalg.norm(dense.astype(np.float64), axis=1), rtol=1e-15)
    assert (rows.matrix() != some).nnz == 0


def test_wide_spaces_keep_their_neurons_numbers() -> None:
    wide = sparse.csr_array((np.ones(2, np.float32), ([0, 1], [3, 131_071])), shape=(2, 131_072))
    rows = Forward.open(forward.build(wide), n=131_072)
    assert rows.code(1)[0].tolist() == [131_071]


@pytest.mark.parametrize("kept", [slice(0), slice(900), slice(1, None)])
def test_damaged_files_are_refused(codes: sparse.csr_array, kept: slice) -> None:
    with pytest.raises(InputError, match=r"not a FAISS index|not those of these codes"):
        Postings.open(postings.build(codes)[kept], rows=M, sizes=sizes(codes))
    with pytest.raises(InputError, match="no forward codes"):
        Forward.open(forward.build(codes)[kept], n=N)


def test_files_of_another_space_or_archive_are_refused(codes: sparse.csr_array) -> None:
    with pytest.raises(InputError, match="another space"):
        opened(codes, sizes=np.append(sizes(codes), 0))
    with pytest.raises(InputError, match="not those of these codes"):
        opened(codes, sizes=sizes(codes) + 1)
    with pytest.raises(InputError, match="does not have"):
        opened(codes, rows=200).check(Forward.open(forward.build(codes), n=N).cuts)
    with pytest.raises(InputError, match="another space"):
        Forward.open(forward.build(codes), n=N + 1)


def test_a_foreign_faiss_index_is_refused() -> None:
    faiss = pytest.importorskip("faiss")
    data = faiss.serialize_index(faiss.IndexFlatIP(4)).tobytes()
    with pytest.raises(InputError, match="holds no postings"):
        Postings.open(data, rows=0, sizes=np.zeros(0, np.int64))


@given(st.data())
def test_random_damage_never_reaches_beyond_an_input_error(data: st.DataObject) -> None:
    rng = np.random.default_rng(0)
    some = sparse.random_array((20, 6), density=0.4, rng=rng, format="csr", dtype=np.float32)
    for build in (postings.build, forward.build):
        broken = bytearray(build(some))
        for _ in range(data.draw(st.integers(1, 4))):
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
        try:
            if build is forward.build:
                Forward.open(bytes(broken), n=6).check()
            else:
                cuts = Forward.open(forward.build(some), n=6).cuts
                Postings.open(bytes(broken), rows=20, sizes=sizes(some)).check(cuts)
        except InputError:
            pass
