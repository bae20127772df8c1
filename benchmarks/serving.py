"""Ray Serve on one machine at a fixed rate: latency and failures; undisturbed, through a death, through changes.

    python -m benchmarks.serving [--images 377110] [--rate 20] [--seconds 60] [--out benchmarks/out/serving.json]

Requests are sent at their time whether earlier ones were answered or not, and a latency counts from that time, so
waiting is not hidden.
"""

import argparse
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import archive
from neuroconcepts_ray.distributed.compat import prepare_environment
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.retrieval import changes
from neuroconcepts_ray.retrieval.ranking import Statistics
from neuroconcepts_ray.retrieval.snapshot import Draft, Snapshot, commit_snapshot


def make(folder: Path, m: int, segments: int) -> tuple[Lake, Manifest, list[str]]:
    """A lake with a published index of that many segments."""
    lake = Lake.open(str(folder / "lake"), str(folder / "phi"))
    whole = archive.make(m)
    n = whole.codes.shape[1]
    plan = Plan(Recipe("index", 2, {}), {"catalog": "synthetic", "codes": "synthetic"})
    parts, keys, frequency = [], [], np.zeros(n, np.int64)
    for at, rows in enumerate(np.array_split(np.arange(m), segments)):
        part = whole.part(int(rows[0]), int(rows[-1]) + 1)
        draft = Draft.of(f"segment{at}", part.codes, part.table)
        parts += draft.put(lake, plan)
        keys.append((draft.key, draft.rows))
        frequency = frequency + draft.frequency
    base = commit_snapshot(
        lake, plan, "index.latents", Snapshot(tuple(keys), {}, Statistics(m, frequency)), parts, {"codes": "synthetic"}
    )
    changes.publish(lake, base, folder / "cache")
    return lake, base, whole.table["image_id"].to_pylist()


class Client:
    """Sends questions at their time over kept connections."""

    def __init__(self, port: int, ids: list[str]) -> None:
        self.port, self.ids = port, ids
        self._local = threading.local()

    def ask(self, due: float, image_id: str) -> tuple[float, str, int]:
        """Milliseconds since it was due, how it ended, and the version that answered."""
        body = json.dumps({"like": [image_id]})
        try:
            if not hasattr(self._local, "connection"):
                self._local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            self._local.connection.request("POST", "/api/v1/search", body, {"content-type": "application/json"})
            response = self._local.connection.getresponse()
            said = json.loads(response.read())
            ended = "partial" if said.get("partial") else "ok" if response.status == 200 else str(response.status)
            version = int(said.get("version", 0))
        except (OSError, http.client.HTTPException) as error:
            del self._local.connection
            ended, version = type(error).__name__, 0
        return (time.perf_counter() - due) * 1e3, ended, version

    def run(self, rate: float, seconds: float, events: dict[float, Any]) -> dict[str, Any]:
        """One phase; events by the second at which they happen."""
        rng = random.Random(0)  # noqa: S311 - examples, not secrets
        start = time.perf_counter() + 0.1
        timers = [threading.Timer(at, event) for at, event in events.items()]
        for timer in timers:
            timer.start()
        with ThreadPoolExecutor(64) as pool:
            pending = []
            for number in range(int(rate * seconds)):
                due = start + number / rate
                time.sleep(max(0.0, due - time.perf_counter()))
                pending.append(pool.submit(self.ask, due, rng.choice(self.ids)))
            outcomes = [one.result() for one in pending]
        for timer in timers:
            timer.join()
        took = np.array([ms for ms, _, _ in outcomes])
        ended = [how for _, how, _ in outcomes]
        p50, p95, p99 = np.percentile(took, [50, 95, 99]).round(1).tolist()
        return {
            "requests": len(took),
            "p50_ms": p50,
            "p95_ms": p95,
            "p99_ms": p99,
            "max_ms": round(float(took.max()), 1),
            "ended": {how: ended.count(how) for how in sorted(set(ended))},
            "versions": sorted({version for _, _, version in outcomes}),
            "load": round(os.getloadavg()[0], 2),
        }


CHANGE = """
import sys
from pathlib import Path
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.retrieval import changes
folder, kind, recipe, artifact, what, *ids = sys.argv[1:]
lake = Lake.open(folder + "/lake", folder + "/phi")
base = lake.manifest(kind, recipe, artifact)
if what == "remove":
    changes.remove(lake, base, Path(folder) / "cache", ids)
else:
    changes.compact(lake, base, Path(folder) / "cache")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=377_110)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--phases", nargs="*", default=["quiet", "killed", "swapped"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    prepare_environment()
    import ray
    from ray.util.state import list_actors

    from neuroconcepts_ray.web import serve as serving
    from neuroconcepts_ray.web.config import ServeArgs
    from neuroconcepts_ray.web.spec import spec_of

    with tempfile.TemporaryDirectory() as name, socket.socket() as sock:
        folder = Path(name)
        began = time.perf_counter()
        lake, base, ids = make(folder, options.images, options.shards)
        made_s = time.perf_counter() - began
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        sock.close()
        actors = options.shards * options.replicas
        ray.init(num_cpus=actors + 2, include_dashboard=True, log_to_driver=False, logging_level="ERROR")
        args = ServeArgs(config="-", shards=options.shards, replicas=options.replicas, cpus=0.5, poll_s=1, timeout_s=2)
        began = time.perf_counter()
        serving.start(spec_of(lake, lake.store.uri, base, None, folder / "cache", args), host="127.0.0.1", port=port)
        up_s = time.perf_counter() - began
        client = Client(port, ids)

        def kill() -> None:
            alive = [one for one in list_actors(filters=[("state", "=", "ALIVE")]) if "shard-0" in (one.name or "")]
            os.kill(alive[0].pid, signal.SIGKILL)

        def change(*what: str) -> None:
            subprocess.run(
                [sys.executable, "-c", CHANGE, name, base.kind, base.recipe, base.artifact, *what], check=True
            )

        try:
            client.run(options.rate, 5, {})
            gone = random.Random(1).sample(ids, 1000)  # noqa: S311 - examples, not secrets
            client.ids = sorted(set(ids) - set(gone))
            quarter, third = options.seconds / 4, options.seconds / 3
            events = {
                "quiet": {},
                "killed": {quarter: kill},
                "swapped": {quarter: lambda: change("remove", *gone), 2 * third: lambda: change("compact")},
            }
            found = {
                "images": options.images,
                "shards": options.shards,
                "replicas": options.replicas,
                "rate": options.rate,
                "cores": os.cpu_count(),
                "made_s": round(made_s, 1),
                "up_s": round(up_s, 1),
                **{phase: client.run(options.rate, options.seconds, events[phase]) for phase in options.phases},
            }
        finally:
            from ray import serve

            serve.shutdown()
            ray.shutdown()
    text = json.dumps(found, indent=1)
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
