"""The engine on a real cluster: every row once after any deaths, bounded retries, errors as data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.recipe import Plan, Recipe, plan_to_json
from neuroconcepts_ray.lake.shards import Row, cut
from tests.conftest import Cluster
from tests.driver import Driver

PLAN = Plan(Recipe("double", 1, {}), {})


@pytest.fixture(scope="module")
def drive(cluster: Cluster) -> Iterator[Driver]:
    driver = Driver("tests.distributed.run", cluster.address)
    yield driver
    driver.close()


def spec(folder: Path, **more: Any) -> dict[str, Any]:
    return {"lake": str(folder / "lake"), "phi": str(folder / "phi"), "plan": plan_to_json(PLAN), "rows": 23, **more}


def numbers(folder: Path) -> list[int]:
    lake = Lake.open(str(folder / "lake"), str(folder / "phi"))
    rows = [Row(image_id=f"i{n}", source="s") for n in range(23)]
    receipts = [lake.receipt(PLAN, shard.key) for shard in cut(rows, PLAN.recipe.digest, 8, 5)]
    return [int(x) for r in receipts if r for x in np.frombuffer(lake.read(r.part), np.int64)]


def test_every_row_comes_out_once_although_a_worker_died(drive: Driver, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    outcome = drive("shards", spec(tmp_path, deadly={"i5": 1}))
    assert "error" not in outcome
    assert numbers(tmp_path) == [2 * n for n in range(23)]


def test_a_shard_that_always_kills_its_worker_ends_the_run_with_what_is_done_kept(
    drive: Driver, tmp_path: Path
) -> None:
    (tmp_path / "lake").mkdir()
    outcome = drive("shards", spec(tmp_path, deadly={"i20": 99}))
    assert outcome["exit"] == 4
    assert "compute.retries" in outcome["error"]["what"]
    assert set(numbers(tmp_path)) <= {2 * n for n in range(20)}


def test_an_unreadable_shard_stays_unfinished_and_the_next_run_continues(drive: Driver, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    outcome = drive("shards", spec(tmp_path, unreadable=["i10"]))
    assert outcome["exit"] == 4
    assert outcome["error"]["value"] == "1 of 5; first: Connection timed out"
    assert numbers(tmp_path) == [2 * n for n in range(23) if not 10 <= n < 15]
    assert "error" not in drive("shards", spec(tmp_path))
    assert numbers(tmp_path) == [2 * n for n in range(23)]


def test_an_error_of_the_input_reaches_the_driver_with_its_type(drive: Driver, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    outcome = drive("shards", spec(tmp_path, changed=["i0"]))
    assert (outcome["exit"], outcome["error"]["type"], outcome["error"]["where"]) == (3, "InputError", "i0")


def test_training_goes_on_from_its_last_state_after_a_death(drive: Driver, tmp_path: Path) -> None:
    case = {"to": 4, "dies_at": 2, "mark": str(tmp_path / "mark"), "folder": str(tmp_path / "work")}
    outcome = drive("training", case)
    assert outcome["result"] == {"x": [4.0, 4.0], "step": 4, "trail": [0, 1, 2, 3]}
    assert (tmp_path / "mark").exists()


def test_an_error_of_the_loop_is_not_tried_again(drive: Driver, tmp_path: Path) -> None:
    outcome = drive("training", {"to": 3, "raises_at": 1, "folder": str(tmp_path / "work")})
    assert (outcome["exit"], outcome["error"]["value"]) == (2, "resnet19")


def test_two_workers_know_each_other(drive: Driver, tmp_path: Path) -> None:
    outcome = drive("training", {"to": 2, "workers": 2, "folder": str(tmp_path / "work")})
    assert outcome["result"]["x"] == [4.0, 4.0]


def test_each_rank_of_a_sharded_training_goes_on_from_its_own_state(drive: Driver, tmp_path: Path) -> None:
    case = {"to": 3, "workers": 2, "apart": 100.0, "rank": 1, "folder": str(tmp_path / "work")}
    dies = {"dies_at": 2, "mark": str(tmp_path / "mark")}
    outcome = drive("sharded", case | dies)
    assert outcome["result"] == [{"x": [first, first], "step": 3, "trail": [0, 1, 2]} for first in (6.0, 106.0)]
    assert (tmp_path / "mark").exists()


def test_an_error_of_one_rank_ends_the_others_and_is_not_tried_again(drive: Driver, tmp_path: Path) -> None:
    case = {"to": 3, "workers": 2, "rank": 1, "raises_at": 1, "folder": str(tmp_path / "work")}
    outcome = drive("sharded", case)
    assert (outcome["exit"], outcome["error"]["value"]) == (2, "resnet19")
    assert (tmp_path / "work" / "tries").read_text() == "x"
