"""Search is exact, filtered before it ranks, and every score is accounted for."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.retrieval.answer import fold
from neuroconcepts_ray.retrieval.index import Index
from neuroconcepts_ray.retrieval.query import Fires, Query
from neuroconcepts_ray.retrieval.ranking import Example, Filters, Found
from neuroconcepts_ray.retrieval.search import SearchService
from tests.retrieval.model import NAMES, Archive, archive, naive, service

concepts = st.one_of(st.integers(0, 23), st.sampled_from(["pleural effusion", "support device"]))
clauses = st.builds(Fires, concept=concepts, at_least=st.sampled_from([0.0, 1.0, 2.0, 2.5]))


@st.composite
def queries(draw: st.DrawFn, ids: list[str]) -> Query:
    examples = st.lists(st.sampled_from(ids), max_size=3, unique=True)
    boosted = st.sampled_from(["2", "5", "pleural effusion", "11"])
    return Query(
        like=draw(examples),
        unlike=draw(st.one_of(st.just([]), examples)),
        all_of=draw(st.lists(clauses, max_size=2)),
        any_of=draw(st.lists(concepts, max_size=2)),
        none_of=draw(st.lists(clauses, max_size=1)),
        text=draw(st.sampled_from(["", "", "effusion", "device"])),
        without=draw(st.lists(concepts, max_size=1)),
        boost=draw(st.dictionaries(boosted, st.sampled_from([-1.0, 0.0, 0.5, 2.0]), max_size=2)),
        weighting=draw(st.sampled_from(["none", "idf", "bm25"])),
        where=draw(st.sampled_from([{}, {}, {"view": ["PA"]}, {"view": ["AP", "PA"], "label:Edema": ["1", ""]}])),
        ids=draw(st.one_of(st.none(), st.none(), st.lists(st.sampled_from(ids), max_size=30))),
        exclude=draw(st.sampled_from(["group", "study", "self", "none"])),
        top=draw(st.integers(1, 40)),
        offset=draw(st.sampled_from([0, 0, 3])),
    )


def agrees(search: SearchService, a: Archive, query: Query) -> None:
    expected = naive(a, query)
    hits = search.search(query).hits
    assert len(hits) == len(expected)
    np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in expected], rtol=1e-9, atol=1e-12)
    # Scores that differ by rounding alone may change places between two ways of summing.
    mine, theirs = [hit.image_id for hit in hits], [image_id for image_id, _ in expected]
    for at, (one, other) in enumerate(zip(mine, theirs, strict=True)):
        assert one == other or abs(expected[at][1] - dict(expected).get(one, expected[-1][1])) < 1e-9, (
            at,
            mine,
            theirs,
        )
    for hit in hits:
        assert sum(shared.share for shared in hit.shared) == pytest.approx(hit.score, rel=1e-9, abs=1e-12)


@cache
def indexed(seed: int, whole: bool) -> tuple[Archive, Index, Index]:
    """An archive, its index, and the same cut into segments; what was asked of them before must change no answer."""
    a = archive(seed, whole=whole)
    return a, a.index(), a.index((31, 64, 90))


@settings(max_examples=300)
@given(data=st.data(), seed=st.integers(0, 20), whole=st.booleans())
def test_every_query_of_the_algebra_equals_the_naive_model_in_one_segment_and_in_several(
    data: st.DataObject, seed: int, whole: bool
) -> None:
    a, in_one, in_several = indexed(seed, whole)
    query = data.draw(queries(a.ids))
    if not (query.like or query.unlike or query.all_of or query.any_of or query.text):
        with pytest.raises(ConfigError, match="something to rank by"):
            SearchService(in_one, NAMES).search(query)
        return
    if any(not a.dense[a.ids.index(one)].any() for one in query.like + query.unlike):
        return  # an image in which nothing fires is like nothing
    whole_index, cut_index = SearchService(in_one, NAMES), SearchService(in_several, NAMES)
    agrees(whole_index, a, query)
    one, several = whole_index.search(query), cut_index.search(query)
    assert one == several


@pytest.mark.parametrize("density", [0.05, 1.0])
def test_the_float32_pass_never_decides_between_scores_that_float64_tells_apart(density: float) -> None:
    # Scores that agree to seven digits: thousands of near ties around the last place.
    rng = np.random.default_rng(0)
    a = archive(0, m=3000, n=16, density=density, whole=False)
    a.dense[:] = np.where(a.dense > 0, 1 + rng.random(a.dense.shape).astype(np.float32) * 1e-6, 0)
    search = SearchService(a.index(), {})
    for image_id in a.ids[:10]:
        if not a.dense[a.ids.index(image_id)].any():
            continue
        query = Query(like=[image_id], top=25)
        dense = a.dense.astype(np.float64)
        row = a.ids.index(image_id)
        expected = naive(a, query)
        hits = search.search(query).hits
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected], rel=1e-14)
        assert len({hit.image_id for hit in hits} ^ {one for one, _ in expected}) <= 2 * sum(
            abs(score - expected[-1][1]) < 1e-15 for _, score in expected
        )
        assert dense[row].any()


def test_self_study_and_patient_are_excluded_unless_asked_for() -> None:
    a = archive(2)
    search = SearchService(a.index((50,)), NAMES)
    groups = dict(zip(a.ids, a.table["group"].to_pylist(), strict=True))
    for image_id in a.ids[:20]:
        hits = search.like(image_id, top=200)
        assert groups[image_id] not in {groups[hit.image_id] for hit in hits}
        everybody = search.like(image_id, top=200, exclude="none")
        if everybody:
            assert image_id in {hit.image_id for hit in everybody}


def test_paging_goes_through_the_same_hits_in_the_same_order() -> None:
    search = service(3, cuts=(40,))
    one = search.search(Query(like=["image0007"], top=60)).hits
    pages = [search.search(Query(like=["image0007"], top=7, offset=at)).hits for at in range(0, 60, 7)]
    assert [hit.image_id for page in pages for hit in page][:60] == [hit.image_id for hit in one]


def test_near_duplicates_are_folded_into_the_better_hit_and_the_page_stays_full() -> None:
    a = archive(4)
    search = SearchService(a.index((70,)), NAMES)
    image_id = next(one for one in a.ids if a.dense[a.ids.index(one)].any())
    plain = search.search(Query(like=[image_id], top=100)).hits
    folded = search.search(Query(like=[image_id], top=15, fold=0.9999)).hits
    assert len(folded) == 15
    codes = {
        hit.image_id: tuple(a.dense[a.ids.index(hit.image_id)] / np.linalg.norm(a.dense[a.ids.index(hit.image_id)]))
        for hit in plain
    }
    seen: list[tuple[float, ...]] = []
    expected = []
    for hit in plain:
        if not any(np.dot(codes[hit.image_id], other) >= 0.9999 for other in seen):
            seen.append(codes[hit.image_id])
            expected.append(hit.image_id)
    assert [hit.image_id for hit in folded] == expected[:15]
    assert any(hit.folded for hit in folded), "the archive has the same film under several ids"


def test_an_uploaded_code_is_an_example_like_any_other() -> None:
    a = archive(5)
    search = SearchService(a.index(), NAMES)
    neurons, values = search.code("image0003")
    given = [Example("", neurons, values)]
    assert (
        search.search(Query(exclude="none"), given).hits
        == search.search(Query(like=["image0003"], exclude="none")).hits
    )


def test_names_stand_beside_their_own_neuron_alone() -> None:
    search = service(6)
    for hit in search.search(Query(text="effusion", top=50)).hits:
        assert {shared.neuron for shared in hit.shared} <= {1, 4}
        assert all(shared.name == "pleural effusion" for shared in hit.shared)
    for hit in search.like("image0001", top=50):
        assert all((shared.name is None) == (shared.neuron not in NAMES) for shared in hit.shared)


def test_an_unknown_image_is_refused_with_the_closest_ids() -> None:
    with pytest.raises(InputError, match="image0012") as caught:
        service(6).like("image0012x")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query(any_of=[24]), "no such neuron"),
        (Query(any_of=["pleural efusion"]), "Nearest names: pleural effusion"),
        (Query(text="device pacemaker"), "Nearest names: support device"),
        (Query(like=["image0000"], where={"view": ["LAT"]}), "AP, LATERAL, PA"),
        (Query(like=["image0000"], where={"role": ["train"]}), "fit, probe, test"),
        (Query(like=["image0000"], where={"patient": ["p10"]}), "view, role, label:Edema"),
        (Query(like=["image0000"], where={"image_id": ["x"]}), "no such column"),
    ],
)
def test_a_wrong_query_is_refused_with_what_is_allowed(query: Query, message: str) -> None:
    with pytest.raises(InputError, match=message):
        service(7, cuts=(60,)).search(query)


@pytest.mark.parametrize("call", [{"top": 0}, {"top": 10_001}])
def test_a_page_that_cannot_be_is_refused(call: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="top"):
        service(7).like("image0000", **call)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="too deep"):
        service(7).search(Query(like=["image0000"], top=20, offset=9_990))


def test_an_image_that_fires_nowhere_is_no_hit_and_has_none() -> None:
    a = archive(8)
    a.dense[5] = 0
    search = SearchService(a.index(), {})
    assert search.like(a.ids[5]) == []
    assert a.ids[5] not in {hit.image_id for hit in search.like(a.ids[6], top=200, exclude="none")}


def test_many_threads_with_more_filters_than_are_cached_get_the_answers_of_one() -> None:
    search, every = service(3, m=300), archive(3, m=300).ids
    asked = [
        Query.model_validate({"like": [every[0]], "ids": every[at : at + 150], "exclude": "none"}) for at in range(60)
    ]
    alone = service(3, m=300)
    expected = [alone.search(one) for one in asked]
    start = threading.Barrier(8)

    def ask(offset: int) -> bool:
        start.wait()
        order = [(at * 7 + offset * 11) % 60 for at in range(60)]
        return all(search.search(asked[at]) == expected[at] for at in order)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(8)))
    finally:
        sys.setswitchinterval(before)


def test_the_name_of_a_filter_in_caches_is_short_however_many_ids_it_has() -> None:
    many = Filters(ids=frozenset(f"image{at}" for at in range(10_000)))
    assert len(many.key) == 64
    assert len({many.key, Filters(ids=frozenset()).key, Filters(columns=(("view", frozenset()),)).key}) == 3


def test_folding_equals_comparing_each_with_each_and_costs_little_at_a_thousand_hits() -> None:
    rng = np.random.default_rng(0)
    films = [(np.sort(rng.choice(16_384, 32, replace=False)), rng.random(32) + 0.1) for _ in range(700)]
    films = [films[at] for at in rng.integers(0, 700, 1000)] + [(np.zeros(0, np.int64), np.zeros(0))]
    found = [Found(f"i{at}", 1.0, neurons, values, 1.0, {}, "") for at, (neurons, values) in enumerate(films)]
    start = time.process_time()
    folded = fold(found, 0.99)
    assert time.process_time() - start < 4
    leads: dict[bytes, list[str]] = {}
    for one in found:
        leads.setdefault(one.neurons.tobytes(), []).append(one.image_id)
    assert [[one.image_id, *one.folded] for one in folded] == list(leads.values())
    assert fold([], 0.99) == []


@pytest.mark.parametrize("scale", [1e-39, 1e-38, 1e37])
@pytest.mark.parametrize("weighting", ["none", "idf"])
def test_films_of_tiny_and_huge_activations_are_found_by_angle_alone(scale: float, weighting: str) -> None:
    a = archive(0, m=1200, whole=False)
    a.dense[[5, 300, 900]] *= np.float32(scale)
    search = SearchService(a.index(), NAMES)
    for image_id in (a.ids[0], a.ids[5], a.ids[300]):
        for top in (1, 20, 900):
            query = Query.model_validate({"like": [image_id], "top": top, "weighting": weighting})
            found = [hit.score for hit in search.search(query).hits]
            np.testing.assert_allclose(found, [score for _, score in naive(a, query)], rtol=1e-9)
