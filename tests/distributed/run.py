"""A driver process for the tests of the engine: a case a line comes in, its outcome as JSON goes out."""

import json
import sys

from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.shards import map_shards
from neuroconcepts_ray.distributed.train import train
from neuroconcepts_ray.errors import NeuroconceptsError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.recipe import plan_from_json
from neuroconcepts_ray.lake.shards import Row, cut
from tests.distributed import work


def shards(spec: dict) -> None:
    plan = plan_from_json(spec["plan"])
    rows = [Row(image_id=f"i{n}", source="s") for n in range(spec["rows"])]
    lake = Lake.open(spec["lake"], spec["phi"])
    every = list(cut(rows, plan.recipe.digest, 8, 5))
    done = lake.done_shards(plan)
    map_shards(
        [shard for shard in every if shard.key not in done],
        worker="tests.distributed.work:Doubler",
        spec=spec,
        load=work.load,
        compute=ComputeConfig(retries=2),
        threads=1,
        label="double",
    )


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


if __name__ == "__main__":
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = {"shards": shards, "training": training, "sharded": sharded}[request["case"]](request["spec"])
            answer = {"result": result}
        except NeuroconceptsError as error:
            answer = {"error": error.fields(), "exit": error.exit_code}
        print(json.dumps(answer), flush=True)
