"""The demo's score on the small chain, and what its table must not leave unsaid."""

import json
from pathlib import Path
from typing import Any

import pytest

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.cli.demo import phantom, remarks, run, table
from neuroconcepts_ray.cli.demo_score import score
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.pipeline import Pipeline
from tests.conftest import Chain


def test_the_score_of_a_chain_has_every_figure_beside_its_control(chain: Chain, truth: Path) -> None:
    line = Pipeline(pipeline.load(chain.file, []))
    summary = score(line.lake, line.artifacts("index.latents"), line.config.catalog.root, truth)
    json.dumps(summary, allow_nan=False)
    assert summary["counts"]["images"] == summary["counts"]["activations"] + summary["counts"]["quarantined"]
    assert {"macro_auroc", "pixel_linear_macro_auroc"} <= set(summary["black_box"])
    assert {"fvu", "pca_fvu", "l0", "dead_fraction"} <= set(summary["sae"])
    assert set(summary["neurons"]["recovery"]) == {"latents", "units", "random"}
    assert summary["names"]["right"] <= summary["names"]["given"]
    assert summary["names"]["when_shuffled"] <= 0.01
    assert summary["explain"]["max_error"] <= 1e-5
    assert summary["retrieval"]["recall_at_20"] == 1.0
    assert table(summary | {"seconds": {"total": 1.0}}).row_count == 11


def test_the_table_says_where_random_directions_or_pca_do_as_well() -> None:
    recovery: dict[str, Any] = {"latents": {"a": 0.5, "b": 0.9, "c": None}, "units": {"a": 0.9, "b": 0.9, "c": None}}
    recovery["random"] = {"a": 0.6, "b": 0.8, "c": None}
    said = remarks({"neurons": {"recovery": recovery}, "sae": {"fvu": 0.2, "pca_fvu": 0.1}})
    assert said == [
        "Random directions recover at least as much as latents for 1 of 2 findings.",
        "PCA with as many components leaves less unexplained than the SAE.",
    ]


def test_a_demo_of_no_patients_is_refused_and_not_the_default(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="patients") as refused:
        run(tmp_path, seed=0, patients=0)
    assert "`neuroconcepts config --phantom` lists" in refused.value.message


def test_the_phantom_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phantom(tmp_path, ["layout=ham10000", "patients=1", "height=32", "width=32"])
    assert capsys.readouterr().out.endswith(f"In {tmp_path}: archive, truth\n")
