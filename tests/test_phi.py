"""Nothing that the product writes outside phi_root tells who a patient is, through work, questions and accidents."""

import gzip
import json
import os
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from ray.job_submission import JobSubmissionClient
from safetensors.numpy import save_file

from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.lake.table import to_parquet
from tests.conftest import ROOT, Chain, Cluster, Command, free_port
from tests.sweep import Secrets, shingles, sweep


@pytest.fixture(scope="module")
def secrets(archive: Path) -> Secrets:
    return Secrets.of(archive / "archive", archive / "reports")


class Said:
    """What was printed and answered, by what it came from; explanations show the report, and belong to phi_root."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, place: str, text: str) -> None:
        self.texts[f"{len(self.texts)} {place}"] = text


def workers(cluster: Cluster) -> list[int]:
    """Processes that decode or infer on this cluster; its agents are called ray:: too, and are let live."""
    above: dict[int, int] = {}
    titles: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                above[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(folder.name)] = (folder / "cmdline").read_text()
            except OSError:
                continue

    def ours(pid: int) -> bool:
        return pid == cluster.process.pid or (pid in above and ours(above[pid]))

    return [pid for pid, title in titles.items() if title.startswith("ray::Map") and ours(pid)]


def ask_a_server(run: Chain, nc_alone: Command, said: Said, film: Path, cache: Path) -> None:
    port = free_port()
    process = nc_alone.start("serve", "-c", run.file, "--port", port, XDG_CACHE_HOME=str(cache))
    assert process.stdout is not None
    first = process.stdout.readline()

    def ask(path: str, body: bytes | None = None, kind: str = "application/json") -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v1{path}", body, {"content-type": kind} if body is not None else {}
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own address
                    said.add(f"GET {path}", str(answer.headers) + answer.read().decode())
                return
            except urllib.error.HTTPError as error:
                with error:
                    said.add(f"GET {path}", str(error.headers) + error.read().decode())
                return
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)

    try:
        ask("/stats")
        ask(f"/images/{film.stem}/like?top=5")
        ask("/concepts")
        ask("/concepts/0")
        ask("/images/nobody/like")
        ask("/search", json.dumps({"like": [film.stem], "where": {"moon": ["full"]}}).encode())
        ask("/search", b"{")
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="film.jpg"\r\n\r\n'
        ask("/search/upload", head + b"no film\r\n--b--\r\n", "multipart/form-data; boundary=b")
    finally:
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    said.add("serve", first + out + err)


def test_nothing_outside_phi_root_tells_who_a_patient_is(
    chain: Chain,
    nc: Command,
    nc_alone: Command,
    cluster: Cluster,
    secrets: Secrets,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said, cache = Said(), tmp_path / "cache"
    films = sorted((chain.archive / "archive").rglob("*.jpg"))
    run = chain.clone(tmp_path / "run")

    def here(*args: object, config: Chain = run, code: int | None = None, show: bool = True) -> None:
        """A command in this process: one error more costs no interpreter more."""
        capfd.readouterr()
        got = call([*map(str, args), "-c", str(config.file)])
        captured = capfd.readouterr()
        said.add(" ".join(map(str, args[:1])), (captured.out if show else "") + captured.err)
        assert code is None or got == code, captured.err

    here("status", code=0)
    here("search", "--like", films[0].stem, code=0)
    here("search", "--neuron", 0, "--space", "units", "--json", code=0)
    here("explain", films[0].stem, code=0, show=False)
    here("evaluate", "--queries", 20)
    ask_a_server(run, nc_alone, said, films[0], cache)

    # Errors, each where a patient would be nearest at hand.
    here("run", "--set", "sae.k=many", code=2)
    here("run", "--bogus", code=2)
    here("explain", "nobody", code=3)
    here("search", "--like", "nobody", code=3)
    here("catalog", "--set", "catalog.labels=[Hernia of nobody]", code=2)
    here("catalog", "--set", f"catalog.root={tmp_path}", code=3)
    here("catalog", "--set", "catalog.near_duplicates=refuse")

    broken = tmp_path / "broken"
    shutil.copytree(chain.archive, broken)
    root = broken / "archive"
    damaged = Chain(tmp_path / "damaged", broken)
    here("catalog", config=damaged, code=0)
    metadata = next(root.glob("*-metadata.csv.gz"))
    whole = gzip.decompress(metadata.read_bytes())
    metadata.write_bytes(gzip.compress(whole + whole.splitlines()[3].split(b",", 3)[1] + b",1\n"))
    here("catalog", config=damaged, code=3)  # a damaged row
    metadata.write_bytes(gzip.compress(whole.replace(b"subject_id", b"subject")))
    here("catalog", config=damaged, code=3)  # a missing column
    rows = whole.splitlines(keepends=True)
    metadata.write_bytes(gzip.compress(b"".join([*rows, rows[1]])))
    here("catalog", config=damaged, code=3)  # a film twice
    metadata.write_bytes(gzip.compress(whole))
    split = next(root.glob("*-split.csv.gz"))
    parts = gzip.decompress(split.read_bytes())
    torn = parts.replace(b",train\n", b",test\n", 1)
    split.write_bytes(gzip.compress(torn))
    here("catalog", config=damaged)
    split.write_bytes(gzip.compress(parts))

    with monkeypatch.context() as patched:
        scan = os.scandir

        def denied(path: str) -> object:
            if str(path).rpartition("/")[2].startswith("s5"):
                raise PermissionError(13, "Permission denied", path)
            return scan(path)

        patched.setattr(os, "scandir", denied)
        here("catalog", config=damaged, code=4)  # an unreadable folder
    report = next((broken / "reports").rglob("*.txt"))
    report.unlink()
    report.symlink_to("nowhere")
    here("catalog", config=damaged)
    report.unlink()
    report.write_text("FINDINGS: another.")
    here("catalog", config=damaged, code=0)

    def film(at: int) -> Path:
        return root / films[at].relative_to(chain.archive / "archive")

    brought = (
        "--set",
        f"classifier.weights={next(chain.lake.glob('classifier/*/parts/weights-*.safetensors'))}",
    )
    here("train", *brought, config=damaged)
    here("catalog", *brought, config=damaged)
    here("train", *brought, config=damaged, code=0)
    film(3).unlink()
    film(9).write_bytes(film(10).read_bytes())
    done = nc("mine", "-c", damaged.file, *brought, code=3)  # a missing film, and a changed one
    said.add("mine", done.out + done.err)
    shutil.copy(films[3], film(3))
    shutil.copy(films[9], film(9))
    deadline = time.monotonic() + 120
    while workers(cluster):  # of the run before: none but this one's shall be killed
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process = nc.start("mine", "-c", damaged.file, *brought)
    killed: list[int] = []
    deadline = time.monotonic() + 120
    while not killed and process.poll() is None:
        assert time.monotonic() < deadline
        for pid in workers(cluster):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
    assert killed
    out, err = process.communicate(timeout=600)
    said.add("mine with killed workers", out + err)

    client = JobSubmissionClient(cluster.jobs)
    job = client.submit_job(entrypoint=f"python {ROOT}/jobs/catalog.py -c {damaged.file} || true")
    while not client.get_job_status(job).is_terminal():
        time.sleep(0.1)
    said.add("job metadata", str(client.list_jobs()))
    said.add("job logs", client.get_job_logs(job))

    session = Path(cluster.log.name).parent
    roots = [run.folder, damaged.folder, cache, Path(os.environ["XDG_CACHE_HOME"]), session]
    places = sweep(secrets, roots, said.texts, but=[run.folder / "phi", damaged.folder / "phi"])
    assert not places, "\n".join(places[:20])
    assert len(said.texts) > 25
    assert sum(1 for _ in session.rglob("*.log")) > 5


LEAKS: dict[str, Callable[[Path, str], None]] = {
    "a column of strings": lambda root, leak: put(root / "a.parquet", to_parquet(pa.table({"x": ["", leak]}))),
    "a list within a table": lambda root, leak: put(root / "a.parquet", to_parquet(pa.table({"x": [[], [leak]]}))),
    "a dictionary of a table": lambda root, leak: put(
        root / "a.parquet", to_parquet(pa.table({"x": pa.array([leak] * 9).dictionary_encode()}))
    ),
    "a table's metadata": lambda root, leak: put(
        root / "a.parquet", to_parquet(pa.table({"x": [1.0]}).replace_schema_metadata({"root": leak}))
    ),
    "a manifest": lambda root, leak: put(root / "a.json", json.dumps({"facts": {"x": [leak]}}).encode()),
    "a header of safetensors": lambda root, leak: save_file({}, str(root / "a.safetensors"), {"from": leak}),
    "an index": lambda root, leak: put(root / "a.faiss", bytes(100) + leak.encode() + bytes(100)),
    "a log": lambda root, leak: put(root / "session/logs/worker.err", f"OSError: {leak}\n".encode()),
    "a compressed log": lambda root, leak: put(root / "old.log.gz", gzip.compress(leak.encode())),
    "a crash file": lambda root, leak: put(root / "core.1", b"\x7fELF" + bytes(50) + leak.encode() + bytes(3)),
    "a cache": lambda root, leak: put(root / "neuroconcepts/x/segment", leak.encode()),
    "a name of a file": lambda root, leak: put(root / leak.replace("/", "-") / "x", b""),
}


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def kinds(archive: Path) -> dict[str, str]:
    film = next((archive / "archive").rglob("*.jpg"))
    report = next((archive / "reports").rglob("*.txt")).read_text()
    metadata = gzip.decompress(next((archive / "archive").glob("*-metadata.csv.gz")).read_bytes()).decode()
    row = dict(zip(*(line.split(",") for line in metadata.splitlines()[:2]), strict=True))
    return {
        "patient": row["subject_id"],
        "study": f"s{row['study_id']}",
        "date": row["StudyDate"],
        "path": str(film.parent.relative_to(archive / "archive")),
        "five words of a report": sorted(shingles(report))[0],
    }


@pytest.mark.parametrize("kind", ["patient", "study", "date", "path", "five words of a report"])
@pytest.mark.parametrize("medium", [*LEAKS, "an output"])
def test_the_sweep_finds_a_leak_of_each_kind_in_each_medium(
    archive: Path, secrets: Secrets, tmp_path: Path, medium: str, kind: str
) -> None:
    leak = kinds(archive)[kind]
    said = {"stderr": "all is well"}
    assert sweep(secrets, [tmp_path], said) == []
    if medium == "an output":
        said["stderr"] += f" with {leak}."
    else:
        LEAKS[medium](tmp_path, leak)
    assert sweep(secrets, [tmp_path], said)
    assert not sweep(secrets, [tmp_path], {}, but=[tmp_path])


def test_the_sweep_finds_what_the_phi_root_holds(chain: Chain, secrets: Secrets) -> None:
    found = {place.rpartition(": ")[2] for place in sweep(secrets, [chain.folder / "phi"], {})}
    assert {"a patient", "a study"} <= found
    assert found & secrets.shingles


def test_hashes_fractions_and_longer_numbers_are_no_patients(secrets: Secrets) -> None:
    patient = next(iter(secrets.numbers))
    assert secrets.within(f"p{patient}/s") == [secrets.numbers[patient]]
    assert secrets.within(f"0.{patient} a{patient} {patient}1 {patient}ab") == []
