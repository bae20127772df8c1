"""What is told after cataloguing: labels as the archive has them, columns, and counts beside those published."""

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from neuroconcepts_ray.catalog.adapters import mimic_cxr_jpg
from neuroconcepts_ray.catalog.tables import caveats
from neuroconcepts_ray.cli.counts import Comparison, compare, render
from neuroconcepts_ray.cli.main import call

from .archives import ham, ham_rows
from .conftest import Mimic, Run
from .test_ham10000 import config


def shown(facts: dict[str, Any]) -> str:
    sink = io.StringIO()
    Console(file=sink, width=200).print(render(facts))
    return sink.getvalue()


def test_a_part_of_an_archive_is_called_a_part_and_an_excess_a_warning() -> None:
    assert Comparison("images", 300, 10_000).verdict == "3 % of the published"
    assert Comparison("images", 7, 7).verdict == "all"
    assert Comparison("images", 9, 7).verdict.startswith("WARNING: 2 more than published")


def test_every_published_count_of_ham10000_stands_beside_ours(tmp_path: Path, run: Run) -> None:
    rows = ham_rows()
    facts = run(config(ham(tmp_path / "ham", rows))).facts
    found = {one.name: (one.ours, one.published) for one in compare(facts)}
    assert found["images"] == (len(rows), 10_015)
    assert found["groups"] == (40, 7_470)
    assert found["label nv"] == (sum(row["dx"] == "nv" for row in rows), 6_705)
    assert sum(published for name, (_, published) in found.items() if name.startswith("label ")) == 10_015
    page = shown(facts)
    for part in ("groups (by lesion)", "0.54 % of the published", "30 to 68", "male", "No patients are known"):
        assert part in page


def test_the_parts_of_mimic_are_compared_only_where_its_split_is_used(mimic: Mimic, run: Run) -> None:
    published = mimic_cxr_jpg.PUBLISHED
    assert sum(published[f"images of {part}"] for part in ("train", "validate", "test")) == published["images"]
    found = {one.name: one.ours for one in compare(run(mimic.config()).facts)}
    assert (found["images of train"], found["images of validate"], found["images of test"]) == (112, 32, 16)
    assert "images of train" not in {one.name for one in compare(run(mimic.config(split="hash")).facts)}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "Uncertain labels are masked; blank ones count as absent."),
        ({"uncertain": "zeros"}, "Uncertain labels count as absent; blank ones count as absent."),
        ({"uncertain": "ones", "blank": "mask"}, "Uncertain labels count as present; blank ones are masked."),
    ],
)
def test_the_policy_stands_below_the_labels(mimic: Mimic, run: Run, fields: dict[str, Any], sentence: str) -> None:
    facts = run(mimic.config(**fields)).facts
    assert sentence in caveats(facts)
    assert sentence in shown(facts)


def test_the_verb_prints_them_each_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog = {"adapter": "ham10000", "root": str(ham(tmp_path / "ham", ham_rows())), "split": "hash"}
    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump({"lake": "lake", "phi_root": "phi", "catalog": catalog}))
    for _ in range(2):
        assert call(["catalog", "-c", str(file)]) == 0
        page = capsys.readouterr().out
        assert "role test" in page
        assert "of the published" in page
    assert call(["catalog", "-c", str(file), "--set", "catalog.split=published"]) == 2
    assert "split: hash" in capsys.readouterr().err
