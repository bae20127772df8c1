"""Training on a real cluster: it goes on after any deaths, with bounded retries, and errors are data."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Cluster
from tests.driver import Driver


@pytest.fixture(scope="module")
def drive(cluster: Cluster) -> Iterator[Driver]:
    driver = Driver("tests.distributed.run", cluster.address)
    yield driver
    driver.close()


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
