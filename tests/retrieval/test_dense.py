"""In spaces of units, likeness can be ranked by the full vectors: exactly, filtered first, with shares that sum."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.activations.tables import load_activations
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.neurons.tables import load_normalisation
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.retrieval import changes, flat
from neuroconcepts_ray.retrieval.changes import merged
from neuroconcepts_ray.retrieval.index import Index
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.retrieval.ranking import Statistics
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.snapshot import Draft
from tests.conftest import Chain
from tests.retrieval.model import Archive, archive


def index(a: Archive, z: np.ndarray, cuts: tuple[int, ...] = ()) -> Index:
    """Codes and full vectors, cut into segments."""
    edges = [0, *cuts, len(z)]
    segments = []
    for start, end in itertools.pairwise(edges):
        some = a.some(list(range(start, end)))
        matrix = sparse.csr_array(some.dense.astype(np.float32))
        segments.append(Draft.of(f"s{start}", matrix, some.table, flat.unit(z[start:end])).open())
    return Index(segments, Statistics(len(z), (a.dense != 0).sum(axis=0).astype(np.int64)))


@given(seed=st.integers(0, 20), exclude=st.sampled_from(["group", "none"]), view=st.sampled_from([None, "PA"]))
def test_the_hits_are_those_of_a_loop_over_full_vectors_in_any_cut_and_after_compaction(
    seed: int, exclude: str, view: str | None
) -> None:
    a = archive(seed, m=60)
    z = np.random.default_rng(seed).standard_normal((60, 24)).astype(np.float32)
    whole, cut = index(a, z), index(a, z, (13, 40))
    ids, groups, views = a.ids, a.table["group"].to_pylist(), a.table["view"].to_pylist()
    asked = Query(like=[ids[5]], unlike=[ids[9]], exclude=exclude, top=10, where={"view": [view]} if view else {})  # type: ignore[arg-type]
    answers = [
        SearchService(one, dense=True).search(asked)
        for one in (whole, cut, Index([merged("m", cut).open()], cut.statistics))
    ]
    unit = z / np.linalg.norm(z.astype(float), axis=1, keepdims=True)
    query = unit[5] - 0.5 * unit[9]
    scores = unit @ query / np.linalg.norm(query)
    barred = {groups[5], groups[9]} if exclude == "group" else set()
    open_ = [i for i in range(60) if groups[i] not in barred and (view is None or views[i] == view) and scores[i] > 0]
    expected = sorted(open_, key=lambda i: (-scores[i], ids[i]))[:10]
    for answer in answers:
        assert [hit.image_id for hit in answer.hits] == [ids[i] for i in expected]
        assert [hit.score for hit in answer.hits] == [hit.score for hit in answers[0].hits]
        for hit, i in zip(answer.hits, expected, strict=True):
            assert hit.score == pytest.approx(scores[i], abs=1e-6)
            assert sum(one.share for one in hit.shared) == pytest.approx(hit.score, abs=1e-12)


def test_queries_by_concepts_stay_with_the_postings_and_an_index_without_vectors_says_so() -> None:
    a = archive(1)
    z = np.random.default_rng(1).standard_normal((len(a.dense), 24)).astype(np.float32)
    for asked in (Query(any_of=[3]), Query(like=[a.ids[0]], without=[2]), Query(like=[a.ids[0]], weighting="idf")):
        full, usual = (SearchService(index(a, z), dense=flag).search(asked) for flag in (True, False))
        assert full == usual
    with pytest.raises(ConfigError, match="no full vectors"):
        SearchService(a.index(), dense=True).search(Query(like=[a.ids[0]]))


def test_the_lake_keeps_full_vectors_of_units_alone_through_removal_and_compaction(
    chain: Chain, tmp_path: Path
) -> None:
    mine = chain.clone(tmp_path / "mine")
    line = Pipeline(pipeline.load(mine.file, []))
    have = line.artifacts("index.units")
    ids, x = load_activations(line.lake, have["activations.pre_logits"])
    scale = load_normalisation(line.lake, have["codes.units"])
    z = ((x - scale.mean) / scale.std).astype(float)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    asked = Query(like=[str(ids[3])], exclude="self", top=10)
    scores = unit @ unit[3]
    expected = sorted((i for i in range(len(ids)) if i != 3), key=lambda i: -scores[i])
    cache = tmp_path / "cache"
    before = SearchService.open(line.lake, have["index.units"], None, cache, dense=True).search(asked).hits
    assert [hit.image_id for hit in before] == ids[expected[:10]].tolist()
    gone = before[0].image_id
    changes.remove(line.lake, have["index.units"], cache, [gone])
    changes.compact(line.lake, have["index.units"], cache)
    after = SearchService.open(line.lake, have["index.units"], None, cache, dense=True).search(asked).hits
    assert [(hit.image_id, hit.score) for hit in after[:9]] == [(hit.image_id, hit.score) for hit in before[1:]]
    latents = SearchService.open(line.lake, have["index.latents"], None, cache, dense=True)
    with pytest.raises(ConfigError, match="no full vectors"):
        latents.search(asked)
