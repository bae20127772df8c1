"""On a real Ray Serve: answers as the whole index gives them, through a death and through changes of the index."""

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neuroconcepts_ray.retrieval import changes
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.web.models import answer_of
from tests.conftest import Cluster, free_port
from tests.driver import Driver
from tests.retrieval.model import archive
from tests.web.lakes import cache, open_lake, put


@pytest.fixture
def drive(cluster: Cluster) -> Iterator[Driver]:
    driver = Driver("tests.web.run", cluster.address)
    yield driver
    driver.close()


def post(port: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/search", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - our own address
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


class Load:
    """Requests one after the other from some threads, until it ends; every status and answer is kept."""

    def __init__(self, port: int, bodies: list[dict[str, Any]], threads: int = 3) -> None:
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(port, bodies[at:] + bodies[:at])) for at in range(threads)
        ]

    def _run(self, port: int, bodies: list[dict[str, Any]]) -> None:
        while not self._end.is_set():
            for body in bodies:
                try:
                    self.answers.append(post(port, body))
                except OSError as error:
                    self.answers.append((0, {"what": str(error)}))

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def wait(self, more: int) -> None:
        until = len(self.answers) + more
        deadline = time.monotonic() + 60
        while len(self.answers) < until:
            assert time.monotonic() < deadline, "no answers come"
            time.sleep(0.01)


def test_two_shards_of_two_replicas_answer_through_a_death_and_through_changes(
    drive: Driver, cluster: Cluster, tmp_path: Path
) -> None:
    lake = open_lake(tmp_path)
    a = archive(3, m=200)
    base = put(lake, a, (40, 90, 150))
    port = free_port()
    where = {"lake": lake.store.uri, "phi": lake.phi.uri, "cache": str(cache(lake)), "port": port}
    drive("start", {"base": [base.kind, base.recipe, base.artifact], "shards": 2, "replicas": 2, **where})
    alive = drive("replicas", {})["result"]
    assert sorted(re.sub(r".*(shard-\d).*", r"\1", one) for one in alive) == ["shard-0"] * 2 + ["shard-1"] * 2

    fires = [one for one in a.ids if a.dense[a.ids.index(one)].any()]
    bodies: list[dict[str, Any]] = [
        {"like": [fires[0]]},
        {"like": fires[1:3], "unlike": [fires[3]], "weighting": "idf", "fold": 0.95},
        {"like": [fires[4]], "weighting": "bm25", "where": {"view": ["PA", "AP"]}},
        {"any_of": [2], "all_of": [{"concept": 5}], "none_of": [{"concept": 3, "at_least": 2.0}], "top": 7},
        {"any_of": [2, 6], "boost": {"6": -0.5}, "top": 5, "offset": 5},
    ]

    def expected() -> list[dict[str, Any]]:
        state = changes.published(lake, base)
        service = SearchService(state.open(lake, cache(lake)))
        answers = [service.search(Query.model_validate_json(json.dumps(body))) for body in bodies]
        return [json.loads(json.dumps(answer_of(one, state.version))) for one in answers]

    before = expected()
    assert [post(port, body) for body in bodies] == [(200, one) for one in before]
    assert post(port, {"like": ["nobody"]})[0] == 404
    assert post(port, {"any_of": [1], "where": {"moon": ["full"]}})[0] == 422

    with Load(port, bodies) as load:
        load.wait(20)
        killed = drive("kill", {"shard": "shard-0"})["result"]["killed"]
        load.wait(60)
    assert {status for status, _ in load.answers} == {200}
    whole = [body for _, body in load.answers if not body["partial"]]
    assert all(body in before for body in whole)
    assert all(body["missing"] == ["shard-0"] for _, body in load.answers if body["partial"])
    assert killed in alive

    gone = fires[10:14]
    with Load(port, bodies) as load:
        load.wait(10)
        changes.remove(lake, base, cache(lake), gone)
        removed = expected()
        seen(port, removed[0])
        load.wait(10)
        changes.compact(lake, base, cache(lake))
        compacted = expected()
        seen(port, compacted[0])
        load.wait(10)
    assert {status for status, _ in load.answers} == {200}
    assert all(body in before + removed + compacted for _, body in load.answers)
    versions = [body["version"] for _, body in load.answers]
    assert set(versions) == {1, 2, 3}
    drive("stop", {})

    logs = Path(cluster.log.name).parent.glob("session_*/logs/serve/**/*.log")
    for log in logs:
        assert not re.search(r"image\d{4}|/images/", log.read_text(errors="replace")), log


def seen(port: int, wanted: dict[str, Any]) -> None:
    """Wait until the new state is served."""
    deadline = time.monotonic() + 60
    while post(port, {"any_of": [1]})[1].get("version") != wanted["version"]:
        assert time.monotonic() < deadline, "the new state is not served"
        time.sleep(0.05)
