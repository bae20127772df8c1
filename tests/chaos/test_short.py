"""The short form of `make chaos`: one small lake on the cluster of the run, three drivers and a worker killed."""

import random
import threading
from pathlib import Path

from neuroconcepts_ray.lake.store import LocalStore
from tests.chaos.mining import Clean, Mining, Story, copy_inputs, count, receipts
from tests.chaos.processes import ACTOR, of
from tests.conftest import Chain, Cluster, Command, Resident


def test_three_drivers_and_a_worker_killed(
    chain: Chain, cluster: Cluster, nc: Command, resident: Resident, story: Story, tmp_path: Path
) -> None:
    clean = Clean(chain)
    run = Chain(tmp_path, chain.archive)
    copy_inputs(chain, tmp_path)
    store = LocalStore(run.lake)
    chance = random.Random(4)  # noqa: S311 - no secret
    # One before Ray is up, two while receipts are written, which go on for a moment after their driver's death.
    for done in (0, chance.randint(1, 9), chance.randint(15, 25)):
        mining = Mining(nc, run, story)
        if done:
            assert mining.wait_for(lambda done=done: count(store) >= done)
        else:
            assert mining.wait(chance.uniform(0.3, 1.5))
        mining.kill()
        story.faults["driver"] += 1
    kept = receipts(store)
    assert 0 < len(kept) < clean.parts, "it must not have been finished when it was killed"

    last = threading.Thread(target=resident, args=("mine", "-c", run.file))
    last.start()
    while last.is_alive() and not story.faults["worker"]:
        if count(store) > len(kept) + 3:
            story.faults["worker"] += sum(actor.kill() for actor in of(cluster.process.pid, ACTOR))
    last.join()
    assert story.faults["worker"] == 1
    assert kept.items() <= receipts(store).items()
    # A death costs what its one worker had in hand: a shard, which is a part a tap.
    clean.check(run, store, story, allowed=story.faults.total() * clean.taps)
