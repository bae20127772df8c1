"""A driver process that serves an index on the suite's cluster: a word comes in, its outcome as JSON goes out."""

import json
import os
import signal
import sys
from pathlib import Path

import ray
from ray import serve

from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.web import serve as serving
from neuroconcepts_ray.web.config import ServeArgs


def start(spec: dict) -> dict:
    lake = Lake.open(spec["lake"], spec["phi"])
    base = lake.manifest(*spec["base"])
    assert base is not None
    args = ServeArgs(config="-", shards=spec["shards"], replicas=spec["replicas"], cpus=0.1, poll_s=0.2, timeout_s=20)
    serving.start(
        serving.spec_of(lake, spec["lake"], base, None, Path(spec["cache"]), args), host="127.0.0.1", port=spec["port"]
    )
    return {}


def replicas(spec: dict) -> dict:  # noqa: ARG001 - every case is called alike
    from ray.util.state import list_actors

    found = list_actors(filters=[("state", "=", "ALIVE")], limit=1000)
    return {actor.name: actor.pid for actor in found if "shard-" in (actor.name or "")}


def kill(spec: dict) -> dict:
    alive = replicas(spec)
    name = next(one for one in sorted(alive) if spec["shard"] in one)
    os.kill(alive[name], signal.SIGKILL)
    return {"killed": name}


def stop(spec: dict) -> dict:  # noqa: ARG001 - every case is called alike
    serve.shutdown()
    return {}


if __name__ == "__main__":
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level="ERROR")
    try:
        for line in sys.stdin:
            request = json.loads(line)
            case = {"start": start, "replicas": replicas, "kill": kill, "stop": stop}[request["case"]]
            print(json.dumps({"result": case(request["spec"])}), flush=True)
    finally:
        serve.shutdown()
