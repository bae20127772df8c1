"""Real films in the layouts that hospitals and publications use."""

from pathlib import Path

import numpy as np

from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.roles import check_disjoint
from neuroconcepts_ray.catalog.sources import read_source
from neuroconcepts_ray.catalog.tables import load_catalog, load_reports, load_sources
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.load import load_pixels
from neuroconcepts_ray.lake.lake import Lake

from .conftest import Run

KERMANY = r"^(person\d+)_|^((?:NORMAL2-)?IM-\d+)"


def test_the_mimic_layout_is_read_whole(shared_data: Path, run: Run, lake: Lake) -> None:
    fields = {"root": str(shared_data / "mimic_cxr_jpg"), "reports": str(shared_data / "mimic_cxr_reports")}
    manifest = run(validate(CatalogConfig, fields))
    catalog = load_catalog(lake, manifest)
    facts = manifest.facts
    assert (facts["images"], facts["studies"], facts["groups"]) == (1101, 1081, 724)
    assert set(facts["left_out"].values()) == {0}
    assert catalog.y.shape == (1101, 14)
    assert not np.isnan(catalog.y).any()
    texts = load_reports(lake, manifest)
    assert len(texts) == len(list((shared_data / "mimic_cxr_reports").rglob("*.txt")))
    assert set(texts) <= set(catalog.studies)
    assert {view: int((catalog.views == view).sum()) for view in ("AP", "PA", "LATERAL", "")} == {
        "AP": 510,
        "PA": 509,
        "LATERAL": 12,
        "": 70,
    }
    check_disjoint(catalog.groups, catalog.roles)
    sources = load_sources(lake, manifest)
    for image_id in catalog.image_ids[::20]:
        pixels = load_pixels(read_source(fields["root"], sources[image_id]), PixelConfig(size=64))
        assert pixels.shape == (1, 64, 64)


def test_a_folder_per_class_is_read_whole(shared_data: Path, run: Run) -> None:
    fields = {"root": str(shared_data / "folder_per_class"), "adapter": "folder"}
    facts = run(validate(CatalogConfig, fields)).facts
    assert (facts["images"], facts["groups"], facts["task"]) == (2116, 2116, "multiclass")
    grouped = {**fields, "group_pattern": KERMANY}  # its published parts tear none of the patients so found
    facts = run(validate(CatalogConfig, grouped)).facts
    assert facts["ungrouped"] == 0
    assert facts["groups"] < 2116
    assert facts["labels"] == ["bacterial", "normal", "viral"]
    assert all(count > 50 for count in facts["roles"].values())
