"""map_shards on a real cluster: poison, hung and failing reads, deaths, actors, memory in flight."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe, plan_to_json
from tests.conftest import Cluster
from tests.distributed.run import stub_slips
from tests.driver import Driver

PLAN = Plan(Recipe("double", 1, {}), {})
ROWS = 40
LOADED, INFERRED = "kills the process that reads it", "kills the process that infers it"


@pytest.fixture(scope="module")
def drive(cluster: Cluster) -> Iterator[Driver]:
    driver = Driver("tests.distributed.run", cluster.address)
    yield driver
    driver.close()


def spec(folder: Path, **more: Any) -> dict[str, Any]:
    return {"lake": str(folder / "lake"), "phi": str(folder / "phi"), "plan": plan_to_json(PLAN), "rows": ROWS, **more}


def committed(folder: Path, most: float = 0.0) -> Manifest:
    lake = Lake.open(str(folder / "lake"), str(folder / "phi"))
    return assemble(lake, PLAN, "double", stub_slips(ROWS, PLAN), max_bad_fraction=most)


def numbers(folder: Path) -> list[int]:
    lake = Lake.open(str(folder / "lake"), str(folder / "phi"))
    receipts = lake.receipts(PLAN, [slip.key for slip in stub_slips(ROWS, PLAN)])
    return [int(x) for r in receipts if r for x in np.frombuffer(lake.read(r.part), np.int64)]


def marks(folder: Path, name: str) -> int:
    return len((folder / "marks" / name).read_text())


@pytest.fixture(scope="module")
def clean(drive: Driver, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("clean")
    told = drive("stub", spec(folder))["result"]
    assert told["images"] == ROWS
    assert (told["seconds"]["decode"], told["seconds"]["infer"], told["seconds"]["write"]) == (2.5, 10.0, 1.25)
    assert 0 < told["seconds"]["read"] < told["wall_s"]
    assert told["bottleneck"] == "infer"
    return committed(folder)


def test_images_that_kill_their_process_are_set_aside_and_no_other_byte_changes(drive: Driver, tmp_path: Path) -> None:
    kills = {"kills_load": {"i2": 99}, "kills_work": {"i3": 99}}  # of one shard, the other being well while it is read
    assert "error" not in drive("stub", spec(tmp_path, **kills, rows=8, shard_rows=2, retries=0))
    lake = Lake.open(str(tmp_path / "lake"), str(tmp_path / "phi"))
    made = assemble(lake, PLAN, "double", stub_slips(8, PLAN, 2), max_bad_fraction=0.25)
    found = [(bad.image_id, bad.stage, bad.cause) for bad in made.quarantined]
    assert found == [("i2", "double", LOADED), ("i3", "double", INFERRED)]
    rows = [np.frombuffer(lake.read(part), np.int64).tolist() for part in made.parts]
    assert rows == [[0, 2], [], [8, 10], [12, 14]]
    assert (marks(tmp_path, "kills_load-i2"), marks(tmp_path, "kills_work-i3")) == (5, 3)


def test_a_process_that_was_killed_once_leaves_no_trace(drive: Driver, tmp_path: Path, clean: Manifest) -> None:
    kills = {"kills_load": {"i12": 1}, "kills_work": {"i33": 1}}
    assert "error" not in drive("stub", spec(tmp_path, **kills, actors=2))
    assert committed(tmp_path).content == clean.content


@pytest.mark.parametrize("worker", ["Doomed", "Stillborn"])
def test_what_dies_whatever_is_left_out_is_no_images_fault(drive: Driver, tmp_path: Path, worker: str) -> None:
    outcome = drive("stub", spec(tmp_path, worker=f"tests.distributed.stub:{worker}", retries=0, rows=8))
    assert (outcome["exit"], "compute.retries" in outcome["error"]["what"]) == (4, True)
    assert outcome["error"]["where"].startswith("shard ")


def test_reads_that_hang_or_fail_leave_shards_unfinished_and_the_next_run_continues(
    drive: Driver, tmp_path: Path, clean: Manifest
) -> None:
    outcome = drive("stub", spec(tmp_path, hangs=["i12"], read_timeout_s=0.3, fails={"i1": 2, "i39": 3}))
    assert outcome["exit"] == 4
    count, _, first = outcome["error"]["value"].partition("; first: ")
    assert count == "2 of 5"
    assert first in ("a read did not end in 0.3 s", "Input/output error")
    assert [marks(tmp_path, name) for name in ("hung-i12", "read-i1", "read-i39")] == [3, 3, 3]
    assert numbers(tmp_path) == [2 * n for n in range(32) if not 8 <= n < 16]
    assert "error" not in drive("stub", spec(tmp_path, actors=4, threads=0.5))
    made = committed(tmp_path)
    assert (made.content, made.quarantined) == (clean.content, [])


def test_a_store_that_is_gone_ends_the_run_before_every_shard_was_tried(drive: Driver, tmp_path: Path) -> None:
    case = spec(tmp_path, rows=800, fails={f"i{n}": 999 for n in range(800)}, retries=0)
    outcome = drive("stub", case)
    assert (outcome["exit"], outcome["error"]["value"]) == (4, "100 of 100; first: Input/output error")
    assert len(list((tmp_path / "marks").iterdir())) < 80


def test_an_error_of_the_input_reaches_the_driver_with_its_type(drive: Driver, tmp_path: Path) -> None:
    outcome = drive("stub", spec(tmp_path, changed=["i0"]))
    assert (outcome["exit"], outcome["error"]["type"], outcome["error"]["where"]) == (3, "InputError", "i0")


def test_a_full_disk_is_named_with_its_remedy(drive: Driver, tmp_path: Path) -> None:
    outcome = drive("stub", spec(tmp_path, full=True, rows=16))
    assert (outcome["exit"], outcome["error"]["type"]) == (4, "EnvironmentFault")
    assert "No space left on device" in outcome["error"]["what"]
    assert outcome["error"]["value"] == "2 of 2 shards unfinished"
    assert "Free space" in outcome["error"]["remedy"]


def test_loaders_do_not_run_ahead_of_a_slow_actor(drive: Driver, tmp_path: Path) -> None:
    width, shards = 2_500_000, 60  # 20 MB a shard, 1.2 GB in all; the cluster's object store has 1 GB
    case = spec(tmp_path, rows=shards, shard_rows=1, width=width, work_s=0.05, count_loads=True)
    assert "error" not in drive("stub", case)
    ahead = [int(path.name.partition("-")[2]) for path in (tmp_path / "marks").glob("ahead-*")]
    assert max(ahead) * width * 8 <= 600_000_000


def test_sigterm_ends_a_command_cleanly_and_the_same_command_continues(
    drive: Driver, tmp_path: Path, clean: Manifest
) -> None:
    told = drive("terminated", spec(tmp_path, work_s=0.5))["result"]
    assert (told["code"], told["handler"]) == (4, "kept")
    assert told["said"] == "error: this process was asked to end. Run the same command again: it continues from here\n"
    assert len(numbers(tmp_path)) < ROWS
    assert "error" not in drive("stub", spec(tmp_path))
    assert committed(tmp_path).content == clean.content


def test_a_pass_that_waits_for_machines_ends_with_what_is_lost_and_the_next_goes_on(
    drive: Driver, tmp_path: Path, clean: Manifest
) -> None:
    told = drive("stalled", spec(tmp_path, work_s=8.0, node_wait_s=2.0, actors=2))["result"]
    assert told["told"] == "machines are lost (got 1 0)"
    assert "waiting" in told["events"]
    assert "error" not in drive("stub", spec(tmp_path, actors=2))
    assert committed(tmp_path).content == clean.content
