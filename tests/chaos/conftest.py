"""What chaos needs once a run, and the table at its end."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from neuroconcepts_ray.lake.store import LocalStore
from tests.chaos.mining import Clean, Mining, Story, copy_inputs
from tests.chaos.processes import of
from tests.conftest import Chain, Command

PIPELINE = """
lake: lake
phi_root: phi
catalog: {{name: tiny, root: {archive}/archive, reports: {archive}/reports, hash_key_file: {archive}/hash.key}}
classifier: {{backbone: resnet18, weights: {archive}/resnet18.safetensors, labels: [Edema], pixels: {{size: 160}}}}
activations: {{taps: [layer3], shard_rows: 10, batch_size: 5, threads: 1, dtype: float32}}
compute: {{actors: 2}}
"""

ACTORS, PATIENTS, DAMAGED = 2, 160, 3

_stories: list[Story] = []


@pytest.fixture
def story(request: pytest.FixtureRequest) -> Iterator[Story]:
    """The line of the table that is this test's; what a test that failed has left running ends with it."""
    made = Story(request.node.name.removeprefix("test_").replace("_", " "))
    _stories.append(made)
    yield made
    for command in made.processes:
        for process in of(command.pid):
            process.kill()
        with command:  # closes its pipes
            pass


class World:
    """An archive, the network that looks at it, what mining needs of both, and a clean run of it.

    Args:
        folder: For all of it.
        nc: The command without a cluster.
    """

    def __init__(self, folder: Path, nc: Command) -> None:
        self.folder, self.nc = folder, nc
        self.archive = folder / "phantom"
        sizes = ("height=304", "width=256", "seed=11", f"patients={PATIENTS}")
        nc("phantom", self.archive, *(word for size in sizes for word in ("--set", size)))
        (self.archive / "hash.key").write_bytes(b"a key of the tests, not a secret")
        films = sorted((self.archive / "archive").rglob("*.jpg"))
        for film in films[7 :: len(films) // DAMAGED][:DAMAGED]:
            film.write_bytes(film.read_bytes()[: film.stat().st_size // 4])  # the second half may be filling
        self._weights()
        clean = Chain(folder / "clean", self.archive, PIPELINE)
        nc("catalog", "-c", clean.file)
        nc("train", "-c", clean.file)
        self.inputs = Chain(folder / "inputs", self.archive, PIPELINE)
        copy_inputs(clean, self.inputs.folder)
        began = time.monotonic()
        Mining(nc, clean, Story("clean")).end((0,))
        self.clean = Clean(clean, time.monotonic() - began)
        status = clean.status()
        assert {row["quarantined"] for name, row in status.items() if "activations" in name} == {DAMAGED}

    def _weights(self) -> None:
        import timm
        import torch
        from safetensors.torch import save_file

        torch.manual_seed(0)
        network = timm.create_model("resnet18", num_classes=1)
        save_file(network.state_dict(), self.archive / "resnet18.safetensors")

    def fresh(self, folder: Path) -> Chain:
        """A lake that nothing was mined into yet."""
        made = Chain(folder, self.archive, PIPELINE)
        copy_inputs(self.inputs, folder)
        return made

    def timed(self, nc: Command, folder: Path, story: Story) -> float:
        """Seconds of a clean run by another way, such as on a cluster; it is checked too."""
        run = self.fresh(folder)
        began = time.monotonic()
        Mining(nc, run, story).end((0,))
        took = time.monotonic() - began
        self.clean.check(run, LocalStore(run.lake), story, allowed=0)
        return took


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, nc_alone: Command) -> World:
    """The archive of the whole form."""
    return World(tmp_path_factory.mktemp("chaos"), nc_alone)


def _table() -> Iterator[str]:
    head = ("scenario", "faults", "exit codes", "parts beyond", "seconds", "clean", "digests")
    lines = [head]
    for one in _stories:
        told = ", ".join(f"{number} {fault}" for fault, number in one.faults.items())
        codes = ", ".join(f"{number} x {code}" for code, number in one.codes.items())
        equal = f"{sum(one.equal)} of {len(one.equal)} equal"
        beyond = f"{one.extra} (of {one.allowed})"
        lines.append((one.name, told, codes, beyond, f"{one.seconds:.0f}", f"{one.clean_s:.0f}", equal))
    wide = [max(len(line[at]) for line in lines) for at in range(len(head))]
    for line in lines:
        yield " | ".join(word.ljust(width) for word, width in zip(line, wide, strict=True))
    for one in _stories:
        yield from (f"{one.name}: {note}" for note in one.notes)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of what happened."""
    if _stories:
        terminalreporter.section("chaos")
        for line in _table():
            terminalreporter.write_line(line)
