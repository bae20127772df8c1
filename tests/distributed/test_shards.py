"""map_shards on a real cluster: poison, hung and failing reads, deaths, actors, memory in flight."""

import time
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
    assert "error" not in drive("stub", spec(folder))
    return committed(folder)


def test_images_that_kill_their_process_are_set_aside_and_no_other_byte_changes(
    drive: Driver, tmp_path: Path, clean: Manifest
) -> None:
    kills = {"kills_load": {"i3": 99, "i5": 99}, "kills_work": {"i21": 99}}
    outcome = drive("stub", spec(tmp_path, **kills))
    assert "error" not in outcome, outcome
    made = committed(tmp_path, most=0.1)
    assert [(bad.image_id, bad.cause) for bad in made.quarantined] == [("i3", LOADED), ("i5", LOADED), ("i21", INFERRED)]
    assert numbers(tmp_path) == [2 * n for n in range(ROWS) if n not in (3, 5, 21)]
    touched = {0, 2}
    same = [number for number, part in enumerate(clean.parts) if made.parts[number].sha256 == part.sha256]
    assert same == [number for number in range(len(clean.parts)) if number not in touched]


def test_a_process_that_was_killed_once_leaves_no_trace(drive: Driver, tmp_path: Path, clean: Manifest) -> None:
    kills = {"kills_load": {"i12": 1}, "kills_work": {"i33": 1}}
    assert "error" not in drive("stub", spec(tmp_path, **kills))
    assert committed(tmp_path).content == clean.content


def test_what_dies_whatever_is_left_out_is_no_images_fault(drive: Driver, tmp_path: Path) -> None:
    outcome = drive("stub", spec(tmp_path, worker="tests.distributed.stub:Doomed", retries=0, rows=8))
    assert (outcome["exit"], "compute.retries" in outcome["error"]["what"]) == (4, True)
    assert outcome["error"]["where"].startswith("shard ")


def test_a_read_that_hangs_leaves_its_shard_unfinished_and_the_next_run_continues(
    drive: Driver, tmp_path: Path, clean: Manifest
) -> None:
    start = time.monotonic()
    outcome = drive("stub", spec(tmp_path, hangs=["i12"], read_timeout_s=0.3))
    assert time.monotonic() - start < 60
    assert (outcome["exit"], outcome["error"]["value"]) == (4, "1 of 5; first: a read did not end in 0.3 s")
    assert marks(tmp_path, "hung-i12") == 3
    assert numbers(tmp_path) == [2 * n for n in range(ROWS) if not 8 <= n < 16]
    assert "error" not in drive("stub", spec(tmp_path))
    assert committed(tmp_path).content == clean.content


def test_a_read_that_fails_is_tried_again_as_often_as_allowed(drive: Driver, tmp_path: Path, clean: Manifest) -> None:
    outcome = drive("stub", spec(tmp_path, fails={"i1": 2, "i39": 3}))
    assert (outcome["exit"], outcome["error"]["value"]) == (4, "1 of 5; first: Input/output error")
    assert (marks(tmp_path, "read-i1"), marks(tmp_path, "read-i39")) == (3, 3)
    assert "error" not in drive("stub", spec(tmp_path, fails={"i39": 3}))
    made = committed(tmp_path)
    assert (made.content, made.quarantined) == (clean.content, [])


def test_a_store_that_is_gone_ends_the_run_before_every_shard_was_tried(drive: Driver, tmp_path: Path) -> None:
    case = spec(tmp_path, rows=400, fails={f"i{n}": 999 for n in range(400)}, retries=0)
    outcome = drive("stub", case)
    assert (outcome["exit"], outcome["error"]["value"]) == (4, "50 of 50; first: Input/output error")
    assert len(list((tmp_path / "marks").iterdir())) < 40


@pytest.mark.parametrize("actors", [2, 4])
def test_any_number_of_actors_gives_the_same_content(
    drive: Driver, tmp_path: Path, clean: Manifest, actors: int
) -> None:
    assert "error" not in drive("stub", spec(tmp_path, actors=actors, threads=0.5))
    assert committed(tmp_path).content == clean.content


def test_loaders_do_not_run_ahead_of_a_slow_actor(drive: Driver, tmp_path: Path) -> None:
    outcome = drive("stub", spec(tmp_path, rows=320, work_s=0.05, count_loads=True))
    assert "error" not in outcome
    ahead = [int(path.name.partition("-")[2]) for path in (tmp_path / "marks").glob("ahead-*")]
    assert max(ahead) <= 12


def test_a_pass_says_where_its_time_went(drive: Driver, tmp_path: Path) -> None:
    told = drive("stub", spec(tmp_path))["result"]
    assert told["images"] == ROWS
    assert (told["seconds"]["decode"], told["seconds"]["infer"], told["seconds"]["write"]) == (2.5, 10.0, 1.25)
    assert 0 < told["seconds"]["read"] < told["wall_s"]
    assert told["bottleneck"] == "infer"
