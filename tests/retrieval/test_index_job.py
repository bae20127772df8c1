"""The index in the lake: built by segments, grown, changed, raced for, damaged; it answers as a naive model does."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from neuroconcepts_ray.errors import ConfigError, DigestError, InputError, NeuroconceptsError
from neuroconcepts_ray.lake import refs
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.neurons.tables import load_codes
from neuroconcepts_ray.retrieval import changes
from neuroconcepts_ray.retrieval.base import Source, cut
from neuroconcepts_ray.retrieval.config import IndexConfig, plan
from neuroconcepts_ray.retrieval.flat import unit
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.snapshot import FILES, FORWARD, IMAGES, POSTINGS, Draft, open_index, read_snapshot
from tests.retrieval.lakes import artifacts, indexed, open_lake
from tests.retrieval.model import NAMES, Archive, archive, naive

A = archive(11, m=144)
PARTITIONS = (110, 27, 6, 1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def service(lake: Lake, base: Manifest, cache: Path) -> SearchService:
    return SearchService(changes.published(lake, base).open(lake, cache), NAMES)


QUERIES = [
    {"exclude": "none"},
    {"weighting": "idf"},
    {"weighting": "bm25"},
    {"all_of": [{"concept": 2}], "none_of": [{"concept": 3, "at_least": 2.0}]},
    {"where": {"view": ["PA"]}},
]


def answers_as(model: Archive, search: SearchService) -> None:
    """The index over these images gives the naive model's hits and scores, whatever its history."""
    assert len(search.index) == len(model.ids)
    np.testing.assert_array_equal(search.index.statistics.frequency, (model.dense != 0).sum(axis=0))
    image_id = next(one for one, code in zip(model.ids, model.dense, strict=True) if code.any())
    for more in QUERIES:
        query = Query.model_validate({"like": [image_id], "top": 30, **more})
        found = [(hit.image_id, hit.score) for hit in search.search(query).hits]
        expected = naive(model, query)
        np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], rtol=1e-9)
        assert {image for image, _ in found[:-3]} <= {
            image for image, _ in naive(model, query.model_copy(update={"top": 40}))
        }
    j = int(np.argmax((model.dense != 0).sum(axis=0)))
    query = Query(any_of=[j], top=200)
    assert [(hit.image_id, hit.score) for hit in search.search(query).hits] == naive(model, query)


def without(a: Archive, gone: set[str]) -> Archive:
    return a.some([row for row, image_id in enumerate(a.ids) if image_id not in gone])


def test_the_index_holds_the_codes_of_every_image_that_was_encoded(lake: Lake, cache: Path) -> None:
    have = artifacts(lake, A, PARTITIONS, without=(A.ids[3],))
    base = indexed(lake, have, cache)
    search = service(lake, base, cache)
    codes = load_codes(lake, have["codes.latents"])
    for image_id, row in zip(codes.image_ids.tolist(), codes.matrix.toarray(), strict=True):
        neurons, values = search.code(image_id)
        np.testing.assert_array_equal(neurons, np.flatnonzero(row))
        np.testing.assert_array_equal(values, row[neurons])
    with pytest.raises(InputError, match="does not have this image"):
        search.code(A.ids[3])
    answers_as(without(A, {A.ids[3]}), search)
    assert (base.facts["images"], base.images) == (143, 143)


def test_a_second_run_makes_nothing_and_a_second_lake_the_same_bytes(lake: Lake, tmp_path: Path, cache: Path) -> None:
    first = indexed(lake, artifacts(lake, A, PARTITIONS), cache)
    keys = list(lake.store.list("index"))
    assert indexed(lake, artifacts(lake, A, PARTITIONS), cache) == first
    assert list(lake.store.list("index")) == keys
    other = open_lake(tmp_path / "other")
    assert indexed(other, artifacts(other, A, PARTITIONS), cache).content == first.content


def test_one_build_several_segments_and_one_compacted_segment_answer_alike(lake: Lake, cache: Path) -> None:
    base = indexed(lake, artifacts(lake, A, PARTITIONS), cache)
    assert len(read_snapshot(lake, base).segments) > 1
    answers_as(A, service(lake, base, cache))
    compacted = changes.compact(lake, base, cache)
    assert len(read_snapshot(lake, compacted).segments) == 1
    answers_as(A, service(lake, base, cache))


def test_growth_adds_segments_of_its_own_size_and_keeps_the_others_files(lake: Lake, cache: Path) -> None:
    before = indexed(lake, artifacts(lake, A, PARTITIONS[:2]), cache)
    after = indexed(lake, artifacts(lake, A, PARTITIONS[:3]), cache)
    assert {part.key for part in before.parts[:3]} < {part.key for part in after.parts}
    answers_as(A.some(list(range(143))), service(lake, after, cache))
    answers_as(A.some(list(range(137))), service(lake, before, cache))


def test_the_cut_keeps_few_segments_and_old_ones_where_they_are() -> None:
    nights = [Source((), (n,), rows) for n, rows in enumerate([377_110] + [300] * 120)]
    before, rewritten = cut(nights[:1]), 0
    for at in range(1, len(nights)):
        segments = cut(nights[: at + 1])
        assert [p for one in segments for p in one.partitions] == list(range(at + 1))
        assert segments[0] == nights[0], "the archive itself is not written again for a night's films"
        assert len(segments) <= 6
        rewritten += sum(new.rows for new in segments if new not in before)
        before = segments
    assert rewritten < 10 * 300 * 120, "a night costs a few times its own films, as in any log-structured merge"


def test_what_was_removed_stays_removed_through_growth_and_compaction_until_it_is_added(
    lake: Lake, cache: Path
) -> None:
    small = A.some(list(range(137)))
    base = indexed(lake, artifacts(lake, A, PARTITIONS[:2]), cache)
    gone = {A.ids[5], A.ids[100]}
    changes.remove(lake, base, cache, gone)
    answers_as(without(small, gone), service(lake, base, cache))
    grown = indexed(lake, artifacts(lake, A, PARTITIONS), cache)
    answers_as(without(A, gone), service(lake, grown, cache))
    changes.add(lake, grown, cache, [A.ids[5]])
    answers_as(without(A, {A.ids[100]}), service(lake, grown, cache))
    changes.compact(lake, grown, cache)
    answers_as(without(A, {A.ids[100]}), service(lake, grown, cache))
    with pytest.raises(InputError, match="compaction has dropped"):
        changes.add(lake, grown, cache, [A.ids[100]])


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_history_of_changes_answers_as_the_images_that_are_left(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("history")
    lake, cache = open_lake(folder), folder / "cache"
    grown = data.draw(st.integers(1, 2))
    base = indexed(lake, artifacts(lake, A, PARTITIONS[:grown]), cache)
    gone: set[str] = set()
    dropped: set[str] = set()
    steps = st.lists(st.sampled_from(["remove", "add", "compact", "grow"]), min_size=2, max_size=6)
    for step in data.draw(steps):
        there = A.some(list(range(sum(PARTITIONS[:grown]))))
        if step == "remove":
            some = set(data.draw(st.lists(st.sampled_from(there.ids), max_size=4))) - dropped
            changes.remove(lake, base, cache, some)
            gone |= some
        elif step == "add":
            some = set(data.draw(st.lists(st.sampled_from(there.ids), max_size=4))) - dropped
            changes.add(lake, base, cache, some)
            gone -= some
        elif step == "compact":
            changes.compact(lake, base, cache)
            dropped = set(gone)
        elif grown < len(PARTITIONS):
            grown += 1
            base = indexed(lake, artifacts(lake, A, PARTITIONS[:grown]), cache)
            dropped = set()
        answers_as(without(A.some(list(range(sum(PARTITIONS[:grown])))), gone), service(lake, base, cache))


def test_shards_of_an_index_merge_to_the_answer_of_the_whole(lake: Lake, cache: Path) -> None:
    base = indexed(lake, artifacts(lake, A, PARTITIONS), cache)
    changes.remove(lake, base, cache, [A.ids[8]])
    state = changes.published(lake, base)
    whole = service(lake, base, cache)
    keys = [key for key, _ in read_snapshot(lake, state.manifest).segments]
    shards = [open_index(lake, state.manifest, cache, only=[key]) for key in keys]
    for more in QUERIES:
        query = Query.model_validate({"like": [A.ids[1]], **more})
        ranking, filters = whole.resolve(query, whole.index.examples(query.like), [])
        merged = changes_merge([one.search(ranking, query.weighting, filters, 20) for one in shards])
        assert merged == [(hit.image_id, hit.score) for hit in whole.search(query).hits]


def changes_merge(parts: list) -> list[tuple[str, float]]:
    from neuroconcepts_ray.retrieval.ranking import merge

    return [(one.image_id, one.score) for one in merge(parts, 20)]


def test_writers_that_race_lose_nothing_and_versions_are_contiguous(lake: Lake, cache: Path) -> None:
    base = indexed(lake, artifacts(lake, A, (144,)), cache)
    writers = [threading.Thread(target=changes.remove, args=(lake, base, cache, [A.ids[n]])) for n in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    answers_as(without(A, set(A.ids[:8])), service(lake, base, cache))
    found = refs.head(lake.store, changes.ref_of(base))
    assert found is not None
    # The base itself, and one version for each change.
    assert [key for key in lake.store.list(f"refs/{changes.ref_of(base)}")] and found[0] == 9


def test_a_change_that_changes_nothing_makes_no_version(lake: Lake, cache: Path) -> None:
    base = indexed(lake, artifacts(lake, A, (144,)), cache)
    changes.remove(lake, base, cache, [A.ids[0]])
    before = refs.head(lake.store, changes.ref_of(base))
    changes.remove(lake, base, cache, [A.ids[0]])
    changes.add(lake, base, cache, [A.ids[1]])
    assert refs.head(lake.store, changes.ref_of(base)) == before
    with pytest.raises(InputError, match="does not have this image"):
        changes.remove(lake, base, cache, ["nobody", A.ids[2]])
    assert refs.head(lake.store, changes.ref_of(base)) == before


def test_stats_reconcile_with_the_codes(lake: Lake, cache: Path) -> None:
    base = indexed(lake, artifacts(lake, A, PARTITIONS), cache)
    changes.remove(lake, base, cache, [A.ids[8]])
    state = changes.published(lake, base)
    told = changes.stats(state.open(lake, cache), state)
    left = without(A, {A.ids[8]})
    assert told["images"] == 143
    assert told["postings"] == int((left.dense != 0).sum())
    assert told["dead_neurons"] == int(((left.dense != 0).sum(axis=0) == 0).sum())
    assert told["tombstones"] == 1
    assert sum(one["images"] for one in told["segments"]) == 144


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["flip", "truncate", "foreign", "gone"])
def test_an_altered_file_is_refused_by_name_before_anything_reads_it(
    lake: Lake, cache: Path, file: str, damage: str
) -> None:
    base = indexed(lake, artifacts(lake, A, (144,)), cache)
    part = next(part for part in base.parts if part.name.endswith(file))
    path = lake.store.local_path(part.key)
    assert path is not None
    data = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "foreign":
        path.write_bytes(b"PK\x03\x04" + bytes(data[4:]))
    else:
        data[-3] ^= 1
        path.write_bytes(bytes(data if damage == "flip" else data[:-10]))
    with pytest.raises((DigestError, InputError), match=part.key.rsplit("/", 1)[1]):
        service(lake, base, cache)


def test_a_file_that_was_checked_once_is_not_hashed_again_but_a_later_change_is_seen(lake: Lake, cache: Path) -> None:
    base = indexed(lake, artifacts(lake, A, (144,)), cache)
    service(lake, base, cache)
    part = next(part for part in base.parts if part.name.endswith(POSTINGS))
    path = lake.store.local_path(part.key)
    assert path is not None
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DigestError):
        service(lake, base, cache)


def test_a_manifest_whose_files_belong_to_other_codes_is_refused(lake: Lake, cache: Path) -> None:
    base = indexed(lake, artifacts(lake, A, (144,)), cache)
    beside = archive(12, m=143)
    other = indexed(lake, artifacts(lake, beside, (143,)), cache)
    key, foreign = base.facts["segments"][0][0], other.facts["segments"][0][0]
    for file in (POSTINGS, FORWARD, IMAGES):
        swapped = other.part(f"{foreign}.{file}").model_copy(update={"name": f"{key}.{file}"})
        parts = [swapped if part.name == f"{key}.{file}" else part for part in base.parts]
        mixed = base.model_copy(update={"parts": parts})
        with pytest.raises(
            InputError, match=r"not those of these codes|contradict|another space|other images|not that of"
        ):
            open_index(lake, mixed, cache)


def test_names_of_other_codes_are_refused(lake: Lake, cache: Path) -> None:
    base = indexed(lake, artifacts(lake, A, (144,)), cache)
    foreign = base.model_copy(update={"name": "names.latents", "inputs": base.inputs | {"codes": "other"}})
    with pytest.raises(InputError, match="other codes"):
        SearchService.open(lake, base, foreign, cache)


def test_an_index_of_the_format_before_is_refused_with_what_to_do(lake: Lake, cache: Path) -> None:
    base = indexed(lake, artifacts(lake, A, (144,)), cache)
    old = base.model_copy(update={"facts": {"images": 144, "neurons": 24, "postings": 1}})
    with pytest.raises(InputError, match="Run `index` again"):
        SearchService.open(lake, old, None, cache)


def test_a_cache_that_cannot_be_written_is_told(lake: Lake, tmp_path: Path) -> None:
    base = indexed(lake, artifacts(lake, A, (144,)), tmp_path / "cache")
    (tmp_path / "file").write_text("")
    with pytest.raises(NeuroconceptsError, match=r"index\.cache"):
        service(lake, base, tmp_path / "file" / "cache")


def test_a_space_without_codes_is_refused(lake: Lake) -> None:
    with pytest.raises(ConfigError, match="latents"):
        plan(IndexConfig(spaces=["units"]), artifacts(lake, A, (144,)))


def test_a_base_whose_run_ended_before_it_was_published_is_published_by_the_next(
    lake: Lake, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have = artifacts(lake, A, PARTITIONS[:1])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(changes, "publish", killed)
        indexed(lake, have, cache)
    base = indexed(lake, have, cache)
    assert changes.published(lake, base).version == 1


def test_an_older_base_that_is_run_again_does_not_come_back(lake: Lake, cache: Path) -> None:
    older = artifacts(lake, A, PARTITIONS[:1])
    old = indexed(lake, older, cache)
    changes.remove(lake, old, cache, A.ids[:1])
    newer = indexed(lake, artifacts(lake, A, PARTITIONS[:2]), cache)
    state = changes.published(lake, newer)
    indexed(lake, older, cache)
    assert changes.published(lake, newer) == state


def test_a_segment_without_its_tombstones_keeps_its_full_vectors() -> None:
    a = archive(3)
    full = unit(np.random.default_rng(0).normal(size=a.dense.shape))
    segment = Draft.of("a", sparse.csr_array(a.dense), a.table, full).open()
    assert segment.dense is not None and segment.bare().dense is segment.dense
