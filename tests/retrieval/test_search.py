"""Search is exact, filtered before it ranks, and every score is accounted for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.naming.tables import Name
from neuroconcepts_ray.retrieval.postings import Postings, build
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.tables import Images

NAME = Name(
    neuron=3,
    name="effusion",
    polarity="present",
    auroc=0.8,
    low=0.7,
    high=0.9,
    q=0.01,
    positives=30,
    n=100,
    evidence=50,
)


def service(seed: int, m: int = 200, n: int = 30, density: float = 0.3, duplicates: bool = True) -> SearchService:
    """Small whole activations, so that sums are exact and ties abound."""
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 4, (m, n)) * (rng.random((m, n)) < density)
    if duplicates:
        dense[m // 2 : m // 2 + 40] = dense[:40]
    codes = sparse.csr_array(dense.astype(np.float32))
    group = rng.integers(0, m // 3, m)
    study = group * 10 + rng.integers(0, 2, m)
    images = Images(
        np.array([f"image{row:04d}" for row in range(m)]),
        np.array([f"s{x}" for x in study]),
        np.array([f"g{x}" for x in group]),
        rng.choice(["AP", "PA", "LATERAL"], m),
        rng.choice(["fit", "probe", "test"], m),
        np.sqrt((dense.astype(float) ** 2).sum(axis=1)),
    )
    return SearchService(Postings.open(build(codes), rows=m, n=n), images, {3: NAME})


def brute_force(search: SearchService, row: int, allowed: np.ndarray, top: int) -> list[tuple[str, float]]:
    dense = search.codes.toarray().astype(np.float64)
    norms = np.sqrt((dense**2).sum(axis=1))
    shared = dense @ dense[row]
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = shared / (norms[row] * norms)
    rows = [r for r in range(len(dense)) if allowed[r] and shared[r] != 0]
    rows.sort(key=lambda r: (-cosine[r], r))
    return [(str(search.images.image_ids[r]), cosine[r]) for r in rows[:top]]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), top=st.integers(1, 60), density=st.sampled_from([0.05, 0.3, 1.0]))
def test_the_nearest_images_are_those_of_brute_force_ties_included(seed: int, top: int, density: float) -> None:
    search = service(seed, density=density)
    row = seed % 200
    images = search.images
    allowed = images.groups != images.groups[row]
    expected = brute_force(search, row, allowed, top)
    hits = search.like(str(images.image_ids[row]), top=top)
    assert [hit.image_id for hit in hits] == [image_id for image_id, _ in expected]
    np.testing.assert_allclose([hit.score for hit in hits], [cosine for _, cosine in expected], rtol=1e-12)


@pytest.mark.parametrize(("exclude", "barred"), [("none", []), ("self", ["image_ids"]), ("study", ["studies"])])
def test_exclusion_removes_what_it_says_and_no_more(exclude: str, barred: list[str]) -> None:
    search = service(1)
    images = search.images
    allowed = np.ones(len(images), bool)
    for column in barred:
        allowed &= getattr(images, column) != getattr(images, column)[7]
    hits = search.like("image0007", top=300, exclude=exclude)  # type: ignore[arg-type]
    assert [hit.image_id for hit in hits] == [image_id for image_id, _ in brute_force(search, 7, allowed, 300)]


def test_self_study_and_patient_are_excluded_unless_asked_for() -> None:
    search = service(2)
    for row in range(0, 200, 20):
        hits = search.like(f"image{row:04d}", top=200)
        rows = [search.row(hit.image_id) for hit in hits]
        assert not set(search.images.groups[rows]) & {search.images.groups[row]}
        assert not set(search.images.studies[rows]) & {search.images.studies[row]}


def test_filters_hold_before_ranking_so_that_none_starves() -> None:
    search = service(3)
    images = search.images
    allowed = (images.groups != images.groups[0]) & (images.views == "PA") & (images.roles == "test")
    expected = brute_force(search, 0, allowed, 10)
    hits = search.like("image0000", top=10, view="PA", role="test")
    assert len(hits) == min(10, int(allowed.sum()))
    assert [hit.image_id for hit in hits] == [image_id for image_id, _ in expected]


def test_shares_sum_to_the_score_and_names_stand_beside_their_own_neuron_alone() -> None:
    search = service(4)
    query = search.neuron(3, top=1)[0].image_id
    for hit in search.like(query, top=50):
        assert sum(shared.share for shared in hit.shared) == pytest.approx(hit.score, abs=1e-12)
        assert all((shared.name == "effusion") == (shared.neuron == 3) for shared in hit.shared)
    assert any(shared.neuron == 3 for hit in search.like(query, top=50) for shared in hit.shared)


def test_a_neuron_query_is_the_sort_by_activation() -> None:
    search = service(5)
    dense = search.codes.toarray()
    for j in range(30):
        order = sorted(np.flatnonzero(dense[:, j]), key=lambda row: (-dense[row, j], row))[:20]
        hits = search.neuron(j)
        assert [hit.image_id for hit in hits] == [f"image{row:04d}" for row in order]
        assert [hit.score for hit in hits] == [float(dense[row, j]) for row in order]


def test_an_image_that_fires_nowhere_is_no_hit_and_has_none() -> None:
    codes = sparse.csr_array(np.array([[0, 0], [1, 0], [2, 1]], dtype=np.float32))
    ids = np.array(["a", "b", "c"])
    images = Images(ids, ids, ids, ids, ids, np.sqrt([0.0, 1.0, 5.0]))
    search = SearchService(Postings.open(build(codes), rows=3, n=2), images)
    assert search.like("a") == []
    assert [hit.image_id for hit in search.like("b")] == ["c"]


def test_an_unknown_image_is_refused_with_the_closest_ids() -> None:
    with pytest.raises(InputError, match="image0012") as caught:
        service(6).like("image0012x")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.neuron(30), "no such neuron"),
        (lambda s: s.neuron(-1), "no such neuron"),
        (lambda s: s.like("image0000", view="LAT"), "AP, LATERAL, PA"),
        (lambda s: s.like("image0000", role="train"), "fit, probe, test"),
        (lambda s: s.like("image0000", top=0), "at least 1"),
    ],
)
def test_a_wrong_query_is_refused_with_what_is_allowed(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(service(7))  # type: ignore[operator]
