"""Naming as a stage: from a catalog with reports and codes to a table of names with evidence."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from neuroconcepts_ray.catalog.sections import report_table
from neuroconcepts_ray.catalog.tables import LABEL
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.naming.config import NamesConfig, plan
from neuroconcepts_ray.naming.job import run
from neuroconcepts_ray.naming.tables import FILE, load_names
from neuroconcepts_ray.neurons.tables import codes_table

PATIENTS, FILMS, NEURONS = 360, 2, 24
SENTENCES = {
    "pleural effusion": ("There is a pleural effusion.", "No pleural effusion."),
    "cardiomegaly": ("There is cardiomegaly.", "The heart is normal."),
    "edema": ("Pulmonary edema.", "No edema."),
}


def make(lake: Lake, *, reports: bool = True, seed: int = 0) -> dict[str, Manifest]:
    """An archive where neurons 0–2 answer to the three findings (0 only in one of the two films)."""
    rng = np.random.default_rng(seed)
    truth = rng.random((PATIENTS, 3)) < 0.35
    patient = np.repeat(np.arange(PATIENTS), FILMS)
    values = rng.normal(size=(len(patient), NEURONS))
    values[:, 1:3] += 2 * truth[patient, 1:]
    values[::2, 0] += 2.5 * truth[:, 0]
    codes = sparse.csr_array(np.where(values > 0.5, values, 0).astype(np.float32))
    ids = [f"image{row:04d}" for row in range(len(patient))]
    study = [f"{p:016x}" for p in patient]
    role = np.where(np.arange(PATIENTS) % 3 < 2, "probe", "verify")[patient].tolist()
    columns = {"image_id": ids, "study": study, "group": [f"g{p}" for p in patient], "view": ["PA"] * len(ids)}
    images = pa.table(columns | {"role": role, LABEL + "Edema": pa.array([0] * len(ids), pa.int8())})
    texts = {
        f"{p:016x}": "INDICATION: Pneumonia?\n\nFINDINGS: "
        + " ".join(pair[0] if truth[p, at] else pair[1] for at, pair in enumerate(SENTENCES.values()))
        for p in range(PATIENTS if reports else 0)
    }
    digests = pa.array([""] * len(texts), pa.string())
    table = report_table(pa.table({"study": pa.array(texts, pa.string()), "sha256": digests}), list(texts.values()))
    catalog = Plan(Recipe("catalog", 1, {"seed": seed, "reports": reports}), {})
    parts = [
        lake.put_part(catalog, "images-0000.parquet", to_parquet(images), rows=len(ids)),
        lake.put_part(catalog, "reports-0000.parquet", to_parquet(table), rows=len(texts), root="phi"),
    ]
    facts = {"labels": ["Edema"], "task": "multilabel", "partitions": [len(ids)]}
    have = {"catalog": lake.commit_manifest(catalog, "catalog", parts, facts=facts)}
    encoded = Plan(Recipe("codes", 1, {"seed": seed}), {"catalog": have["catalog"].content})
    # One image was quarantined on the way.
    part = lake.put_part(encoded, "a.parquet", to_parquet(codes_table(ids[1:], codes[1:])), rows=len(ids) - 1)
    have["codes.latents"] = lake.commit_manifest(encoded, "codes.latents", [part], facts={"n": NEURONS})
    return have


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"), str(tmp_path / "phi"))


def test_planted_findings_are_named_with_evidence_and_the_rest_is_unnamed(lake: Lake) -> None:
    manifest = run(NamesConfig(), make(lake), lake, ComputeConfig())["names.latents"]
    names = load_names(lake, manifest)
    assert {j: one.name for j, one in names.items()} == {0: "pleural effusion", 1: "cardiomegaly", 2: "pulmonary edema"}
    for one in names.values():
        assert one.polarity == "present"
        assert 0.5 < one.low < one.auroc < one.high <= 1
        assert (one.n, one.q < 0.05) == (PATIENTS // 3, True)
    rows = lake.table(manifest.part(FILE)).to_pylist()
    assert [row["neuron"] for row in rows] == list(range(NEURONS))
    assert all(row["reason"] for row in rows)
    assert manifest.facts["given"] == 3
    assert manifest.facts["named_when_shuffled"]["share"] <= 0.01


def test_a_second_run_makes_nothing_and_a_second_lake_the_same_bytes(lake: Lake, tmp_path: Path) -> None:
    config = NamesConfig()
    first = run(config, make(lake), lake, ComputeConfig())
    keys = list(lake.store.list("names"))
    assert run(config, make(lake), lake, ComputeConfig()) == first
    assert list(lake.store.list("names")) == keys
    other = Lake.open(str(tmp_path / "other"), str(tmp_path / "otherphi"))
    assert run(config, make(other), other, ComputeConfig())["names.latents"].content == first["names.latents"].content


def test_without_reports_every_neuron_is_unnamed_and_the_reason_is_told(lake: Lake) -> None:
    manifest = run(NamesConfig(), make(lake, reports=False), lake, ComputeConfig())["names.latents"]
    assert load_names(lake, manifest) == {}
    assert manifest.facts["why"] == "the archive has no reports"
    assert lake.table(manifest.part(FILE))["reason"].to_pylist() == ["the archive has no reports"] * NEURONS


def test_no_text_of_a_report_leaves_the_phi_root(lake: Lake) -> None:
    run(NamesConfig(), make(lake), lake, ComputeConfig())
    for key in lake.store.list("names"):
        assert b"There is a" not in lake.store.read(key)


def test_a_space_without_codes_is_refused(lake: Lake) -> None:
    with pytest.raises(ConfigError, match="latents"):
        plan(NamesConfig(spaces=["units"]), make(lake))
