"""Every file of an archive is catalogued or left out, every catalogued one mined or set aside, each by its cause."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.catalog.tables import load_sources
from neuroconcepts_ray.catalog.trees import is_image
from neuroconcepts_ray.classifier.config import ClassifierConfig
from neuroconcepts_ray.classifier.model import build
from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.imaging import bounds
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.pipeline import Pipeline
from tests.catalog.archives import HAM_COLUMNS, put, table
from tests.catalog.conftest import film
from tests.conftest import Result
from tests.erasure.world import CLASSIFIER, without_ray
from tests.imaging.test_junk import junk
from tests.imaging.test_real_dicom import CAUSES

TAP = "activations.layer3"


@dataclass(frozen=True)
class Inputs:
    """A pipeline with a tiny network brought along, over any archive."""

    folder: Path
    capfd: pytest.CaptureFixture[str]

    def write(self, **catalog: Any) -> "Inputs":
        """The pipeline file over this archive, and random weights of two outputs."""
        config = {**CLASSIFIER, "labels": ["one", "other"]}
        torch.manual_seed(0)
        model = build(validate(ClassifierConfig, config), config["labels"], "multilabel")
        weights = self.folder / "weights.safetensors"
        save_file({name: value.contiguous() for name, value in model.timm_state().items()}, weights)
        key = self.folder / "key"
        key.write_bytes(bytes(range(32)))  # so that every run deals the same roles
        text = {
            "lake": "lake",
            "phi_root": "phi",
            "catalog": {"split": "hash", "hash_key_file": str(key), **catalog},
            "classifier": {**config, "weights": str(weights)},
            "activations": {"taps": ["layer3"], "shard_rows": 16, "batch_size": 8, "threads": 1, "dtype": "float32"},
        }
        (self.folder / "pipeline.yaml").write_text(yaml.safe_dump(text))
        return self

    def call(self, *args: str) -> tuple[int, str]:
        """Exit code and error line of a command."""
        self.capfd.readouterr()
        with without_ray():
            code = call([*args, "-c", str(self.folder / "pipeline.yaml")])
        captured = self.capfd.readouterr()
        return code, Result(captured.out, captured.err).error if code else ""

    def mine(self, *overrides: str) -> None:
        """Catalog and mine."""
        for verb in ("catalog", "train", "mine"):
            assert self.call(verb, *overrides) == (0, ""), verb

    @property
    def line(self) -> Pipeline:
        return Pipeline(pipeline.load(self.folder / "pipeline.yaml", []))

    def have(self) -> dict[str, Manifest]:
        return self.line.artifacts()

    def reconciled(self, files: int) -> tuple[dict[str, int], dict[str, int]]:
        """Check that nothing is lost; what was left out of the catalog by reason, and of the mine by cause."""
        have = self.have()
        left_out = {reason: count for reason, count in have["catalog"].facts["left_out"].items() if count}
        sources = load_sources(self.line.lake, have["catalog"])
        assert files == len(sources) + sum(left_out.values())
        causes: dict[str, int] = {}
        for name in (TAP, "activations.logits"):
            rows = [one for part in have[name].parts for one in self._ids(part)]
            bad = [one.image_id for one in have[name].quarantined]
            assert sorted([*rows, *bad]) == sorted(sources)
            assert have[name].images == len(rows)
            causes = dict(Counter(one.cause for one in have[name].quarantined))
        return left_out, causes

    def _ids(self, part: Any) -> list[str]:
        return list(self.line.lake.table(part, ["image_id"])["image_id"].to_pylist())


@pytest.fixture
def inputs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Inputs:
    return Inputs(tmp_path, capfd)


def test_a_folder_of_junk_is_refused_by_its_causes_until_the_bound_is_raised(
    inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_BYTES", 1 << 24)  # so that the test need not make bombs of gigabytes
    archive, written = inputs.folder / "archive", junk()
    for number in range(12):
        put(archive / ("one", "other")[number % 2] / f"film-{number}.png", film(number))
    for number, (name, (_, data)) in enumerate(written.items()):
        put(archive / ("one", "other")[number % 2] / name, data)
    inputs.write(root=str(archive), adapter="folder")
    expected = Counter(cause for name, (cause, _) in written.items() if is_image(name))
    others = sum(not is_image(name) for name in written)
    total = 12 + expected.total()

    assert inputs.call("catalog") == (0, "")
    code, error = inputs.call("train")  # the network is scored on role select, where junk lies too
    assert code == 3
    assert "too many images are quarantined" in error
    assert inputs.call("train", "--set", "compute.max_bad_fraction=1") == (0, "")

    code, error = inputs.call("mine")
    assert code == 3
    (most, count), *_ = expected.most_common()
    assert f"too many images are quarantined ({most}: {count}, " in error
    assert f"(got {expected.total()} of {total}; allowed: max_bad_fraction 0.01)" in error
    assert "Mend the files, or raise compute.max_bad_fraction; everything done is kept" in error
    assert TAP not in inputs.have()
    share = expected.total() / total
    assert inputs.call("mine", "--set", f"compute.max_bad_fraction={share - 0.001}")[0] == 3
    assert inputs.call("mine", "--set", f"compute.max_bad_fraction={share}") == (0, "")
    assert inputs.reconciled(12 + len(written)) == ({"junk": others}, expected)


def test_ham10000_is_mined_whole(inputs: Inputs, shared_data: Path) -> None:
    root, archive = shared_data / "ham10000", inputs.folder / "archive"
    with (root / "HAM10000_metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lesions = sorted({row["lesion_id"] for row in rows})[::25]
    rows = [row for row in rows if row["lesion_id"] in lesions]
    films = {path.stem: path for path in root.rglob("*.jpg")}
    for row in rows:
        path = films[row["image_id"]]
        put(archive / path.relative_to(root), path.read_bytes())
    table(archive / "HAM10000_metadata.csv", HAM_COLUMNS, rows)
    inputs.write(root=str(archive), adapter="ham10000").mine()
    assert inputs.reconciled(len(rows)) == ({}, {})
    facts = inputs.have()["catalog"].facts
    assert (facts["images"], facts["groups"]) == (len(rows), len(lesions))


def test_of_the_real_dicom_folder_35_are_mined_and_12_say_why_not(inputs: Inputs, shared_data: Path) -> None:
    pytest.importorskip("openjpeg", reason="the extra 'dicom' is not installed")
    inputs.write(root=str(shared_data / "dicom"), adapter="dicom").mine("--set", "compute.max_bad_fraction=0.5")
    left_out, causes = inputs.reconciled(48)  # their list lies beside them
    assert left_out == {"junk": 1, "no_pixels": 3, "no_pixels_SR": 2}
    assert sum(causes.values()) == 7
    assert inputs.have()[TAP].images == 35
    named = Counter(CAUSES.values())
    assert causes == named - Counter({"DICOM without pixels": 5})


def test_films_of_full_size_are_mined_whole(inputs: Inputs, shared_data: Path) -> None:
    films = sorted(path for path in (shared_data / "full_size").iterdir() if path.is_file())
    (inputs.folder / "archive").mkdir()
    (inputs.folder / "archive" / "one").symlink_to(shared_data / "full_size")
    inputs.write(root=str(inputs.folder / "archive"), adapter="folder").mine()
    assert inputs.reconciled(len(films)) == ({}, {})
    assert inputs.have()[TAP].images == 23
