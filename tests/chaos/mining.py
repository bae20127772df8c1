"""``neuroconcepts mine`` as a user runs it, again and again until it is done, and what must be true afterwards."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.lake import leases
from neuroconcepts_ray.lake.store import Store, open_store
from neuroconcepts_ray.pipeline import Pipeline
from tests.chaos.processes import of
from tests.conftest import Chain, Command, Result

PART = re.compile(r"activations/\w+/parts/")
RECEIPT = re.compile(r"activations/\w+/receipts/")
INPUTS = ("catalog", "classifier")
MADE = (*INPUTS, "activations")
_ATTEMPT = re.compile(r"-[0-9a-f]{12}(?=\.)")

GRACE_S = 60.0
"""Seconds in which what a dead driver started must have ended as well, but for :data:`AGENTS`."""

AGENTS = r"ray::(DashboardAgent|RuntimeEnvAgent)"
"""Ray's own, which do no work of ours; without their cluster they end after a minute of trying to reach it."""


def belongs(key: str, kinds: Collection[str]) -> bool:
    """Whether a key is of an artifact of these kinds, or of a ref to one."""
    first, second = key.split("/")[:2]
    return (second.split("-")[0] if first == "refs" else first) in kinds


def shape(keys: Iterable[str]) -> Counter[str]:
    """Keys of a lake without the name of the attempt that wrote a part."""
    return Counter(_ATTEMPT.sub("", key) for key in keys)


@dataclass
class Story:
    """What happened in one scenario: a line of the table.

    Attributes:
        name: The scenario.
        faults: What was done to it, and how often.
        codes: Exit code of each run; ``killed`` where there is none.
        seconds: Of all runs together.
        clean_s: What an undisturbed run took.
        extra: Parts beyond one a shard and tap that were found before clearing away.
        allowed: How many there may be.
        equal: Lakes that were checked, and whether all digests in each were those of the clean run.
        notes: What else is worth knowing.
        processes: The commands.
    """

    name: str
    clean_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    extra: int = 0
    allowed: int = 0
    equal: list[bool] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)


class Mining:
    """One run of ``mine`` in a process of its own.

    Args:
        nc: The command, with or without a cluster.
        run: The pipeline.
        story: Where its end is noted.
        overrides: Further arguments.
    """

    def __init__(self, nc: Command, run: Chain, story: Story, *overrides: str) -> None:
        self.story, self.start = story, time.monotonic()
        self.process: subprocess.Popen[str] = nc.start("mine", "-c", run.file, *overrides)
        story.processes.append(self.process)

    @property
    def session(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, condition: Callable[[], object], seconds: float = 180) -> bool:
        """Wait until something holds, at most some seconds; False where the run ends before."""
        deadline = time.monotonic() + seconds
        while self.running and time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(0.005)
        return False

    def wait(self, seconds: float) -> bool:
        """Let it run; whether it still does."""
        self.wait_for(lambda: False, seconds)
        return self.running

    def kill(self) -> None:
        """SIGKILL to the driver alone; whatever it started must end by itself."""
        self.process.kill()
        self.process.communicate()
        self._note("killed")
        wait_for_end([self.session], GRACE_S, but=AGENTS)

    def end(self, codes: tuple[int, ...] = (0, 4), seconds: float = 400) -> int:
        """Wait for its end: one of some exit codes, one line for an error and never a traceback."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            pytest.fail(f"{self.story.name}: it did not end in {seconds} s\n{out}\n{err}")
        code = self.process.returncode
        self._note(str(code))
        assert code in codes, f"{self.story.name}: exit {code}\n{out}\n{err}"
        assert "Traceback" not in out + err, err
        if code:
            self.story.notes.append(Result(out, err).error.removeprefix("error: "))
        else:
            assert "error: " not in err, err
        return code

    def _note(self, code: str) -> None:
        self.story.codes[code] += 1
        self.story.seconds += time.monotonic() - self.start


def wait_for_end(sessions: Collection[int], seconds: float, but: str = r"\Z.") -> None:
    """Wait until no process of some sessions is left, but for those with a title like that."""
    deadline = time.monotonic() + seconds
    while left := [one for session in sessions for one in of(session) if not one.is_called(but)]:
        assert time.monotonic() < deadline, f"left behind by a killed driver: {left}"
        time.sleep(0.1)


def finish(nc: Command, run: Chain, story: Story, mining: Mining) -> None:
    """Wait for a run, and give the same command again until it is done."""
    again = 0
    while mining.end():
        again += 1
        assert again <= 3, "it must come to an end"
        mining = Mining(nc, run, story)


def gc(run: Chain, *args: str) -> list[str]:
    """``gc`` as it will be when ten minutes have passed, without its day of grace; what it removes, or would."""
    time.sleep(1.1)  # S3 tells the second of a write, and gc leaves alone what is not older
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(leases, "TTL_S", 0.0)
        assert call(["gc", "-c", str(run.file), "--older-than", "0", "--json", *args]) == 0
    told = json.loads(out.getvalue())
    return [one["key"] for one in told["removes"] if one["root"] == "lake"]


class Clean:
    """The finished lake of an undisturbed run, which any other must come to equal.

    Args:
        run: Its pipeline.
        seconds: What it took.
    """

    def __init__(self, run: Chain, seconds: float = 0.0) -> None:
        self.seconds = seconds
        status = run.status()
        self.contents = {name: row["content"] for name, row in status.items() if name.split(".")[0] in MADE}
        keys = (blob.key for blob in open_store(str(run.lake)).scan())
        self.keys = shape(key for key in keys if belongs(key, MADE))
        self.parts = sum(count for key, count in self.keys.items() if PART.match(key))
        self.taps = sum(name.startswith("activations.") for name in self.contents)
        self.shards = self.parts // self.taps

    def check(self, run: Chain, store: Store, story: Story, *, allowed: int) -> None:
        """Rows, digests, and what was left behind.

        Args:
            run: The finished pipeline.
            store: Its lake.
            story: Where the findings are noted.
            allowed: Most parts beyond those that count.
        """
        status = run.status()
        found = {name: status[name]["content"] for name in self.contents}
        story.equal.append(found == self.contents)
        assert found == self.contents
        one_row_an_image(run)

        keys = [blob.key for blob in store.scan()]
        extra = sum(1 for key in keys if PART.match(key)) - self.parts
        story.extra, story.allowed = story.extra + extra, story.allowed + allowed
        assert 0 <= extra <= allowed
        named = gc(run)
        assert shape(set(keys) - set(named)) == self.keys, "gc does not name all that was left behind"
        assert gc(run, "--yes") == named
        assert shape(blob.key for blob in store.scan()) == self.keys
        with contextlib.redirect_stdout(io.StringIO()):
            assert call(["verify", "-c", str(run.file), "--all"]) == 0


def one_row_an_image(run: Chain) -> None:
    """Every image of the catalog has one row in each artifact, or is set aside."""
    line = Pipeline(pipeline.load(run.file, []))
    have: dict[str, Any] = {one.name: one.manifest for one in line.walk(until="mine")}
    films = line.lake.tables(have["catalog"], "images", ["image_id"])["image_id"].to_pylist()
    for name, manifest in have.items():
        if name.startswith("activations."):
            rows = line.lake.tables(manifest, columns=["image_id"])["image_id"].to_pylist()
            bad = [one.image_id for one in manifest.quarantined]
            assert len(rows) + len(bad) == len(films)
            assert {*rows, *bad} == set(films)


def receipts(store: Store) -> dict[str, bytes]:
    """What is done in a lake, whatever becomes of the run."""
    return {key: store.read(key) for key in store.list("activations") if RECEIPT.match(key)}


def count(store: Store) -> int:
    """How many receipts there are."""
    return sum(1 for key in store.list("activations") if RECEIPT.match(key))


def copy_inputs(source: Chain, target: Path) -> None:
    """What mining needs, from another pipeline's folder: catalog and classifier, and the PHI root."""
    for path in source.lake.rglob("*"):
        key = path.relative_to(source.lake).as_posix()
        if path.is_file() and belongs(key, INPUTS):
            (target / "lake" / key).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / "lake" / key)
    shutil.copytree(source.folder / "phi", target / "phi")
