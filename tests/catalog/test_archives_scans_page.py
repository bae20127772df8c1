"""docs/archives-scans.md is run: each of its configs catalogues a tiny archive of the layout it speaks of."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.config import validate

from .conftest import Run
from .dicoms import dicom
from .test_cbis_ddsm import Cbis
from .test_ddsm import ddsm_archive

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "archives-scans.md").read_text()
CONFIGS = [
    yaml.safe_load(block)["catalog"] for block in re.findall(r"^    catalog:\n(?:^     .+\n)+", PAGE, re.MULTILINE)
]


def mammograms(root: Path) -> Path:
    archive = Cbis(root, "kaggle")
    for patient in range(40):
        archive.add(f"P_{patient:05}", pathology=("BENIGN", "MALIGNANT")[patient % 2])
    archive.write()
    return root


def hospital(root: Path) -> Path:
    root.mkdir(parents=True)
    for patient in range(40):
        tags = {"PatientID": f"{patient}", "StudyInstanceUID": f"1.2.{patient}", "BodyPartExamined": "CHEST"}
        (root / f"IM{patient:04}").write_bytes(dicom(f"1.1.{patient}", **tags))
    rows = "".join(f"1.2.{patient},{patient % 2}\n" for patient in range(40))
    (root.parent / "labels.csv").write_text(f"StudyInstanceUID,Edema\n{rows}")
    return root


MAKERS: dict[str, Callable[[Path], Path]] = {"ddsm": ddsm_archive, "cbis-ddsm": mammograms, "dicom": hospital}


@pytest.mark.parametrize("shown", CONFIGS, ids=[f"{one['adapter']}-{number}" for number, one in enumerate(CONFIGS)])
def test_every_config_of_the_page_catalogues_its_archive(shown: dict[str, Any], tmp_path: Path, run: Run) -> None:
    fields = dict(shown) | {"root": str(MAKERS[shown["adapter"]](tmp_path / "data"))}
    (tmp_path / "key").write_bytes(bytes(32))
    fields["hash_key_file"] = str(tmp_path / "key")
    if "labels_file" in fields:
        fields["labels_file"] = str(tmp_path / "labels.csv")
    facts = run(validate(CatalogConfig, fields)).facts
    assert facts["images"] >= 20
    assert facts["labels"]
    assert facts["roles"]["test"] > 0


def test_every_adapter_of_scans_has_its_section() -> None:
    assert set(re.findall(r"^## (.+)$", PAGE, re.MULTILINE)) == set(MAKERS)
