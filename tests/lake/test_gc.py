"""gc: what nothing refers to is found and removed, what anything refers to stays, and running commands lose nothing."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from neuroconcepts_ray.errors import EnvironmentFault, InputError
from neuroconcepts_ray.lake import gc, leases
from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.gc import collect, sweep
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Receipt
from neuroconcepts_ray.lake.recipe import Plan, Recipe, canonical_json
from neuroconcepts_ray.lake.shards import Row, cut
from neuroconcepts_ray.lake.store import LocalStore, MemoryStore
from neuroconcepts_ray.lake.survey import address
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.lake.verify import verify
from neuroconcepts_ray.retrieval import changes
from neuroconcepts_ray.retrieval.search import SearchService
from tests.lake.lakes import make

EVERY = ("orphan", "unfinished", "artifact")

NOW = -2.0
"""A grace period that is over: S3 tells time in whole seconds."""

ROWS = to_parquet(pa.table({"image_id": ["i"]}))

PLAN = Plan(Recipe("codes", 1, {"k": 7}), {"catalog": "c0"})


def keys(lake: Lake) -> set[str]:
    return {blob.key for store in (lake.store, lake.phi) for blob in store.scan()}


def shard_of(plan: Plan, number: int = 0):
    return next(cut([Row(image_id=f"i{number}", source="s")], plan.recipe.digest, 1, 1))


def work(lake: Lake, plan: Plan, number: int = 0) -> Receipt:
    shard = shard_of(plan, number)
    part = lake.put_part(plan, f"{shard.key}.parquet", ROWS, rows=1)
    return lake.commit_receipt(plan, Receipt(shard=shard.key, part=part))


class GcContract:
    """Written for any store: a subclass gives an empty lake."""

    @pytest.fixture
    def lake(self) -> Lake:
        raise NotImplementedError

    @pytest.fixture
    def have(self, lake: Lake, tmp_path: Path) -> dict[str, Manifest]:
        return make(lake, tmp_path / "cache")

    def test_nothing_of_a_finished_chain_may_go(self, lake: Lake, have: dict[str, Manifest]) -> None:
        before = keys(lake)
        heap, freed = sweep(lake, map(address, have.values()), sorts=EVERY, dry=False, grace_s=NOW)
        assert (heap.garbage, freed) == ([], 0)
        assert keys(lake) == before

    def test_parts_of_dead_attempts_go_and_only_when_told_to(self, lake: Lake, have: dict[str, Manifest]) -> None:
        before = keys(lake)
        lost = lake.put_part(PLAN, "x.parquet", b"twelve bytes")
        phi = lake.put_part(PLAN, "y.parquet", b"and six", root="phi")
        heap, _ = sweep(lake, grace_s=NOW)
        orphans = {(one.key, one.bytes) for one in heap.of(("orphan",))}
        assert orphans == {(lost.key, 12), (phi.key, 7)}
        assert keys(lake) == before | {lost.key, phi.key}
        _, freed = sweep(lake, dry=False, grace_s=NOW)
        assert freed == 19
        assert keys(lake) == before
        assert verify(lake, everything=True).problems == []
        assert have

    def test_the_probe_of_a_writer_that_died_goes(self, lake: Lake) -> None:
        lake.store.write("probe/0123", b"first")
        assert [(one.what, one.key) for one in collect(lake, grace_s=NOW).of(("orphan",))] == [("probe", "probe/0123")]
        sweep(lake, dry=False, grace_s=NOW)
        assert not lake.store.exists("probe/0123")

    def test_what_is_young_is_left_alone(self, lake: Lake) -> None:
        lake.put_part(PLAN, "x.parquet", b"12")
        assert collect(lake).garbage == []
        assert len(collect(lake, grace_s=NOW).garbage) == 1

    def test_unfinished_work_stays_unless_asked_for_or_if_a_config_plans_it(self, lake: Lake) -> None:
        receipt = work(lake, PLAN)
        sweep(lake, dry=False, grace_s=NOW)
        assert lake.receipt(PLAN, receipt.shard) == receipt
        recipe = PLAN.recipe.digest
        sweep(lake, sorts=("orphan", "unfinished"), dry=False, grace_s=NOW, recipes={recipe})
        assert lake.receipt(PLAN, receipt.shard) == receipt
        sweep(lake, sorts=("orphan", "unfinished"), dry=False, grace_s=NOW)
        assert keys(lake) == set()

    def test_an_artifact_goes_only_when_asked_for_and_if_nothing_reaches_it(
        self, lake: Lake, have: dict[str, Manifest]
    ) -> None:
        before = keys(lake)
        other = replace(PLAN, inputs={"catalog": have["catalog"].content})
        receipt = work(lake, other)
        made = assemble(lake, other, "codes.other", [shard_of(other)])
        assert sweep(lake, dry=False, grace_s=NOW)[1] == 0
        roots = [address(one) for one in have.values()]
        heap, _ = sweep(lake, roots, grace_s=NOW)
        assert {one.key for one in heap.of(("artifact",))} == {
            address(made),
            receipt.part.key,
            f"codes/{other.recipe.digest}/receipts/{receipt.shard}.json",
        }
        assert not collect(lake, [*roots, address(made)], grace_s=NOW).garbage
        sweep(lake, roots, sorts=EVERY, dry=False, grace_s=NOW)
        assert keys(lake) == before

    def test_what_a_kept_artifact_was_made_from_is_kept(self, lake: Lake, have: dict[str, Manifest]) -> None:
        only = [address(have["codes.latents"])]
        gone = {one.key for one in collect(lake, only, grace_s=NOW).of(("artifact",))}
        assert not gone & {address(one) for one in have.values()}

    def test_artifacts_made_on_demand_stay_with_what_they_were_made_from(self, lake: Lake) -> None:
        codes = lake.commit_manifest(PLAN, "codes.latents", [])
        asked = lake.commit_manifest(Plan(Recipe("neighbours", 1, {}), {"index": codes.content}), "neighbours.x", [])
        assert {one.key for one in collect(lake, [address(codes)], grace_s=NOW).garbage} == {address(asked)}
        assert not collect(lake, [address(codes)], on_demand={"neighbours"}, grace_s=NOW).garbage

    def test_old_states_of_an_index_go_with_their_versions_and_the_newest_answers_as_before(
        self, lake: Lake, have: dict[str, Manifest], tmp_path: Path
    ) -> None:
        base = have["index.latents"]
        state = changes.published(lake, base)
        changes.compact(lake, base, tmp_path / "cache")
        kept = sorted(SearchService.open(lake, base, cache=tmp_path / "cache").index.segments[0].images.ids.to_pylist())
        roots = [address(one) for name, one in have.items() if name != "index.latents"]
        sweep(lake, roots, sorts=EVERY, dry=False, grace_s=NOW, versions=1)
        assert lake.manifest(state.manifest.kind, state.manifest.recipe, state.manifest.artifact) is None
        service = SearchService.open(lake, base, cache=tmp_path / "other cache")
        assert sorted(service.index.segments[0].images.ids.to_pylist()) == kept
        assert verify(lake, everything=True).problems == []

    def test_checkpoints_of_finished_trainings_go_and_others_stay(self, lake: Lake) -> None:
        made = lake.commit_manifest(PLAN, "sae", [])
        for artifact in (made.artifact, "f" * 32):
            lake.store.write(f"training/{artifact}/checkpoint_1/state.json", b"{}")
        sweep(lake, [address(made)], dry=False, grace_s=NOW)
        assert {key for key in keys(lake) if key.startswith("training/")} == {
            f"training/{'f' * 32}/checkpoint_1/state.json"
        }

    def test_what_a_running_command_has_written_stays_however_old_it_is(self, lake: Lake) -> None:
        with leases.hold(lake.store, "run"):
            part = lake.put_part(PLAN, "x.parquet", b"12")
            heap, _ = sweep(lake, dry=False, grace_s=NOW)
            assert (heap.garbage, heap.running) == ([], ["run"])
        assert part.key in keys(lake)
        assert not [key for key in keys(lake) if key.startswith("leases/")]
        sweep(lake, dry=False, grace_s=NOW)
        assert part.key not in keys(lake)

    def test_while_a_command_runs_artifacts_are_not_removed_and_while_they_are_none_begins(self, lake: Lake) -> None:
        with leases.hold(lake.store, "mine"), pytest.raises(EnvironmentFault, match="mine"):
            sweep(lake, sorts=EVERY, dry=False, grace_s=NOW)
        with leases.hold(lake.store, "gc", exclusive=True):
            with pytest.raises(EnvironmentFault, match="gc") as error, leases.hold(lake.store, "run"):
                pass
            assert error.value.exit_code == 4
        with leases.hold(lake.store, "run"), leases.hold(lake.store, "index"):
            pass

    def test_a_lease_is_renewed_while_it_is_held_and_a_dead_one_is_cleared_away(
        self, lake: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with leases.hold(lake.store, "run", renew_s=0.01) as key:
            deadline = threading.Event()
            while leases.leases(lake.store)[0].lease.age_s == 0.0:
                assert not deadline.wait(0.01)
            assert key == leases.leases(lake.store)[0].key
        lake.store.write("leases/dead.json", canonical_json({"verb": "run", "exclusive": True, "age_s": 5.0}))
        monkeypatch.setattr(leases, "TTL_S", -1.0)
        assert collect(lake, grace_s=NOW).running == []
        sweep(lake, sorts=EVERY, dry=False, grace_s=NOW)
        assert keys(lake) == set()

    def test_nothing_goes_while_a_record_cannot_be_read(self, lake: Lake, have: dict[str, Manifest]) -> None:
        lake.store.write(address(have["codes.latents"]), b"{}")
        with pytest.raises(InputError, match="verify --all"):
            sweep(lake, dry=False, grace_s=NOW)

    def test_writers_that_race_gc_lose_nothing_and_readers_see_whole_versions(self, lake: Lake) -> None:
        """Commits of shards and artifacts run beside gc that grants no grace; whatever was committed can be read."""
        stop, errors, done = threading.Event(), [], []

        def write(writer: int) -> None:
            try:
                with leases.hold(lake.store, "mine"):
                    for number in range(8):
                        plan = Plan(Recipe("codes", 1, {"k": 100 * writer + number}), {})
                        work(lake, plan, 100 * writer + number)
                        made = assemble(lake, plan, "codes.race", [shard_of(plan, 100 * writer + number)])
                        lake.advance(f"race-{writer}", made)
                        done.append(made)
            except Exception as error:
                errors.append(error)

        def read() -> None:
            while not stop.is_set():
                for made in list(done):
                    assert lake.read(made.parts[0]) == ROWS

        def clear() -> None:
            try:
                while not stop.is_set():
                    sweep(lake, dry=False, grace_s=0.0)
            except Exception as error:
                errors.append(error)

        writers = [threading.Thread(target=write, args=(n,)) for n in range(3)]
        others = [threading.Thread(target=read), threading.Thread(target=clear)]
        for thread in (*writers, *others):
            thread.start()
        for thread in writers:
            thread.join()
        stop.set()
        for thread in others:
            thread.join()
        assert errors == []
        assert len(done) == 24
        assert verify(lake, everything=True).problems == []

    def test_a_reader_of_an_index_that_changes_under_gc_sees_one_whole_state_each_time(
        self, lake: Lake, have: dict[str, Manifest], tmp_path: Path
    ) -> None:
        base, cache = have["index.latents"], tmp_path / "cache"
        stop, errors, seen = threading.Event(), [], []
        images = changes.published(lake, base).open(lake, cache).segments[0].images.ids.to_pylist()

        def change() -> None:
            for image in images[5:9]:
                with leases.hold(lake.store, "index remove"):
                    changes.remove(lake, base, cache, [image])
            with leases.hold(lake.store, "index compact"):
                changes.compact(lake, base, cache)

        def read() -> None:
            index = changes.published(lake, base).open(lake, tmp_path / f"cache {len(seen)}")
            shown = {one for segment in index.segments for one in segment.images.ids.to_pylist()}
            assert index.statistics.images <= len(shown)
            seen.append(index.statistics.images)

        def again(work: Callable[[], object]) -> None:
            try:
                while not stop.is_set():
                    work()
            except Exception as error:
                errors.append(error)

        clear = partial(sweep, lake, [address(one) for one in have.values()], dry=False, grace_s=0.0)
        threads = [threading.Thread(target=again, args=(work,)) for work in (read, clear)]
        for thread in threads:
            thread.start()
        change()
        stop.set()
        for thread in threads:
            thread.join()
        assert errors == []
        first = changes.published(lake, base).open(lake, cache).statistics.images + 4
        assert set(seen) <= set(range(first - 4, first + 1))
        assert verify(lake, everything=True).problems == []


class TestGcOnDisk(GcContract):
    @pytest.fixture
    def lake(self, tmp_path: Path) -> Lake:
        return Lake(LocalStore(tmp_path / "lake"), LocalStore(tmp_path / "phi", 0o700))

    def test_what_a_dead_writer_left_goes(self, lake: Lake, tmp_path: Path) -> None:
        work(lake, PLAN)
        left = tmp_path / "lake" / "codes" / f".{'0' * 32}.tmp"
        left.write_bytes(b"half")
        assert [one.what for one in collect(lake, grace_s=NOW).of(("orphan",))] == ["scratch"]
        sweep(lake, dry=False, grace_s=NOW)
        assert not left.exists()


class TestGcInMemory(GcContract):
    @pytest.fixture
    def lake(self) -> Lake:
        return Lake(MemoryStore(), MemoryStore())


def test_what_points_to_something_goes_before_it() -> None:
    heap = gc.Heap([gc.Garbage("artifact", what, "lake", what, 1) for what in ("part", "manifest", "ref", "receipt")])
    assert [one.what for one in heap.of(EVERY)] == ["ref", "manifest", "receipt", "part"]
