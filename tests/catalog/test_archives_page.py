"""docs/archives.md is run: each of its configs catalogues a tiny archive of the layout it speaks of."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from neuroconcepts_ray.catalog.adapters import TABLE
from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.config import validate

from .archives import fair, ham, ham_rows, iu, put, r2gen, table
from .conftest import Mimic, Run, film
from .scans import ddsm_archive, hospital, mammograms
from .test_csv import COLUMNS, rows_of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "archives.md").read_text()
CONFIGS = [
    yaml.safe_load(block)["catalog"] for block in re.findall(r"^    catalog:\n(?:^     .+\n)+", PAGE, re.MULTILINE)
]


def folder(root: Path) -> Path:
    for part in ("train", "val", "test"):
        for number in range(10, 18):
            put(root / part / "odd" / f"person{ord(part[1])}{number}_1.jpg", film(number))
            put(root / part / "even" / f"person{ord(part[1])}{number}_2.jpg", film(number + 1))
    return root


def clinic(root: Path) -> Path:
    rows = rows_of()
    for row in rows:
        put(root / row["Path"].replace("\\", "/"), film(1))
    columns = [name.replace("Mass", "Effusion") for name in COLUMNS]
    table(root / "films.csv", columns, [row | {"Effusion": "0"} for row in rows])
    return root


MAKERS: dict[str, Callable[[Path], Path]] = {
    "ham10000": lambda root: ham(root, ham_rows()),
    "folder": folder,
    "r2gen": lambda root: r2gen(root, iu()),
    "fairvlmed": fair,
    "csv": clinic,
    "ddsm": ddsm_archive,
    "cbis-ddsm": mammograms,
    "dicom": hospital,
}


@pytest.mark.parametrize("shown", CONFIGS, ids=[f"{one['adapter']}-{one.get('split', '')}" for one in CONFIGS])
def test_every_config_of_the_page_catalogues_its_archive(
    shown: dict[str, Any], tmp_path: Path, mimic: Mimic, run: Run
) -> None:
    fields = dict(shown)
    if fields["adapter"] == "mimic-cxr-jpg":
        fields |= {"root": str(mimic.root), "reports": str(mimic.root / "reports")}
    else:
        fields["root"] = str(MAKERS[fields["adapter"]](tmp_path / "data"))
    (tmp_path / "key").write_bytes(bytes(32))  # so that chance leaves no role empty
    fields["hash_key_file"] = str(tmp_path / "key")
    if "labels_file" in fields:
        fields["labels_file"] = str(tmp_path / "labels.csv")
    if "split_file" in fields:
        parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for row in ham_rows():
            parts[("train", "val", "test")[int(row["lesion_id"][4:]) % 3]].append(row["image_id"])
        (tmp_path / "split.json").write_text(json.dumps(parts))
        fields["split_file"] = str(tmp_path / "split.json")
    facts = run(validate(CatalogConfig, fields)).facts
    assert facts["images"] > 10
    assert facts["roles"]["fit"] > 0
    assert facts["roles"]["test"] > 0


def test_every_adapter_has_its_section() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert {entry.name for entry in TABLE} <= set(headings)


def test_real_ham10000_is_read_whole(shared_data: Path, run: Run) -> None:
    config = validate(CatalogConfig, {"root": str(shared_data / "ham10000"), "adapter": "ham10000", "split": "hash"})
    facts = run(config).facts
    rows = (shared_data / "ham10000/HAM10000_metadata.csv").read_text().splitlines()[1:]
    assert facts["images"] == len(rows) == 2125
    assert facts["groups"] == len({row.split(",")[0] for row in rows})
    assert set(facts["left_out"].values()) == {0}
    for label, counts in facts["label_counts"].items():
        assert counts["present"] == sum(row.split(",")[2] == label for row in rows)
    assert facts["columns"]["age"]["unknown"] == sum(row.split(",")[4] == "" for row in rows)
