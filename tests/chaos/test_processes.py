"""Drivers, workers and nodes that die in the middle of mining."""

import random
import time
from pathlib import Path

import pytest

from neuroconcepts_ray.lake.store import LocalStore
from tests.chaos.conftest import ACTORS, World
from tests.chaos.mining import GRACE_S, Mining, Story, count, finish, receipts, wait_for_end
from tests.chaos.nodes import Nodes
from tests.chaos.processes import ACTOR, LOADER, Process, of
from tests.chaos.whole import whole
from tests.conftest import Command

pytestmark = whole

KILLS, SEED = 20, 20


def test_driver_killed_at_random_points(world: World, nc_alone: Command, story: Story, tmp_path: Path) -> None:
    # One point in each twentieth of a clean run's time: the first before Ray is up, the last about the commit. A lake
    # is mined until it is done although killed again and again; where it is done before its point, another begins.
    story.clean_s = world.clean.seconds
    chance = random.Random(SEED)  # noqa: S311 - no secret
    points = [(number + chance.random()) / KILLS * world.clean.seconds for number in range(KILLS)]
    chance.shuffle(points)
    lakes = deaths = 0
    run = world.fresh(tmp_path / "0")
    while points:
        before = receipts(LocalStore(run.lake))
        mining = Mining(nc_alone, run, story)
        if mining.wait(points[0]):
            mining.kill()
            points.pop(0)
            story.faults["driver"] += 1
            deaths += 1
        elif not mining.end():
            world.clean.check(run, LocalStore(run.lake), story, allowed=deaths * ACTORS * world.clean.taps)
            lakes, deaths = lakes + 1, 0
            run = world.fresh(tmp_path / str(lakes))
            continue
        assert story.codes.total() <= 3 * KILLS, "it must come to an end"
        assert before.items() <= receipts(LocalStore(run.lake)).items()
    finish(nc_alone, run, story, Mining(nc_alone, run, story))
    world.clean.check(run, LocalStore(run.lake), story, allowed=deaths * ACTORS * world.clean.taps)
    wait_for_end([one.pid for one in story.processes], 3 * GRACE_S)


def test_five_workers_killed_in_one_run(world: World, nc_alone: Command, story: Story, tmp_path: Path) -> None:
    story.clean_s = world.clean.seconds
    chance = random.Random(5)  # noqa: S311 - no secret
    run = world.fresh(tmp_path)
    store = LocalStore(run.lake)
    mining = Mining(nc_alone, run, story)
    # Loaders run ahead of the actors, so they die first: as soon as they are there.
    for title, done in ((LOADER, 0), (LOADER, 0), (ACTOR, 1), (ACTOR, 2), (ACTOR, 3)):
        enough = done * world.clean.parts // 5
        assert mining.wait_for(lambda enough=enough: count(store) >= enough), "it ended before all were killed"
        assert mining.wait_for(lambda title=title: _one(chance, of(mining.session, title)))
        story.faults["actor" if title == ACTOR else "loader"] += 1
    finish(nc_alone, run, story, mining)
    world.clean.check(run, store, story, allowed=story.faults.total() * world.clean.taps)


def _one(chance: random.Random, processes: list[Process]) -> bool:
    return bool(processes) and chance.choice(processes).kill()


def test_one_of_three_nodes_killed(world: World, story: Story, tmp_path: Path) -> None:
    with Nodes(2) as nodes:
        nc = Command(nodes.address)
        story.clean_s = world.timed(nc, tmp_path / "clean", story)
        run = world.fresh(tmp_path / "torn")
        store = LocalStore(run.lake)
        mining = Mining(nc, run, story)
        assert mining.wait_for(lambda: count(store) >= world.clean.parts // 3)
        nodes.kill_one_with(ACTOR)
        story.faults["node"] += 1
        began = mining.start
        finish(nc, run, story, mining)
        took = time.monotonic() - began
    story.notes.append(f"{took:.1f} s with the death of a node, {took / story.clean_s:.2f} of {story.clean_s:.1f} s")
    world.clean.check(run, store, story, allowed=ACTORS * world.clean.taps)


def test_all_nodes_killed_and_none_comes(world: World, story: Story, tmp_path: Path) -> None:
    """What is left, the head's one CPU, holds no actor beside a load task: the run must not wait for ever."""
    with Nodes(2) as nodes:
        nc = Command(nodes.address)
        run = world.fresh(tmp_path / "torn")
        store = LocalStore(run.lake)
        mining = Mining(nc, run, story, "--set", "compute.node_wait_s=20")
        assert mining.wait_for(lambda: count(store) >= world.clean.parts // 3)
        nodes.kill_all()
        story.faults["node"] += 2
        began = time.monotonic()
        mining.end((4,), 240)
        assert "has lost machines" in story.notes[-1]
        story.notes.append(f"it ended {time.monotonic() - began:.1f} s later; machines had 20 s to come")
        nodes.add(2)
        finish(nc, run, story, Mining(nc, run, story))
    world.clean.check(run, store, story, allowed=2 * ACTORS * world.clean.taps)


@pytest.mark.parametrize("moment", ["its part is there", "no part is there yet"])
def test_a_zombie_that_finishes_late(
    world: World, nc_alone: Command, story: Story, tmp_path: Path, moment: str
) -> None:
    """An actor is stopped in the middle of a shard, another run does all and commits, then the actor goes on."""
    story.clean_s = world.clean.seconds
    run = world.fresh(tmp_path)
    store = LocalStore(run.lake)
    zombie = Mining(nc_alone, run, story)
    with_part = moment == "its part is there"
    stopped = _stop_within_a_shard(zombie, store, with_part=with_part)
    story.faults["stopped"] += len(stopped)
    Mining(nc_alone, run, story).end((0,))
    committed = {key: store.read(key) for key in store.list("activations") if "/parts/" not in key}
    for process in stopped:
        process.resume()
    zombie.end((0,))
    assert {key: store.read(key) for key in committed} == committed, "a zombie may change nothing"
    world.clean.check(run, store, story, allowed=len(stopped) * world.clean.taps)


def _stop_within_a_shard(mining: Mining, store: LocalStore, *, with_part: bool) -> list[Process]:
    """Stop all actors at a moment when a part has no receipt yet, or when none is open although they work."""
    assert mining.wait_for(lambda: count(store))
    actors = of(mining.session, ACTOR)
    while mining.running:  # such a moment lasts some milliseconds, a hundred times a run
        for actor in actors:
            actor.stop()
        if bool(open_parts(store)) == with_part:
            return actors
        for actor in actors:
            actor.resume()
        time.sleep(0.002)
    pytest.fail("the moment never came")


def open_parts(store: LocalStore) -> set[str]:
    """Shards of which a part is there, and no receipt."""
    keys = list(store.list("activations"))
    parts = {key.split("/")[1] + key.split("/")[3].split("-")[0] for key in keys if "/parts/" in key}
    return parts - {key.split("/")[1] + key.split("/")[3].removesuffix(".json") for key in keys if "/receipts/" in key}
