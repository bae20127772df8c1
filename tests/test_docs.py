"""Documentation is run: every block of the README, every config, every key, every job."""

import csv
import gzip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.cli.look import fields
from neuroconcepts_ray.pipeline import PipelineConfig
from neuroconcepts_ray.stages import TABLE
from tests.classifier.published import DENSENET121, original
from tests.conftest import ROOT, Chain, Cluster, Command

README = (ROOT / "README.md").read_text()
CARE = (ROOT / "docs" / "care.md").read_text()
BLOCKS = [block for block in re.findall(r"```bash\n(.*?)```", README + CARE, re.DOTALL) if "make " not in block]


def every_eighth_patient(real: Path, folder: Path) -> tuple[Path, Path]:
    """Films, tables and reports of an eighth of the real patients: the layout is what is tested."""
    films, texts = real / "mimic_cxr_jpg", real / "mimic_cxr_reports"
    kept = sorted(films.glob("files/*/*"))[::8]
    archive, reports = folder / "archive", folder / "reports"
    for source, target in ((films, archive), (texts, reports)):
        for patient in kept:
            if (source / patient.relative_to(films)).is_dir():
                shutil.copytree(source / patient.relative_to(films), target / patient.relative_to(films))
    subjects = {patient.name.removeprefix("p") for patient in kept}
    for table in films.glob("*.csv.gz"):
        with gzip.open(table, "rt", newline="") as source, gzip.open(archive / table.name, "wt", newline="") as target:
            rows = csv.DictReader(source)
            writer = csv.DictWriter(target, rows.fieldnames or [])
            writer.writeheader()
            writer.writerows(row for row in rows if row["subject_id"] in subjects)
    return archive, reports


@pytest.fixture(scope="module")
def newcomer(chain: Chain, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with jobs/ and demo/, and the variables that the README speaks of; real films where they are."""
    folder = tmp_path_factory.mktemp("newcomer")
    shutil.copytree(ROOT / "jobs", folder / "jobs")
    chain.clone(folder / "demo")
    # Roles follow from the lake's key. By a random one a small archive now and then lacks patients of a role.
    (folder / "phi").mkdir(mode=0o700)
    (folder / "phi" / "hash.key").write_bytes(b"a key of the tests, not a secret")
    real = ROOT.parent / "shared" / "data"
    archive, reports = chain.archive / "archive", chain.archive / "reports"
    classes = folder / "classes"
    for number, film in enumerate(sorted(archive.rglob("*.jpg"))):
        target = classes / ("odd" if number % 2 else "even") / f"person{number}_{film.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(film, target)
    if real.is_dir():
        archive, reports = every_eighth_patient(real, folder)
        # Every twentieth film: the layout is what is tested.
        classes = folder / "per_class"
        for film in sorted((real / "folder_per_class").rglob("*.jpg"))[::20]:
            target = classes / film.relative_to(real / "folder_per_class")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(film, target)
    film = next((chain.archive / "archive").rglob("*.jpg"))
    variables = {
        "IMAGE": film.stem,
        "FILM": str(film),
        "ARCHIVE": str(archive),
        "REPORTS": str(reports),
        "FOLDER": str(classes),
        "RAY_ADDRESS": cluster.address,
        "RAY_API_SERVER_ADDRESS": cluster.jobs,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return folder, {**os.environ, **variables}


@pytest.mark.parametrize("block", BLOCKS, ids=[block.splitlines()[0][:40] for block in BLOCKS])
def test_the_blocks_of_readme_and_care_run_as_they_stand(newcomer: tuple[Path, dict[str, str]], block: str) -> None:
    folder, variables = newcomer
    if block.startswith("ray job"):
        # `ray job submit` takes the jobs server's address, and the job then its cluster's from Ray.
        variables = {name: value for name, value in variables.items() if name != "RAY_ADDRESS"}
    if "per_class" not in variables["FOLDER"]:
        block = block.replace("folder.yaml --set", "folder.yaml --set catalog.split=hash --set")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_on_imports_runs_as_it_stands_from_the_original_to_an_explanation(
    archive: Path, cluster: Cluster, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "import-model.md").read_text()
    factory, kwargs = DENSENET121
    torch.save({"state_dict": original(factory, kwargs).state_dict()}, tmp_path / "chest.pth")
    films = sorted((archive / "archive").rglob("*.jpg"))
    (tmp_path / "films").mkdir()
    for film in films[:8]:
        shutil.copy(film, tmp_path / "films" / film.name)
    places = {"ARCHIVE": str(archive / "archive"), "REPORTS": str(archive / "reports"), "IMAGE": films[0].stem}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, **places, "RAY_ADDRESS": cluster.address, "PATH": path, "OMP_NUM_THREADS": "1"}
    said = ""
    for language, block in re.findall(r"```(bash|python)\n(.*?)```", page, re.DOTALL):
        command = ["bash", "-euo", "pipefail", "-c", block] if language == "bash" else [sys.executable, "-c", block]
        done = subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said += done.stdout
    assert "Written to chest" in said
    assert "logit of the network" in said
    assert "Effusion" in said


def test_the_readme_has_the_two_commands_and_blocks_to_run() -> None:
    assert "make demo" in README
    assert "make test" in README
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("path", sorted((ROOT / "jobs" / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_that_ships_is_valid(path: Path) -> None:
    assert pipeline.load(path, [])


def test_every_job_is_a_verb_of_the_table_and_every_verb_a_job() -> None:
    verbs = {stage.verb for stage in TABLE} | {"run", "neighbours"}
    assert {path.stem for path in (ROOT / "jobs").glob("*.py")} == verbs
    assert all(f'job("{verb}")' in (ROOT / "jobs" / f"{verb}.py").read_text() for verb in verbs)


def test_the_sections_of_a_pipeline_are_those_of_the_table() -> None:
    sections = set(PipelineConfig.model_fields) - {"lake", "phi_root", "compute"}
    assert sections == {stage.section for stage in TABLE}


def test_every_key_says_what_it_means() -> None:
    assert not [key for key, _, meaning in fields(PipelineConfig) if len(meaning) < 10]


def test_every_verb_has_help_with_an_example(nc_alone: Command) -> None:
    text = nc_alone("--help").out
    verbs = re.findall(r"^│ (\w[\w-]*) +\S", text, re.MULTILINE)
    assert {stage.verb for stage in TABLE} | {"run", "demo", "phantom", "search", "explain", "status"} <= set(verbs)
    from typer.testing import CliRunner

    from neuroconcepts_ray.cli.main import app

    for verb in verbs:
        said = CliRunner().invoke(app, [verb, "--help"]).output
        assert f"neuroconcepts {verb}" in said, said


def test_keys_in_the_docs_exist() -> None:
    known = {key for key, _, _ in fields(PipelineConfig)} | set(PipelineConfig.model_fields)
    sections = "|".join(stage.section for stage in TABLE) + "|compute"
    for page in (README, *((ROOT / "docs" / name).read_text() for name in ("guide.md", "archives.md"))):
        for key in re.findall(rf"\b((?:{sections})\.(?!md\b)[a-z_]+)\b", page):  # docs/sae.md is a page
            assert key in known or any(name.startswith(f"{key}.") for name in known), key


def test_the_guides_snippets_are_valid_sections() -> None:
    for snippet in re.findall(r"(?:^    .+\n)+", (ROOT / "docs" / "guide.md").read_text(), re.MULTILINE):
        raw = yaml.safe_load(snippet)
        if "classifier" in raw:
            raw["classifier"].pop("weights")
        pipeline.configs.validate(PipelineConfig, {"lake": "x", "phi_root": "y", "catalog": {"root": "z"}, **raw})
