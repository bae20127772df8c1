"""verify, gc, doctor and migrate as a user runs them; most of it on the golden lake, without Ray."""

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from neuroconcepts_ray.cli import doctor
from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.lake.gc import GRACE_S
from neuroconcepts_ray.lake.store import LocalStore, MemoryStore, Store
from tests.conftest import Chain
from tests.golden.lakes import expected, files, unpack

OLD = 2 * GRACE_S


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pipeline file, its lake and its PHI root; the archive is elsewhere."""
    unpack("v1", LocalStore(tmp_path / "lake"), LocalStore(tmp_path / "phi", 0o700))
    (tmp_path / "pipeline.yaml").write_bytes(files("v1")["pipeline.yaml"])
    return tmp_path


class Asker:
    """Runs verbs in this process."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self.capfd = capfd

    def __call__(self, *args: object, code: int = 0) -> str:
        assert call([*map(str, args)]) == code
        return self.capfd.readouterr().out

    def json(self, *args: object, code: int = 0) -> Any:
        return json.loads(self(*args, "--json", code=code))


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str]) -> Asker:
    return Asker(capfd)


def a_part(folder: Path, kind: str) -> Path:
    return next((folder / "lake" / kind).glob("*/parts/*"))


def test_verify_says_that_a_lake_is_whole_with_figures(ask: Asker, folder: Path) -> None:
    told = ask.json("verify", "-c", folder / "pipeline.yaml", "--all")
    assert (told["ok"], told["problems"], told["artifacts"]) == (True, [], len(expected("v1")["manifests"]))
    size = sum(path.stat().st_size for root in ("lake", "phi") for path in (folder / root).glob("*/*/parts/*"))
    assert told["bytes"] == size
    assert "all whole" in ask("verify", "-c", folder / "pipeline.yaml")


def test_verify_names_what_is_wrong_with_what_to_do_and_exits_3(ask: Asker, folder: Path) -> None:
    part = a_part(folder, "sae")
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    (folder / "phi").chmod(0o755)
    told = ask.json("verify", "-c", folder / "pipeline.yaml", code=3)
    wrong = {(one["root"], one["key"]) for one in told["problems"]}
    assert wrong == {("lake", part.relative_to(folder / "lake").as_posix()), ("phi", ".")}
    assert all(one["remedy"] for one in told["problems"])
    shown = ask("verify", "-c", folder / "pipeline.yaml", code=3)
    assert "2 wrong" in shown
    assert "Restore it from a copy" in " ".join(shown.split())


def test_verify_goes_on_where_a_record_is_damaged_and_notices_another_key(ask: Asker, folder: Path) -> None:
    manifest = next(path for path in (folder / "lake" / "sae").glob("*/*.json"))
    manifest.write_bytes(b"{}")
    (folder / "phi" / "hash.key").write_bytes(b"0" * 32)
    told = ask.json("verify", "-c", folder / "pipeline.yaml", code=3)
    assert {manifest.relative_to(folder / "lake").as_posix(), "hash.key"} <= {one["key"] for one in told["problems"]}


def test_gc_removes_nothing_without_yes_and_orphans_alone_with_it(ask: Asker, folder: Path) -> None:
    before = {path for path in folder.rglob("*") if path.is_file()}
    orphan = folder / "lake" / "codes" / ("0" * 32) / "parts" / "x-0123456789ab.parquet"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"twelve bytes")
    assert ask.json("gc", "-c", folder / "pipeline.yaml")["removes"] == []
    old = orphan.stat().st_mtime - OLD
    os.utime(orphan, (old, old))
    assert "Nothing was removed" in ask("gc", "-c", folder / "pipeline.yaml")
    told = ask.json("gc", "-c", folder / "pipeline.yaml")
    assert [one["key"] for one in told["removes"]] == [orphan.relative_to(folder / "lake").as_posix()]
    assert orphan.exists()
    assert "12 bytes are free now" in ask("gc", "-c", folder / "pipeline.yaml", "--yes")
    assert {path for path in folder.rglob("*") if path.is_file()} == before


def test_gc_clears_the_local_cache_of_what_no_lake_knows_for_long(ask: Asker, folder: Path) -> None:
    cache = folder / "cache"
    cache.mkdir()
    for name, age in (("0" * 64 + ".bin", OLD), ("1" * 64 + ".bin", 0.0), ("notes.txt", OLD)):
        (cache / name).write_bytes(b"123")
        time = (cache / name).stat().st_mtime - age
        os.utime(cache / name, (time, time))
    setting = f"index.cache={cache}"
    told = ask.json("gc", "-c", folder / "pipeline.yaml", "--set", setting, "--yes")
    assert told["freed_bytes"] == 3
    assert sorted(path.name for path in cache.iterdir()) == ["1" * 64 + ".bin", "notes.txt"]


def test_gc_of_two_lakes_at_once_is_refused(ask: Asker, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "pipeline.yaml"
    other.parent.mkdir()
    shutil.copy(folder / "pipeline.yaml", other)
    ask("gc", "-c", folder / "pipeline.yaml", "-c", other, code=2)


def test_migrate_says_that_there_is_nothing_to_do(ask: Asker, folder: Path) -> None:
    assert "Nothing to do" in ask("migrate", "-c", folder / "pipeline.yaml")


# doctor -------------------------------------------------------------------------------------------------------------


def states(told: Any) -> dict[str, str]:
    return {line["name"]: line["state"] for line in told["lines"]}


def test_doctor_works_without_a_config_and_says_what_to_do_about_all_that_is_not_ok(ask: Asker) -> None:
    told = ask.json("doctor")
    assert {"python", "versions", "torch", "faiss", "ray", "RAY_ADDRESS", "decoders"} <= set(states(told))
    assert all(line["remedy"] for line in told["lines"] if line["state"] != "ok")


def test_doctor_finds_nothing_wrong_with_a_finished_chain_and_leaves_nothing_behind(
    ask: Asker, folder: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    (archive / "files").mkdir(parents=True)
    (archive / "files" / "x.jpg").write_bytes(b"")
    for table in ("metadata", "split", "chexpert"):
        (archive / f"mimic-cxr-2.0.0-{table}.csv.gz").write_bytes(b"")
    before = {path for path in folder.rglob("*") if path.is_file()}
    told = ask.json("doctor", "-c", folder / "pipeline.yaml")
    assert told["ok"]
    about = states(told)
    for name in ("config", "disk of lake", "phi_root", "lake writes", "clock of lake", "archive", "hash key"):
        assert about[name] == "ok"
    assert {path for path in folder.rglob("*") if path.is_file()} == before
    (archive / "files").rename(archive / "fils")
    told = ask.json("doctor", "-c", folder / "pipeline.yaml", code=4)
    assert "no files/" in next(line["said"] for line in told["lines"] if line["name"] == "archive")


def test_doctor_names_what_will_fail_and_exits_4(ask: Asker, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "phi").chmod(0o755)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    missing = f"catalog.hash_key_file={folder}/none"
    about = states(ask.json("doctor", "-c", folder / "pipeline.yaml", "--set", missing, code=4))
    assert {name for name, state in about.items() if state == "fail"} == {
        "phi_root",
        "archive",
        "hash key",
        "RAY_ADDRESS",
    }
    about = states(ask.json("doctor", "-c", folder / "pipeline.yaml", "--set", "sae.no_such_key=1", code=4))
    assert about["config"] == "fail"
    shown = ask("doctor", "-c", folder / "none.yaml", code=4)
    assert "Give one with -c" in " ".join(shown.split())


class Careless(MemoryStore):
    """A store whose conditional writes are none."""

    def create(self, key: str, data: bytes) -> None:
        self.write(key, data)


class Late(MemoryStore):
    """A store whose clock is two minutes slow."""

    def scan(self, prefix: str = "") -> Any:
        for blob in super().scan(prefix):
            yield type(blob)(blob.key, blob.bytes, blob.modified - 120)


@pytest.mark.parametrize(
    ("store", "name", "state"),
    [
        (MemoryStore(), "lake writes", "ok"),
        (Careless(), "lake writes", "fail"),
        (Late(), "clock of lake", "warn"),
    ],
)
def test_doctor_tries_what_commits_stand_on(store: Store, name: str, state: str) -> None:
    found = {line.name: line for line in doctor._probe("lake", store)}
    assert found[name].state == state
    assert not list(store.scan("leases"))


# Moving house -------------------------------------------------------------------------------------------------------


def test_a_moved_lake_is_finished_whole_and_answers_and_names_no_place(
    ask: Asker, chain: Chain, tmp_path: Path
) -> None:
    moved = chain.clone(tmp_path / "elsewhere")
    (moved.folder / "phi").chmod(stat.S_IRWXU)
    image = next((chain.archive / "archive").rglob("*.jpg")).stem
    before = ask.json("search", "-c", chain.file, "--like", image)
    assert "Nothing to do" in ask("run", "-c", moved.file)
    assert moved.contents() == chain.contents()
    assert ask.json("verify", "-c", moved.file, "--all")["ok"]
    assert ask.json("search", "-c", moved.file, "--like", image) == before
    for root in ("lake", "phi"):
        for path in (moved.folder / root).rglob("*"):
            data = path.read_bytes() if path.is_file() else b""
            if path.suffix == ".parquet":  # its pages are compressed
                data += repr(pq.read_table(path).to_pydict()).encode()
            for place in (chain.folder, chain.archive):
                assert str(place).encode() not in data, path
