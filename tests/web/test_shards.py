"""An index over shards answers as the whole one does, and says so where it cannot."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconcepts_ray.errors import ConfigError, EnvironmentFault, InputError, NotFound
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.retrieval import changes
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.snapshot import read_snapshot
from neuroconcepts_ray.web.follow import Followed, Version
from neuroconcepts_ray.web.shards import Question, Remote, Reply, Shard, View, deal
from tests.retrieval.model import NAMES, archive
from tests.retrieval.test_search import queries
from tests.web.lakes import cache, open_lake, put

CUTS = (11, 40, 64, 90, 101)


class Room:
    """All shards in this process; ``deaf`` ones never reply."""

    def __init__(self, lake: Lake, base: Manifest, shards: int) -> None:
        self.followed = Followed.start(lake, base)
        self.shards = [Shard(self.followed, number, shards, cache(lake)) for number in range(shards)]
        self.deaf: set[int] = set()

    def __call__(self, version: Version, question: Question, shards: Sequence[int]) -> Mapping[int, Reply | None]:
        return {
            one: None if one in self.deaf else self.shards[one].answer(version, question) for one in shards
        }

    def view(self) -> View:
        version = self.followed.look()
        snapshot = read_snapshot(self.followed.lake, self.followed.state(version).manifest)
        dealt = deal(snapshot.segments, len(self.shards))
        columns = next(c for shard in self.shards if (c := shard.columns(version)))
        return View(version, snapshot.statistics, columns, tuple(map(tuple, dealt)), NAMES)

    def service(self, view: View | None = None) -> SearchService:
        return SearchService(Remote(view or self.view(), self), NAMES)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchService, list[Room], list[str]]:
    """The archive whole, and over 1, 2 and 4 shards; some images are removed."""
    lake = open_lake(tmp_path_factory.mktemp("rooms"))
    a = archive(3)
    base = put(lake, a, CUTS)
    gone = a.ids[5:9] + a.ids[70:72]
    changes.remove(lake, base, cache(lake), gone)
    whole = SearchService(changes.published(lake, base).open(lake, cache(lake)), NAMES)
    return whole, [Room(lake, base, shards) for shards in (1, 2, 4)], [one for one in a.ids if one not in gone]


@settings(max_examples=60)
@given(data=st.data(), fold=st.sampled_from([None, None, 0.9, 0.99]))
def test_scores_and_order_over_1_2_and_4_shards_are_those_of_the_whole_index(
    data: st.DataObject, fold: float | None, rooms: tuple[SearchService, list[Room], list[str]]
) -> None:
    whole, over, ids = rooms
    query = data.draw(queries(ids)).model_copy(update={"fold": fold})
    try:
        expected = whole.search(query)
    except ConfigError as error:
        for room in over:
            with pytest.raises(ConfigError, match=error.what):
                room.service().search(query)
        return
    for room in over:
        assert room.service().search(query) == expected


@pytest.mark.parametrize(
    "asked",
    [
        {"like": ["image9999"]},
        {"like": ["image0001"], "where": {"view": ["SIDEWAYS"]}},
        {"like": ["image0001"], "where": {"moon": ["full"]}},
        {"text": "efusion"},
        {"any_of": [400]},
        {},
    ],
)
def test_a_question_that_the_whole_index_refuses_is_refused_alike_over_shards(
    asked: dict[str, object], rooms: tuple[SearchService, list[Room], list[str]]
) -> None:
    whole, over, _ = rooms
    with pytest.raises((ConfigError, InputError)) as first:
        whole.search(Query(**asked))  # type: ignore[arg-type]
    for room in over:
        with pytest.raises(type(first.value)) as second:
            room.service().search(Query(**asked))  # type: ignore[arg-type]
        assert second.value.message == first.value.message


def test_segments_are_dealt_evenly_and_a_small_new_one_moves_no_large_one() -> None:
    segments = [("d", 400), ("a", 1000), ("c", 500), ("b", 600)]
    assert deal(segments, 2) == [["a", "d"], ["b", "c"]] == deal(segments[::-1], 2)
    assert deal([*segments, ("e", 3)], 2) == [["a", "d"], ["b", "c", "e"]]
    assert deal(segments[:1], 3) == [["d"], [], []]


def test_an_answer_without_a_shard_says_which_is_missing_and_holds_the_best_of_the_others(
    rooms: tuple[SearchService, list[Room], list[str]],
) -> None:
    whole, (_, room, _), ids = rooms
    room.deaf = {1}
    try:
        view = room.view()
        answer = room.service(view).search(Query(any_of=[3], top=100))
        assert answer.partial
        assert answer.missing == ("shard-1",)
        here = {one for key in view.dealt[0] for one in held(room.shards[0], view.version, key)}
        expected = [hit for hit in whole.search(Query(any_of=[3], top=100)).hits if hit.image_id in here]
        assert list(answer.hits) == expected
        assert expected
        lost = next(one for one in ids if one not in here)
        with pytest.raises(EnvironmentFault, match="a shard that may have the image does not answer"):
            room.service(view).search(Query(like=[lost]))
        # Whether a value occurs in the missing shard is not known, so it is not refused.
        assert room.service(view).search(Query(any_of=[3], where={"view": ["SIDEWAYS"]})).hits == ()
        room.deaf = {0, 1}
        with pytest.raises(EnvironmentFault, match="no shard of the index answers"):
            room.service(view).search(Query(any_of=[3]))
    finally:
        room.deaf = set()


def held(shard: Shard, version: Version, key: str) -> list[str]:
    segment = next(one for one in shard.open(version).segments if one.key == key)
    return [str(one) for one in segment.images.ids.to_pylist()]


def test_a_shard_that_was_silent_once_is_not_waited_for_again_in_the_same_query(
    rooms: tuple[SearchService, list[Room], list[str]],
) -> None:
    _, (_, room, _), ids = rooms
    room.deaf = {1}
    try:
        here = {one for key in room.view().dealt[0] for one in held(room.shards[0], room.followed.look(), key)}
        remote = Remote(room.view(), room)
        asked: list[Sequence[int]] = []
        remote._ask = lambda v, q, s: (asked.append(s), room(v, q, s))[1]  # type: ignore[func-returns-value]
        SearchService(remote, NAMES).search(Query(like=[next(one for one in ids if one in here)]))
    except EnvironmentFault:
        pytest.fail("the image is on the shard that answers")
    finally:
        room.deaf = set()
    assert [list(one) for one in asked] == [[0, 1], [0]]


def test_every_version_is_answered_for_good_and_the_newest_two_are_kept_open(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    a = archive(5)
    base = put(lake, a, (50,))
    room = Room(lake, base, 2)
    views = [room.view()]
    firing = [one for one in a.ids if a.dense[a.ids.index(one), 2]]
    for image_id in firing[:2]:
        changes.remove(lake, base, cache(lake), [image_id])
        views.append(room.view())
    changes.compact(lake, base, cache(lake))
    views.append(room.view())
    assert [view.version.number for view in views] == [1, 2, 3, 4]
    query = Query(any_of=[2], top=120)
    counts = [len(room.service(view).search(query).hits) for view in views]
    assert counts == [len(firing), len(firing) - 1, len(firing) - 2, len(firing) - 2]
    assert [list(view.dealt[1]) for view in views][-1] == []
    assert len(room.shards[0]._opened) == 2


def test_a_version_that_cannot_be_opened_is_a_missing_shard_not_a_fault(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    base = put(lake, archive(5), (50,))
    room = Room(lake, base, 2)
    view = room.view()
    beyond = View(Version(7, base.artifact), view.statistics, view.columns, view.dealt, view.names)
    with pytest.raises(EnvironmentFault, match="no shard of the index answers"):
        room.service(beyond).search(Query(any_of=[2]))
    assert room.shards[0].answer(beyond.version, None).closed == "the index has no such version"  # type: ignore[arg-type]
