"""Nothing but the pixels and the reports tells what is on a film."""

import csv
import gzip
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from neuroconcepts_ray.phantom import shelf
from neuroconcepts_ray.phantom.archive import STATE, write_archive
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.layouts import ddsm, fairvlmed, ham10000, mimic
from neuroconcepts_ray.phantom.layouts.mimic import file_name
from neuroconcepts_ray.phantom.scoring.truth import load_truth
from neuroconcepts_ray.stats import auroc

CONFIG = PhantomConfig(patients=130, height=48, width=40, seed=21, lateral=0.2)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("leaks")
    write_archive(CONFIG, base / "archive", base / "reports", base / "truth")
    return base


def table(root: Path, name: str) -> list[dict[str, str]]:
    with gzip.open(root / file_name(name), "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def features(root: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Whatever can be known of a film without decoding it: features, patients, names."""
    paths = {path.stem: (order, path) for order, path in enumerate(sorted(root.rglob("*.jpg")))}
    out, patients, names = [], [], []
    for place, row in enumerate(table(root, "metadata")):
        order, path = paths[row["dicom_id"]]
        data = path.read_bytes()
        digits = [int(digit, 16) for digit in row["dicom_id"].replace("-", "")[:12]]
        scan = data.index(b"\xff\xda")
        out.append([
            *((digit >> bit) & 1 for digit in digits for bit in range(4)),
            len(data), scan, *np.frombuffer(data[:scan], np.uint8)[::16], order, place,
            row["ViewPosition"] == "AP", row["ViewPosition"] == "LATERAL",
            len(row["PerformedProcedureStepDescription"]),
            int(row["StudyDate"]), float(row["StudyTime"]), int(row["study_id"]) % 137, int(row["subject_id"]) % 137,
        ])  # fmt: skip
        patients.append(row["subject_id"])
        names.append(row["dicom_id"])
    return np.array(out, float), np.array(patients), names


def scores(x: np.ndarray, y: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Scores of a logistic probe on patients that it was not fitted on."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    out: np.ndarray = cross_val_predict(probe, x, y, groups=patients, cv=GroupKFold(4), method="decision_function")
    return out


def interval(score: np.ndarray, y: np.ndarray, patients: np.ndarray, level: float) -> tuple[float, float]:
    """Bootstrap of the AUROC over patients."""
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    values = []
    for _ in range(400):
        at = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        values.append(auroc(score[at], y[at]))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def test_names_sizes_order_headers_and_metadata_tell_no_finding(written: Path) -> None:
    x, patients, names = features(written / "archive")
    planted = load_truth(written / "truth").planted(names)
    found = {}
    for name, there in planted.items():
        score = scores(x, there, patients)
        # Bonferroni over the findings: none of them may be told.
        low, _ = interval(score, there, patients, 1 - 0.05 / len(planted))
        found[name] = (round(auroc(score, there), 3), round(low, 3))
    assert {name: value for name, value in found.items() if value[1] > 0.5} == {}
    assert 0.45 < np.mean([value[0] for value in found.values()]) < 0.55


def test_the_probe_finds_what_a_size_would_tell(written: Path) -> None:
    """The control: sizes as they are before they are made equal, with an edema that costs 400 bytes."""
    x, patients, names = features(written / "archive")
    there = load_truth(written / "truth").planted(names)["Edema"]
    noise = np.random.default_rng(1).normal(0, 400, len(there))
    leaky = np.column_stack([x, 6000 + 400 * there + noise])
    assert interval(scores(leaky, there, patients), there, patients, 0.95)[0] > 0.5


@pytest.mark.parametrize(
    ("layout", "module", "name"),
    [
        ("mimic-cxr-jpg", mimic, "render"),
        ("r2gen", mimic, "render"),
        ("ddsm", ddsm, "render_mammogram"),
        ("ham10000", ham10000, "render_lesion"),
        ("fairvlmed", fairvlmed, "render_fundus"),
    ],
)
def test_no_file_is_written_between_two_drawings_so_no_time_of_change_tells_how_long_one_took(
    layout: str, module: ModuleType, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, drawn = getattr(module, name), []

    def watched(*arguments: object) -> object:
        drawn.append([path for path in tmp_path.rglob("*") if path.is_file() and path.name != STATE])
        return draw(*arguments)

    monkeypatch.setattr(module, name, watched)
    config = PhantomConfig(layout=layout, patients=3, height=32, width=32)
    write_archive(config, tmp_path / "archive", tmp_path / "reports", tmp_path / "truth")
    assert len(drawn) >= 3
    assert not any(drawn)
    assert len(list((tmp_path / "archive").rglob("*"))) > len(drawn)


def test_a_full_shelf_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "FULL", 10)
    held = shelf.Shelf(tmp_path / "archive", tmp_path / "reports")
    held.put("a/b.jpg", b"123456")
    assert not list(tmp_path.iterdir())
    held.put_report("c.txt", "7890")
    held.put("d.jpg", b"1")
    assert (tmp_path / "archive" / "a" / "b.jpg").read_bytes() == b"123456"
    assert not (tmp_path / "archive" / "d.jpg").exists()
    held.empty()
    assert (tmp_path / "archive" / "d.jpg").read_bytes() == b"1"
