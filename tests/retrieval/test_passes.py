"""Queries that share a pass, and blocks of rows, change nothing about what is found."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.retrieval import kernels
from neuroconcepts_ray.retrieval.index import Index
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.retrieval.ranking import Filters, Ranking, Statistics
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.sketch import Sketch
from neuroconcepts_ray.retrieval.snapshot import Draft
from tests.retrieval.model import NAMES, archive


def wide(rows: int, n: int = 60, seed: int = 0) -> tuple[np.ndarray, Index]:
    """More rows than a block holds, few neurons a row."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((rows, n), np.float32)
    for _ in range(5):
        dense[np.arange(rows), rng.integers(0, n, rows)] = rng.gamma(2.0, 0.7, rows)
    columns = {name: ["x"] * rows for name in ("study", "group", "view", "role")}
    table = pa.table({"image_id": [f"i{row:07d}" for row in range(rows)], **columns})
    draft = Draft.of("wide", sparse.csr_array(dense), table)
    return dense, Index([draft.open()], Statistics(rows, draft.frequency))


def ranked(code: np.ndarray) -> Ranking:
    unit = code.astype(np.float64) / np.linalg.norm(code.astype(np.float64))
    return Ranking.of("cosine", {int(j): float(unit[j]) for j in np.flatnonzero(code)})


@pytest.mark.parametrize("rows", [kernels.BLOCK, 2 * kernels.BLOCK + 777])
def test_a_segment_of_several_blocks_is_searched_exactly(rows: int) -> None:
    dense, index = wide(rows)
    (segment,) = index.segments
    segment.postings.check(segment.forward.cuts)
    units = dense.astype(np.float64) / np.linalg.norm(dense.astype(np.float64), axis=1, keepdims=True)
    rankings = [ranked(dense[row]) for row in range(0, rows, rows // 11)]
    weights = index.weights("none")
    together = segment.search_many(rankings, weights, 20)
    for at, row in enumerate(range(0, rows, rows // 11)):
        cosines = units @ units[row]
        best, scores = together[at]
        np.testing.assert_allclose(scores, -np.sort(-cosines)[:20], rtol=1e-9)
        np.testing.assert_allclose(cosines[best], scores, rtol=1e-9)
        alone = segment.search(rankings[at], weights, 20)
        assert np.array_equal(alone[0], best) and np.array_equal(alone[1], scores)


@pytest.mark.parametrize("cuts", [(), (31, 64, 90)])
def test_queries_asked_together_find_what_each_finds_alone(cuts: tuple[int, ...]) -> None:
    a = archive(3, whole=False)
    search = SearchService(a.index(cuts), NAMES)
    index = search.index
    ids = [one for one in a.ids if a.dense[a.ids.index(one)].any()][:23]
    queries = [
        Query(like=[one], where={"view": ["PA"]} if at % 3 == 0 else {}, none_of=[] if at % 4 else [{"concept": 2}])
        for at, one in enumerate(ids)
    ]
    resolved = [search.resolve(query, index.examples(query.like), []) for query in queries]
    together = index.search_many([r for r, _ in resolved], "none", [f for _, f in resolved], 15)
    for (ranking, filters), found in zip(resolved, together, strict=True):
        alone = index.search(ranking, "none", filters, 15)
        assert [(one.image_id, one.score, one.metadata) for one in found] == [
            (one.image_id, one.score, one.metadata) for one in alone
        ]


def test_a_filter_that_bars_the_best_chunks_and_norms_that_differ_lose_nothing() -> None:
    # What makes the first guess of the threshold too high: the peaks lie in rows that may not be found.
    dense, _ = wide(5_000)
    dense *= np.random.default_rng(1).uniform(0.1, 10, (len(dense), 1)).astype(np.float32)
    columns = {name: ["x"] * len(dense) for name in ("study", "group", "role")}
    view = np.where(np.arange(len(dense)) % 3 == 0, "PA", "AP")
    table = pa.table({"image_id": [f"i{row:07d}" for row in range(len(dense))], "view": view, **columns})
    draft = Draft.of("gated", sparse.csr_array(dense), table)
    index = Index([draft.open()], Statistics(len(dense), draft.frequency))
    units = dense.astype(np.float64) / np.linalg.norm(dense.astype(np.float64), axis=1, keepdims=True)
    for row in range(0, 5_000, 500):
        cosines = np.where(view == "PA", units @ units[row], 0)
        found = index.search(ranked(dense[row]), "none", Filters(columns=(("view", frozenset(["PA"])),)), 20)
        np.testing.assert_allclose([one.score for one in found], -np.sort(-cosines)[:20], rtol=1e-9)


def test_a_sketch_scores_exactly_what_it_finds_says_its_recall_and_leaves_the_rest_to_the_postings() -> None:
    dense, index = wide(6_000)
    (segment,) = index.segments
    weights = index.weights("none")
    sketch = Sketch.of(segment, bits=256)
    rankings = [ranked(dense[row]) for row in range(0, 6_000, 300)]
    assert sketch.recall(rankings, weights, 20) > 0.9
    exact = dict(zip(*(part.tolist() for part in segment.search(rankings[0], weights, 6_000)), strict=True))
    rows, scores = sketch.search(rankings[0], weights, 20)
    assert [exact[row] for row in rows.tolist()] == scores.tolist()
    again, _ = Sketch.of(segment, bits=256).search(rankings[0], weights, 20)
    assert np.array_equal(rows, again)
    narrow = segment.allowed(Filters(ids=frozenset(f"i{row:07d}" for row in range(100))))
    assert not sketch.answers(rankings[0], weights, 20, narrow)
    assert np.array_equal(
        sketch.search(rankings[0], weights, 20, narrow)[0], segment.search(rankings[0], weights, 20, narrow)[0]
    )
    segment.bury([int(rows[0])])
    assert rows[0] not in sketch.search(rankings[0], weights, 20, barred=rows[1:2])[0]
    assert rows[1] not in sketch.search(rankings[0], weights, 20, barred=rows[1:2])[0]


def test_a_sketch_with_few_candidates_is_refused() -> None:
    _, index = wide(500)
    with pytest.raises(ConfigError, match="at least 1000"):
        Sketch.of(index.segments[0], candidates=100)
