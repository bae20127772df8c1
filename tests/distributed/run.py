"""A driver process for the tests of the engine: a case a line comes in, its outcome as JSON goes out."""

import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from unittest import mock

import ray

from neuroconcepts_ray.cli import main
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed import shards
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.shards import map_shards
from neuroconcepts_ray.distributed.stall import watched
from neuroconcepts_ray.distributed.train import train
from neuroconcepts_ray.errors import EnvironmentFault, NeuroconceptsError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.recipe import Plan, plan_from_json
from neuroconcepts_ray.lake.shards import Row, Slip, Start, cut
from tests.distributed import stub as stubs
from tests.distributed import work

POLICIES = ("actors", "retries", "read_timeout_s", "node_wait_s")


def stub_slips(rows: int, plan: Plan, size: int = 8) -> list[Slip]:
    """Shards of so many rows."""
    every = [Row(f"i{n}", f"s{n}") for n in range(rows)]
    made = cut(every, plan.recipe.digest, 8, size)
    return [Slip(shard.key, shard.size, shard.images, Start(0, size * n, size * n)) for n, shard in enumerate(made)]


def stub(spec: dict) -> dict:
    """The stub of mining, on what is not done."""
    plan = plan_from_json(spec["plan"])
    done = Lake.open(spec["lake"], spec["phi"]).done_shards(plan)
    summary = map_shards(
        [slip for slip in stub_slips(spec["rows"], plan, spec.get("shard_rows", 8)) if slip.key not in done],
        worker=spec.get("worker", "tests.distributed.stub:Doubler"),
        spec=spec,
        load=stubs.load,
        find=stubs.find,
        compute=validate(ComputeConfig, {name: spec[name] for name in POLICIES if name in spec}),
        threads=spec.get("threads", 1),
        label="double",
    )
    return {**asdict(summary), "bottleneck": summary.bottleneck}


def stalled(spec: dict) -> dict:
    """The stub on a cluster that says it has lost its machines."""

    def lost(threads: int, gpus: float) -> None:
        raise EnvironmentFault("machines are lost", value=f"{threads} {gpus:g}")

    said = io.StringIO()
    with (
        mock.patch.object(shards, "check_left", lost),
        mock.patch.object(shards, "watched", partial(watched, every_s=0.1)),
        contextlib.redirect_stderr(said),
    ):
        try:
            stub(spec)
        except EnvironmentFault as fault:
            told = fault.message
    return {"told": told, "events": [json.loads(line)["event"] for line in said.getvalue().splitlines()]}


def terminated(spec: dict) -> dict:
    """The stub as a command of its own would run it, which gets SIGTERM once its work has begun."""
    ray.shutdown()  # for a command connects, and Ray sets a handler of its own then
    begun = Path(spec["lake"]).with_name("marks") / "begun"
    handlers = []

    def kill() -> None:
        while not begun.exists():
            time.sleep(0.05)
        handlers.append(signal.getsignal(signal.SIGTERM))
        os.kill(os.getpid(), signal.SIGTERM)

    def app(_: list[str], *, standalone_mode: bool) -> None:
        assert not standalone_mode
        handlers.append(signal.getsignal(signal.SIGTERM))
        stub(spec)

    main.app = app
    threading.Thread(target=kill, daemon=True).start()
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main.call([])
    kept = handlers[0] is handlers[1] and signal.getsignal(signal.SIGTERM) is not handlers[0]
    lines = [line for line in said.getvalue().splitlines(keepends=True) if line.startswith("error")]
    return {"code": code, "handler": "kept" if kept else "lost", "said": "".join(lines)}


def training(spec: dict) -> dict:
    (state,) = _states(spec, sharded=False)
    return state


def sharded(spec: dict) -> list[dict]:
    return _states(spec, sharded=True)


def _states(spec: dict, *, sharded: bool) -> list[dict]:
    found = train(
        work.count,
        spec,
        name="fingerprint",
        folder=spec["folder"],
        compute=ComputeConfig(retries=2),
        threads=1,
        label="count",
        total=spec["to"],
        workers=spec.get("workers", 1),
        sharded=sharded,
    )
    return [{"x": one.tensors["x"].tolist(), **one.meta} for one in (found if isinstance(found, list) else [found])]


CASES = {"stub": stub, "stalled": stalled, "terminated": terminated, "training": training, "sharded": sharded}

if __name__ == "__main__":
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = CASES[request["case"]](request["spec"])
            answer = {"result": result}
        except NeuroconceptsError as error:
            answer = {"error": error.fields(), "exit": error.exit_code}
        print(json.dumps(answer), flush=True)
