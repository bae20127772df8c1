"""A store that dies, and a network that fails, in the middle of mining."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from neuroconcepts_ray.lake import client, commit
from neuroconcepts_ray.lake.store import open_store
from tests.chaos.conftest import ACTORS, PIPELINE, World
from tests.chaos.mining import PART, Mining, Story, count, finish
from tests.chaos.whole import whole
from tests.conftest import Command
from tests.faultproxy import Fault, FaultProxy, Request, no_faults, shares
from tests.test_chain_s3 import RemoteChain
from tests.weed import BUCKET, Weed

pytestmark = whole

STORM: dict[Fault, float] = {"busy": 0.20, "reset": 0.10, "truncate": 0.05, "drop": 0.03, "conflict": 0.10}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Weed]:
    """A server of the test's own, for it will be killed."""
    made = Weed(tmp_path / "weed")
    made.start()
    try:
        yield made
    finally:
        made.kill()


def remote(world: World, server: Weed, folder: Path, endpoint: str) -> RemoteChain:
    """The archive and a lake that nothing was mined into yet, in the server's bucket."""
    run = RemoteChain(folder, world.archive, endpoint, folder.name, PIPELINE)
    places = {world.inputs.lake: f"{folder.name}/lake", world.inputs.folder / "phi": f"{folder.name}/phi"}
    for part in ("archive", "reports"):
        places[world.archive / part] = f"films/{part}"
    for root, prefix in places.items():
        for path in root.rglob("*"):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(root).as_posix()}"
                server.behind.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
    return run


@pytest.mark.parametrize("away", ["for two seconds", "until the command gives up"])
def test_the_store_is_killed_and_restarted(
    world: World, nc_alone: Command, server: Weed, story: Story, tmp_path: Path, away: str
) -> None:
    run = remote(world, server, tmp_path / "run", server.endpoint)
    store = open_store(run.uri)
    mining = Mining(nc_alone, run, story)
    assert mining.wait_for(lambda: count(store) >= world.clean.parts // 3)
    done = count(store)
    server.kill()
    story.faults["store"] += 1
    if away == "for two seconds":
        time.sleep(2)
        server.start()
    else:
        began = time.monotonic()
        assert mining.end(seconds=1200) == 4
        story.notes.append(f"gave up {time.monotonic() - began:.0f} s after the store's death")
        server.start()
        assert count(store) >= done, "what was acknowledged is there"
        mining = Mining(nc_alone, run, story)
    finish(nc_alone, run, story, mining)
    world.clean.check(run, store, story, allowed=ACTORS * world.clean.taps)


def test_a_network_that_fails(world: World, nc_alone: Command, server: Weed, story: Story, tmp_path: Path) -> None:
    with FaultProxy("127.0.0.1", server.port) as proxy:
        calm = remote(world, server, tmp_path / "calm", proxy.endpoint)
        began = time.monotonic()
        Mining(nc_alone, calm, story).end((0,))
        story.clean_s = time.monotonic() - began
        usual, proxy.requests = len(proxy.requests), []

        run = remote(world, server, tmp_path / "run", proxy.endpoint)
        proxy.plan = shares(7, STORM)
        store = open_store(f"s3://{BUCKET}/run/lake?endpoint={server.endpoint}")
        finish(nc_alone, run, story, Mining(nc_alone, run, story))
        proxy.plan = no_faults
        assert set(proxy.faults) == set(STORM)
        story.faults += proxy.faults
        bounded(proxy.requests)
        story.notes.append(f"{len(proxy.requests)} requests where a calm network takes {usual}")
        # An answer that is lost makes no second part: the same attempt writes the same key again.
        world.clean.check(run, store, story, allowed=story.codes["4"] * ACTORS * world.clean.taps)


def bounded(requests: list[Request]) -> None:
    """No write is repeated for ever: a part has one key an attempt, a receipt is offered a few times."""
    asked = Counter((request.method, re.sub(r".*?/lake/", "", request.path)) for request in requests)
    most = max(times for (method, key), times in asked.items() if method == "PUT" and PART.match(key))
    assert most <= client.ATTEMPTS
    for (method, key), times in asked.items():
        if method == "PUT" and "/receipts/" in key:
            assert times <= client.ATTEMPTS * commit.ATTEMPTS
