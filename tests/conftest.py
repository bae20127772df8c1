"""Fixtures of the whole suite: one Ray cluster, one phantom, one finished chain, shared by all tests."""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from neuroconcepts_ray.distributed.compat import prepare_environment

prepare_environment()  # before torch is loaded

# The shapes and types that the signatures of the maths state are checked while the tests run.
MATHS = ("stats", "imaging", "pixels", "classifier", "activations", "sae", "neurons", "naming", "retrieval", "phantom")
install_import_hook([f"neuroconcepts_ray.{room}" for room in MATHS], "beartype.beartype")

from neuroconcepts_ray import pipeline  # noqa: E402 - after the hook
from neuroconcepts_ray.cli.look import rows  # noqa: E402
from neuroconcepts_ray.pipeline import Pipeline  # noqa: E402

if TYPE_CHECKING:
    from tests.driver import Driver
    from tests.weed import Weed

ROOT = Path(__file__).resolve().parents[1]

# The machine is shared and noisy: no deadlines; and the same examples every time, for the suite is a gate.
settings.register_profile("suite", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("suite")

# What a run fetches and checks ends with it, and does not meet the user's own.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="nc-cache-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

# The S3 server of the tests and nobody else's: Ray's workers inherit this, and the user's own AWS settings stay out.
S3_KEY, S3_SECRET = "an-access-key-of-the-tests", "a-secret-key-of-the-tests"
for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]
os.environ |= {"AWS_ACCESS_KEY_ID": S3_KEY, "AWS_SECRET_ACCESS_KEY": S3_SECRET, "AWS_EC2_METADATA_DISABLED": "true"}
os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where two processes share the suite: files stay whole, and one process has all that use the cluster."""
    on_cluster = {item.path for item in items if "cluster" in getattr(item, "fixturenames", ())}
    for item in items:
        item.add_marker(pytest.mark.xdist_group("cluster" if item.path in on_cluster else str(item.path)))


def needs(condition: bool, reason: str) -> None:
    """Skip where a part of the system is missing; under CI=true, where all parts are installed, fail."""
    if not condition:
        if os.environ.get("CI") == "true":
            pytest.fail(f"under CI nothing may be missing: {reason}")
        pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real films beside the project; a test that needs them skips where they are absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real films (shared/data beside the project) are not on this machine")
    return folder


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Cluster:
    """A head started with ``ray start --head``; ends with the test run, and takes nothing else with it."""

    def __init__(self, folder: Path, cpus: int = 4) -> None:
        self.port, self.dashboard = free_port(), free_port()
        ray = str(Path(sys.executable).with_name("ray"))
        command = [ray, "start", "--head", "--block", "--disable-usage-stats", f"--num-cpus={cpus}", "--num-gpus=0"]
        command += [f"--port={self.port}", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
        command += [f"--dashboard-agent-listen-port={free_port()}", f"--dashboard-agent-grpc-port={free_port()}"]
        # Ports of the system's choice: two runs on one machine must not meet.
        command += ["--min-worker-port=0", "--max-worker-port=0", f"--ray-client-server-port={free_port()}"]
        command += [f"--dashboard-port={self.dashboard}", f"--temp-dir={folder}", "--object-store-memory=1000000000"]
        self.log = (folder / "head.log").open("wb")
        # A job's entry point `python` is looked up on the path of the head that starts it.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.process = subprocess.Popen(
            command,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            # It would drain for 30 seconds before it ends.
            env={**os.environ, "PATH": path, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"},
            start_new_session=True,
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def jobs(self) -> str:
        return f"http://127.0.0.1:{self.dashboard}"

    def wait(self, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with (
                    socket.create_connection(("127.0.0.1", self.port), 1),
                    socket.create_connection(("127.0.0.1", self.dashboard), 1),
                ):
                    return
            except OSError:
                time.sleep(0.3)
        pytest.fail(f"the Ray head did not come up; see {self.log.name}")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The one Ray cluster of the run; commands reach it through RAY_ADDRESS."""
    # Short: Ray's sockets live below it, and a socket's path is limited to 107 bytes.
    with tempfile.TemporaryDirectory(prefix="nc", dir="/tmp", ignore_cleanup_errors=True) as folder:
        made = Cluster(Path(folder))
        try:
            made.wait()
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Weed]":
    """The S3 server of the run."""
    from tests.weed import Weed

    server = Weed(tmp_path_factory.mktemp("weed"))
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Command:
    """Runs ``neuroconcepts`` as a user would: another process, its exit code, its output."""

    def __init__(self, address: str | None) -> None:
        self.env = {**os.environ, "COLUMNS": "200"}
        self.env.pop("RAY_ADDRESS", None)
        if address:
            self.env["RAY_ADDRESS"] = address

    def start(self, *args: object, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "neuroconcepts_ray", *map(str, args)]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env | env,
            start_new_session=True,
        )

    def __call__(self, *args: object, code: int = 0, timeout: float = 600, **env: str) -> "Result":
        process = self.start(*args, **env)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"{args} did not end in {timeout} s\n{out}\n{err}")
        assert process.returncode == code, f"{args}: exit {process.returncode}\n{out}\n{err}"
        return Result(out, err)


class Result:
    """What a command printed."""

    def __init__(self, out: str, err: str) -> None:
        self.out, self.err = out, err

    @property
    def error(self) -> str:
        """The one error line; there must be no traceback, and nothing else that looks like a fault."""
        assert "Traceback" not in self.err + self.out, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0]


@pytest.fixture(scope="session")
def nc(cluster: Cluster) -> Command:
    """The command on the shared cluster."""
    return Command(cluster.address)


class Resident:
    """Runs commands on the shared cluster in one process that stays: connected, and with its workers at hand.

    For what is said of the lake and of what is printed. What is said of the process itself is for :class:`Command`.
    """

    def __init__(self, driver: "Driver") -> None:
        self.driver = driver

    def __call__(self, *args: object, code: int = 0) -> "Result":
        done = self.driver("command", {"args": [*map(str, args)]})["result"]
        assert done["code"] == code, f"{args}: exit {done['code']}\n{done['out']}\n{done['err']}"
        return Result(done["out"], done["err"])


@pytest.fixture(scope="session")
def resident(cluster: Cluster) -> Iterator[Resident]:
    """The command on the shared cluster, in a process that starts once a run."""
    from tests.driver import Driver

    driver = Driver("tests.resident", cluster.address)
    try:
        yield Resident(driver)
    finally:
        driver.close()


@pytest.fixture(scope="session")
def nc_alone() -> Command:
    """The command without a cluster: for what must not need one."""
    return Command(None)


PIPELINE = """
lake: lake
phi_root: phi
catalog: {{name: tiny, root: {archive}/archive, reports: {archive}/reports, hash_key_file: {archive}/hash.key}}
classifier:
  backbone: resnet10t
  backbone_kwargs: {{channels: [16, 32, 64, 128]}}
  pixels: {{size: 32}}
  epochs: 2
  batch_size: 64
  threads: 1
activations: {{taps: [layer3], shard_rows: 8, batch_size: 4, threads: 1}}
sae: {{steps: 120, k: 8, expansion: 2, batch_size: 64, checkpoint_every: 10, threads: 1}}
names: {{min_groups: 5, min_positives: 5}}
"""

PATIENTS = 100


class Chain:
    """A folder with a pipeline file, its lake and its PHI root; the archive lies beside, shared by all."""

    def __init__(self, folder: Path, archive: Path, text: str = PIPELINE) -> None:
        self.folder, self.archive = folder, archive
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "pipeline.yaml"
        self.file.write_text(text.format(archive=archive))
        self.lake = folder / "lake"

    def clone(self, folder: Path, *, without: tuple[str, ...] = ()) -> "Chain":
        """A copy of lake and PHI root that lacks some kinds of artifacts."""
        copy = Chain(folder, self.archive)
        for name in ("lake", "phi"):
            if (self.folder / name).exists():
                shutil.copytree(self.folder / name, folder / name, dirs_exist_ok=True)
        for kind in without:
            shutil.rmtree(copy.lake / kind, ignore_errors=True)
        return copy

    def status(self, *overrides: str, new_only: bool = False) -> dict[str, dict[str, Any]]:
        """The artifacts by name, as `status --json` gives them; in this process, for it is asked often."""
        line = Pipeline(pipeline.load(self.file, list(overrides)), new_only=new_only)
        return {row["artifact"]: row for row in rows(line, line.walk())}

    def contents(self, *overrides: str) -> dict[str, str]:
        """Content digest of each artifact."""
        return {name: row["content"] for name, row in self.status(*overrides).items()}


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory, nc_alone: Command) -> Path:
    """A small phantom archive with its reports; its truth is taken to another place, for no run may need it."""
    folder = tmp_path_factory.mktemp("phantom")
    sizes = ("--set", "height=76", "--set", "width=64", "--set", "seed=5", "--set", "twins=2")
    nc_alone("phantom", folder, "--set", f"patients={PATIENTS}", *sizes)
    shutil.move(folder / "truth", folder.with_name("truth-of-phantom"))
    (folder / "hash.key").write_bytes(b"a key of the tests, not a secret")
    return folder


@pytest.fixture(scope="session")
def truth(archive: Path) -> Path:
    """The truth of the small phantom, for scoring alone."""
    return archive.with_name("truth-of-phantom")


@pytest.fixture(scope="session")
def chain(archive: Path, tmp_path_factory: pytest.TempPathFactory, nc: Command) -> Chain:
    """A finished chain; clone it before changing anything."""
    made = Chain(tmp_path_factory.mktemp("chain"), archive)
    nc("run", "-c", made.file)
    return made
