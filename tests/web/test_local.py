"""A server on one machine: it answers, moves on when the index changes, and says nothing of who was asked about."""

import json
import os
import signal
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from neuroconcepts_ray.errors import EnvironmentFault, InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.retrieval import changes
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.web.app import Uploader
from neuroconcepts_ray.web.follow import Followed, Version, Watch
from neuroconcepts_ray.web.local import LazyUploader, opener
from tests.conftest import Chain, Command, free_port
from tests.retrieval.model import archive
from tests.web.lakes import cache, open_lake, put


def get(port: int, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1{path}", timeout=30) as response:
        found: dict[str, Any] = json.load(response)
        return found


def upload(port: int, film: bytes) -> dict[str, Any]:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="film.jpg"\r\n\r\n'
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/search/upload",
        head + film + b"\r\n--b--\r\n",
        {"content-type": "multipart/form-data; boundary=b"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - our own address
        found: dict[str, Any] = json.load(response)
        return found


def watch(lake: Lake, followed: Followed) -> Watch[Any]:
    return Watch(followed.look, opener(followed, cache(lake)), 0.01)


def test_a_served_index_moves_on_in_one_step_and_its_queries_never_fail(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    a = archive(3)
    base = put(lake, a, (50,))
    served = watch(lake, Followed.start(lake, base))
    served.refresh()
    fires = [one for one in a.ids if a.dense[a.ids.index(one), 2]]
    counts: list[tuple[int, int]] = []
    end = threading.Event()

    def ask() -> None:
        while not end.is_set():
            now = served.current()
            counts.append((now.version, len(now.service.search(Query(any_of=[2], top=200)).hits)))

    asking = threading.Thread(target=ask)
    served.start()
    asking.start()
    try:
        for change in (
            lambda: changes.remove(lake, base, cache(lake), fires[:3]),
            lambda: changes.compact(lake, base, cache(lake)),
        ):
            version = served.current().version
            change()
            deadline = time.monotonic() + 60
            while served.current().version == version or counts[-1][0] == version:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    finally:
        end.set()
        asking.join()
        served.stop()
    assert set(counts) == {(1, len(fires)), (2, len(fires) - 3), (3, len(fires) - 3)}


def test_a_grown_archives_new_base_is_taken_up_with_its_tombstones(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    a = archive(3)
    base = put(lake, a.some(list(range(80))))
    served = watch(lake, Followed.start(lake, base))
    served.refresh()
    changes.remove(lake, base, cache(lake), a.ids[:2])
    put(lake, a, (80,), "second", publish=True)
    assert served.refresh()
    assert served.current().stats()["images"] == 118
    assert not served.refresh()


def test_a_base_that_was_never_published_is_served_with_the_tombstones_of_the_state_before(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    a = archive(3)
    changes.remove(lake, put(lake, a.some(list(range(80)))), cache(lake), a.ids[:2])
    grown = put(lake, a, (80,), "second", publish=False)
    served = watch(lake, Followed.start(lake, grown))
    served.refresh()
    assert served.current().stats()["images"] == 118


def test_a_new_state_that_cannot_be_opened_leaves_the_old_one_served_and_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    numbers = iter([1, 2, 2, 2, 3])
    last = [1]

    def look() -> Version:
        last[0] = next(numbers, 3)
        return Version(last[0], "base")

    def opened(version: Version) -> int:
        if version.number == 2:
            raise InputError("a committed part is missing", value="image0007")
        return version.number

    served: Watch[int] = Watch(look, opened, 0.01)
    with pytest.raises(EnvironmentFault, match="not open yet"):
        served.current()
    served.refresh()
    served.start()
    deadline = time.monotonic() + 30
    while served.current() != 3:
        assert served.current() == 1
        assert time.monotonic() < deadline
        time.sleep(0.001)
    served.stop()
    assert caplog.text.count("a committed part is missing") == 1
    assert "image0007" not in caplog.text


def test_the_verb_serves_a_finished_chain_and_ends_when_asked(chain: Chain, nc_alone: Command, tmp_path: Path) -> None:
    mine = chain.clone(tmp_path / "chain")
    port = free_port()
    process = nc_alone.start("serve", "-c", mine.file, "--port", port, XDG_CACHE_HOME=str(tmp_path / "cache"))
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}/api/v1/" in process.stdout.readline()
        deadline = time.monotonic() + 30
        while True:
            try:
                images = get(port, "/stats")["images"]
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert images == mine.status()["codes.latents"]["images"]
        image_id = next((chain.archive / "archive").rglob("*.jpg")).stem
        assert get(port, f"/images/{image_id}/like?top=3")["kind"] == "cosine"
        film = next((chain.archive / "archive").rglob("*.jpg"))
        uploaded = upload(port, film.read_bytes())
        assert uploaded["answer"]["hits"]
        assert uploaded["distance"] > 0
        again = nc_alone("serve", "-c", mine.file, "--port", port, code=4, XDG_CACHE_HOME=str(tmp_path / "cache"))
        assert "cannot listen there" in again.error
    finally:
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130), err
    assert "Traceback" not in err
    assert image_id not in out + err


def test_the_verb_refuses_a_space_that_is_not_there(chain: Chain, nc_alone: Command) -> None:
    assert "latents" in nc_alone("serve", "-c", chain.file, "--space", "none", code=2).error


def test_an_uploader_that_does_not_fit_the_index_is_the_servers_fault_not_the_callers() -> None:
    def opened() -> Uploader:
        raise InputError("codes.latents was made with another sae", value="abc")

    with pytest.raises(EnvironmentFault, match=r"cannot encode images: codes\.latents was made with another sae"):
        LazyUploader(opened).encode(b"")
