"""``fit`` on a cluster: two workers, a worker killed, and checkpoints that are none."""

import json
import os
import pickle
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from neuroconcepts_ray.distributed.compat import SNAPSHOT
from tests.chaos.processes import of
from tests.conftest import Chain, Cluster, Command, Resident
from tests.test_chain import kill, wait_for

TWO = ("--set", "sae.workers=2", "--set", "sae.threads=2", "--set", "sae.batch_size=64")
FITTED = ("sae", "codes", "names", "index")


def artifact(chain: Chain, *overrides: str) -> tuple[str, dict[str, float]]:
    """Content and held-out figures of the SAE."""
    content = chain.contents(*overrides)["sae"]
    (found,) = [
        made for path in chain.lake.glob("sae/*/*.json") if (made := json.loads(path.read_text()))["content"] == content
    ]
    return content, found["facts"]["select"]


def training_workers(cluster: Cluster) -> list[int]:
    """Process ids of this cluster's training workers."""
    return [worker.pid for worker in of(cluster.process.pid, ".*RayTrainWorker")]


def test_two_workers_fit_as_well_as_one_and_a_killed_one_leaves_no_trace(
    chain: Chain, cluster: Cluster, nc: Command, resident: Resident, tmp_path: Path
) -> None:
    calm, torn = (chain.clone(tmp_path / name, without=FITTED) for name in ("calm", "torn"))
    resident("fit", "-c", calm.file, *TWO)
    process = nc.start("fit", "-c", torn.file, *TWO)
    wait_for(lambda: list(torn.lake.glob("training/*/progress.json")), process)
    before = training_workers(cluster)
    os.kill(before[-1], signal.SIGKILL)
    wait_for(lambda: set(training_workers(cluster)) - set(before), process)  # it was in the middle: others go on
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, (out, err)
    assert len(before) == 2
    overrides = TWO[1::2]
    content, figures = artifact(calm, *overrides)
    assert artifact(torn, *overrides)[0] == content
    alone, one = artifact(chain)
    assert content != alone
    assert abs(figures["fvu"] - one["fvu"]) <= 0.1 * one["fvu"]
    assert not list(torn.lake.glob("training/*"))


@pytest.mark.skipif("FIT_FAULTS" not in os.environ, reason="a minute long; `make test-fit-faults` runs it")
def test_a_checkpoint_that_is_none_is_refused_kept_and_mended_as_the_error_says(
    chain: Chain, nc: Command, tmp_path: Path
) -> None:
    copy = chain.clone(tmp_path / "run", without=FITTED)
    while True:
        process = nc.start("fit", "-c", copy.file)
        wait_for(lambda: list(copy.lake.glob("training/*/progress.json")), process)
        kill(process)
        (training,) = copy.lake.glob("training/*")
        time.sleep(1)  # the controller may still be at its last words
        with suppress(OSError, ValueError):  # a kill can tear it, and the training then begins anew
            if json.loads((training / SNAPSHOT).read_text())["checkpoint_results"]:
                break
    for file in training.glob("checkpoint_*/state.safetensors"):
        file.write_bytes(pickle.dumps({"idle": [1.0]}))
    held = {path: path.read_bytes() for path in training.glob("checkpoint_*/*")}
    error = nc("fit", "-c", copy.file, code=3).error
    assert "cannot be read" in error
    assert "Move the training's folder under training/ in the lake away" in error
    assert {path: path.read_bytes() for path in training.glob("checkpoint_*/*")} == held
    assert not list(copy.lake.glob("sae/*/*.json"))
    shutil.move(training, tmp_path / "away")
    nc("fit", "-c", copy.file)
    assert artifact(copy)[0] == artifact(chain)[0]
