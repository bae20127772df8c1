"""The chain as a user runs it: finished work stays, a change redoes what depends on it, nothing is lost or twice."""

import csv
import gzip
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.lake.table import tensor_rows
from tests.conftest import PATIENTS, ROOT, Chain, Cluster, Command, Resident, Result, needs

PER_IMAGE = ("catalog", "activations.pre_logits", "activations.logits", "activations.layer3")
PER_IMAGE += ("codes.latents", "codes.units", "index.latents", "index.units")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_catalogued_image_has_exactly_one_row_in_every_stage(chain: Chain) -> None:
    status = chain.status()
    films = len(list((chain.archive / "archive").rglob("*.jpg")))
    assert {name: status[name]["images"] for name in PER_IMAGE} == dict.fromkeys(PER_IMAGE, films)
    assert all(row["state"] == "finished" and not row["quarantined"] for row in status.values())


def test_the_same_command_again_does_nothing_says_so_and_needs_no_cluster(chain: Chain, nc_alone: Command) -> None:
    before = files(chain.folder)
    said = nc_alone("run", "-c", chain.file, RAY_ADDRESS="127.0.0.1:1")
    assert "Nothing to do: everything is finished already." in said.out
    assert files(chain.folder) == before


def test_one_changed_sae_setting_redoes_only_what_depends_on_it(
    chain: Chain, resident: Resident, tmp_path: Path
) -> None:
    copy = chain.clone(tmp_path)
    planned = resident("run", "-c", copy.file, "--set", "sae.k=4", "--dry-run").out
    assert re.search(r"sae\s+to do", planned)
    assert re.search(r"activations.logits\s+finished", planned)
    said = resident("run", "-c", copy.file, "--set", "sae.k=4")
    events = [json.loads(line) for line in said.err.splitlines() if line.startswith("{")]
    states = {event["artifact"]: event["state"] for event in events if event["event"] == "stage"}
    redone = {name for name, state in states.items() if state == "made"}
    assert {"sae", "codes.latents", "names.latents", "index.latents"} <= redone
    assert not redone & {"catalog", "classifier", "activations.pre_logits", "activations.logits", "activations.layer3"}
    changed, first = copy.contents("sae.k=4"), copy.contents()
    assert {name for name in first if first[name] != changed[name]} == {
        "sae",
        "codes.latents",
        "names.latents",
        "index.latents",
    }


def test_pixels_are_packed_where_the_config_says_so_or_the_verb_alone_is_asked(
    chain: Chain, capfd: pytest.CaptureFixture[str]
) -> None:
    """A dry run of each; no other stage waits for pixels, and whoever did not ask for them never hears of them."""

    def told(*args: str) -> str:
        assert call([*args, "-c", str(chain.file)]) == 0
        return capfd.readouterr().out

    assert "pixels" not in told("run", "--dry-run") + told("status")
    assert re.search(r"pack +pixels +to do", told("pack", "--dry-run"))
    on = ("--set", "pixels.pack=true")
    assert re.search(r"pack +pixels +to do", told("run", "--dry-run", *on))
    assert re.search(r"pixels +to do", told("status", *on))
    assert "Nothing to do" in told("mine", *on)


def test_a_tenth_more_patients_cost_a_tenth_of_the_mining(
    chain: Chain, resident: Resident, nc_alone: Command, tmp_path: Path
) -> None:
    grown = tmp_path / "archive"
    shutil.copytree(chain.archive, grown)
    truth_free = tmp_path / "fresh"
    more = PATIENTS + PATIENTS // 10
    nc_alone(
        "phantom", truth_free, "--set", f"patients={more}", "--set", "height=76", "--set", "width=64", "--set", "seed=5"
    )
    for part in ("archive", "reports"):
        shutil.rmtree(grown / part)
        shutil.move(truth_free / part, grown / part)
    copy = chain.clone(tmp_path / "run")
    copy.file.write_text(copy.file.read_text().replace(str(chain.archive), str(grown)))
    mined = {name: row["images"] for name, row in chain.status().items()}
    kept = files(copy.lake)
    resident("run", "-c", copy.file, "--new-only")
    parts = [name for name in files(copy.lake) - kept if re.match(r"activations/\w+/parts/", name)]
    now = copy.status(new_only=True)
    new = now["activations.logits"]["images"] - mined["activations.logits"]
    assert now["index.latents"]["images"] == mined["index.latents"] + new
    assert 0 < new < 0.25 * mined["activations.logits"]
    # Three taps, eight images a shard: only the new partition's shards were mined.
    assert len(parts) == 3 * -(-new // 8)
    assert kept <= files(copy.lake)

    # Other roles: what the classifier was fitted on may now be test, so it may not be kept.
    other = ("--set", "catalog.split=hash")
    resident("catalog", "-c", copy.file, *other)
    refused = resident("run", "-c", copy.file, "--new-only", *other, code=3).error
    assert "--new-only has no classifier to keep" in refused
    # And they hide nothing: the first config still finds all that is its own.
    assert "Nothing to do" in resident("run", "-c", copy.file, "--new-only").out


def wait_for(condition: object, process: subprocess.Popen[str], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    pytest.fail("the moment to kill never came")


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_fitting_killed_and_run_again_gives_the_uninterrupted_bytes(
    chain: Chain, nc: Command, resident: Resident, tmp_path: Path
) -> None:
    copy = chain.clone(tmp_path, without=("sae", "codes", "names", "index"))
    process = nc.start("fit", "-c", copy.file)
    wait_for(lambda: list(copy.lake.glob("training/*/progress.json")), process)
    kill(process)
    assert not list(copy.lake.glob("sae/*/*.json")), "it must not have been finished when it was killed"
    resident("fit", "-c", copy.file)
    assert copy.contents()["sae"] == chain.contents()["sae"]
    assert not list(copy.lake.glob("training/*")), "checkpoints are removed once the artifact is committed"


def vectors(run: Chain) -> dict[tuple[int, str], bytes]:
    """The activations' bytes by (width, image): what neighbours of a damaged film must keep."""
    found = {}
    for part in run.lake.glob("activations/*/parts/*.parquet"):
        table = pq.read_table(part)
        rows = tensor_rows(table["activation"])
        found |= {(rows.shape[1], i): v.tobytes() for i, v in zip(table["image_id"].to_pylist(), rows, strict=True)}
    return found


def test_damaged_films_are_set_aside_by_name_and_their_neighbours_bytes_do_not_change(
    chain: Chain, nc_alone: Command, resident: Resident, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    shutil.copytree(chain.archive, archive)
    films = sorted((archive / "archive").rglob("*.jpg"))
    bad = {film.stem for film in films[::45]}
    for film in films[::45]:
        film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    copy = Chain(tmp_path / "run", archive)
    weights = next(chain.lake.glob("classifier/*/parts/weights-*.safetensors"))
    bound = ("--set", "compute.max_bad_fraction=0.15")
    brought = ("--set", f"classifier.weights={weights}")
    resident("catalog", "-c", copy.file, *brought)
    # Nothing is trained, so no cluster is needed.
    nc_alone("train", "-c", copy.file, *brought, *bound, RAY_ADDRESS="127.0.0.1:1")

    # More damage than allowed: nothing is committed, what was done is kept.
    assert "max_bad_fraction" in resident("mine", "-c", copy.file, *brought, code=3).error
    assert not list(copy.lake.glob("activations/*/*.json"))
    kept = files(copy.lake)
    assert any("/receipts/" in name for name in kept)

    resident("mine", "-c", copy.file, *brought, *bound)
    assert kept <= files(copy.lake)
    status = json.loads(resident("status", "-c", copy.file, "--json", *brought).out)
    row = {r["artifact"]: r for r in status["artifacts"]}["activations.pre_logits"]
    assert (row["images"], row["quarantined"]) == (len(films) - len(bad), len(bad))
    mined = [q for q in status["quarantined"] if q["stage"] == "activations"]
    assert {(q["image_id"], q["cause"]) for q in mined} == {(image, "truncated") for image in bad}
    assert vectors(copy) == {key: value for key, value in vectors(chain).items() if key[1] not in bad}


ONE_BY_ONE = """
import runpy, sys

config, *jobs = sys.argv[1:]
for job in jobs:
    sys.argv = [job, "-c", config]
    try:
        runpy.run_path(job, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
"""


def test_jobs_submitted_to_a_head_give_the_same_digests(chain: Chain, cluster: Cluster, tmp_path: Path) -> None:
    copy = chain.clone(tmp_path, without=("activations", "sae", "codes", "names", "index"))
    # `mine` by the command that the documentation gives; then the rest of the chain, and after it every job, which
    # finds its work done, by the same door. Those come one after the other in one process: what it loads is loaded.
    ray = str(Path(sys.executable).with_name("ray"))
    mine = [ray, "job", "submit", "--address", cluster.jobs, "--", "python", ROOT / "jobs" / "mine.py", "-c", copy.file]
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(mine, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    client = JobSubmissionClient(cluster.jobs)
    jobs = sorted((ROOT / "jobs").glob("*.py"))
    every = tmp_path / "every.py"
    every.write_text(ONE_BY_ONE)
    rest = shlex.join(["python", str(ROOT / "jobs" / "run.py"), "-c", str(copy.file)])
    again = shlex.join(["python", str(every), str(copy.file), *map(str, jobs)])
    submitted = client.submit_job(entrypoint=f"{rest} && {again}")
    while not client.get_job_status(submitted).is_terminal():
        time.sleep(0.2)
    logs = client.get_job_logs(submitted)
    assert client.get_job_status(submitted) == JobStatus.SUCCEEDED, logs
    # All but the first `run`, which did the rest of the work, `pack`, which no `run` was told to do, and `neighbours`,
    # which is no part of the chain.
    assert logs.count("Nothing to do") == len(jobs) - 2
    assert logs.count("Neighbours of") == 1
    contents = copy.contents()
    assert contents.pop("pixels")
    assert contents == chain.contents()


def test_search_and_explain_answer_from_the_finished_chain(chain: Chain, capfd: pytest.CaptureFixture[str]) -> None:
    def ask(*args: object) -> Any:
        assert call([*map(str, args), "-c", str(chain.file), "--json"]) == 0
        return json.loads(capfd.readouterr().out)

    image = next((chain.archive / "archive").rglob("*.jpg"))
    patient = image.parts[-3]
    owner = {film.stem: film.parts[-3] for film in (chain.archive / "archive").rglob("*.jpg")}
    hits = ask("search", "--like", image.stem)["hits"]
    assert 0 < len(hits) <= 20
    assert patient not in {owner[hit["image_id"]] for hit in hits}
    for hit in hits:
        assert sum(shared["share"] for shared in hit["shared"]) == pytest.approx(hit["score"])
    strong = ask("search", "--neuron", 0, "--space", "units")["hits"]
    assert [hit["score"] for hit in strong] == sorted((hit["score"] for hit in strong), reverse=True)
    with gzip.open(chain.archive / "archive/patients.csv.gz", "rt") as table:
        women = {f"p{row['subject_id']}" for row in csv.DictReader(table) if row["gender"] == "F"}
    hers = ask("search", "--neuron", 0, "--space", "units", "--where", "sex=female", "--where", "age>40")["hits"]
    assert hers
    assert {owner[hit["image_id"]] for hit in hers} <= women
    for space in ("latents", "units"):
        answer = ask("explain", image.stem, "--space", space)
        assert answer["error"] <= 1e-5
        assert len(answer["concepts"]) <= 4
        assert "FINDINGS" in answer["report"] or "IMPRESSION" in answer["report"]
        assert len(answer["neighbours"]) <= 20
    assert call(["explain", image.stem, "-c", str(chain.file)]) == 0
    page = capfd.readouterr().out
    assert "residual" in page
    assert "logit of the network" in page


def test_reports_and_patients_stay_out_of_the_lake(chain: Chain) -> None:
    patients = {path.name for path in (chain.archive / "archive").glob("files/*/*")}
    report = next((chain.archive / "reports").rglob("*.txt")).read_text()
    sentence = max(report.splitlines(), key=len).strip().encode()
    needles = [patient.encode() for patient in patients] + [patient[1:].encode() for patient in patients] + [sentence]
    for path in chain.lake.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        if path.suffix == ".parquet":
            data = str(pq.read_table(path).to_pydict()).encode()
        assert not [needle for needle in needles if needle in data], path
    assert (chain.folder / "phi").stat().st_mode & 0o077 == 0


ERRORS = [
    (("run", "--set", "sae.kk=64"), 2, r"sae.kk: there is no such key \(got 64\)"),
    (("run", "--set", "sae.k=many"), 2, r"sae.k: Input should be a valid integer"),
    (("run", "--set", "catalog.root=/nowhere/at/all"), 2, r"catalog.root"),
    (("train", "--set", "classifier.backbone=resnet19"), 2, r"resnet19.*resnet18"),
    (("fit", "--set", "sae.tap=nothing"), 2, r"nothing"),
    (("encode", "--set", "spaces.odd.origin=units", "--set", "spaces.odd.tap=layer1"), 2, r"layer1"),
    (("search", "--like", "nobody"), 3, r"nobody"),
    (("search",), 2, r"like.*concepts"),
    (("search", "--any-of", "a name that no neuron has"), 3, r"no neuron has this name"),
    (("search", "--neuron", "0", "--where", "colour=red"), 3, r"no such column.*view, role"),
    (("search", "--neuron", "0", "--boost", "3"), 2, r"--boost takes NAME=VALUE"),
    (("search", "--neuron", "0", "--weighting", "tfidf"), 2, r"weighting"),
    (("index", "remove", "nobody"), 3, r"nobody"),
    (("neighbours", "--role", "train"), 3, r"no image of the index has this role.*fit"),
    (("search", "--neuron", "0", "--space", "nowhere"), 2, r"nowhere.*latents"),
    (("explain", "nobody"), 3, r"nobody"),
    (("run", "--set", "lake=/dev/null/lake", "--set", "phi_root=/dev/null/phi"), 4, r"disk failed"),
    (("run", "--set", "lake=s3://bucket/lake?secret=abc"), 2, r"holds a secret"),
    (("run", "--set", "lake=gs://bucket/lake"), 2, r"no store serves"),
    (("run", "--set", "classifier.lr=.inf"), 2, r"JSON"),
    (("run", "--set", "lake=~no-such-user/lake"), 2, r"home"),
    (("run", "--bogus"), 2, r"No such option"),
]


@pytest.mark.parametrize(("args", "code", "says"), ERRORS, ids=[" ".join(e[0]) for e in ERRORS])
def test_bad_input_is_one_clear_line_and_leaves_nothing(
    chain: Chain, capfd: pytest.CaptureFixture[str], args: tuple[str, ...], code: int, says: str
) -> None:
    before = files(chain.folder)
    assert call([*args, "-c", str(chain.file)]) == code
    captured = capfd.readouterr()
    error = Result(captured.out, captured.err).error
    assert re.search(says, error), error
    assert files(chain.folder) == before


def test_an_unknown_tap_is_told_by_the_first_actor_with_its_exit_code(chain: Chain, resident: Resident) -> None:
    before = files(chain.folder)
    error = resident("mine", "-c", chain.file, "--set", "activations.taps=[layer9]", code=2).error
    assert re.search(r"layer9.*layer", error), error
    assert files(chain.folder) == before


def test_a_stage_whose_inputs_are_missing_names_the_verb_to_run(
    archive: Path, nc_alone: Command, tmp_path: Path
) -> None:
    empty = Chain(tmp_path, archive)
    assert "neuroconcepts catalog" in nc_alone("mine", "-c", empty.file, code=3).error


def test_without_faiss_the_run_ends_before_any_work_and_names_the_fix(
    archive: Path, nc_alone: Command, tmp_path: Path
) -> None:
    # A venv without faiss would hold five gigabytes of torch: its distributions are hidden instead.
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as m\n"
        "real = m.distributions\n"
        "m.distributions = lambda **k: (d for d in real(**k) if 'faiss' not in (d.name or ''))\n"
    )
    fresh = Chain(tmp_path / "run", archive)
    error = nc_alone("run", "-c", fresh.file, code=4, PYTHONPATH=str(tmp_path)).error
    assert "neuroconcepts-ray[cpu]" in error
    assert not fresh.lake.exists()


def test_a_full_disk_is_one_clear_line_and_the_work_goes_on_when_there_is_room(
    chain: Chain, resident: Resident, tmp_path: Path
) -> None:
    copy = Chain(tmp_path, chain.archive)
    copy.lake.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(copy.lake)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    needs(mounted, "a small file system can be mounted by root only")
    try:
        copy = chain.clone(tmp_path, without=("activations", "sae", "codes", "names", "index"))
        used = shutil.disk_usage(copy.lake).used
        subprocess.run(["mount", "-o", f"remount,size={used + 65536}", str(copy.lake)], check=True)
        error = resident("mine", "-c", copy.file, code=4).error
        assert "No space left" in error
        assert "Free space" in error
        assert not list(copy.lake.glob("activations/*/*.json"))
        assert not list(copy.lake.rglob(".*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(copy.lake)], check=True)
        resident("mine", "-c", copy.file)
        assert copy.contents()["activations.layer3"] == chain.contents()["activations.layer3"]
    finally:
        subprocess.run(["umount", str(copy.lake)], check=True)


def test_help_is_instant_for_every_verb(nc_alone: Command) -> None:
    code = "import sys; from neuroconcepts_ray.cli.main import call; call(['mine', '--help']); "
    code += "print([m for m in ('torch', 'ray', 'numpy', 'pyarrow', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=nc_alone.env)
    assert done.stdout.splitlines()[-1] == "[]"
