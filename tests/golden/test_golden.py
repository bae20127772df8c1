"""Lakes of every version of the format are read by today's program, and say what they said when they were made."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neuroconcepts_ray.activations.tables import load_activations
from neuroconcepts_ray.catalog.tables import LABEL, load_catalog, load_reports, load_sources
from neuroconcepts_ray.classifier.card import load_card
from neuroconcepts_ray.lake import refs
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, content_digest
from neuroconcepts_ray.lake.store import LocalStore
from neuroconcepts_ray.lake.verify import verify
from neuroconcepts_ray.naming.tables import load_names
from neuroconcepts_ray.neurons.tables import load_codes, load_neurons, load_normalisation
from neuroconcepts_ray.retrieval import changes
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.snapshot import read_snapshot
from tests.golden.lakes import VERSIONS, expected, files, unpack

KINDS = {"catalog", "classifier", "activations", "sae", "codes", "names", "index", "neighbours"}


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def lake(version: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    folder = tmp_path_factory.mktemp("golden")
    return unpack(version, LocalStore(folder / "lake"), LocalStore(folder / "phi", 0o700))


def told(version: str, kind: str) -> list[dict[str, Any]]:
    found = [one for one in expected(version)["manifests"] if one["kind"] == kind]
    assert found
    return found


def opened(lake: Lake, one: dict[str, Any]) -> Manifest:
    manifest = lake.manifest(one["kind"], one["recipe"], one["artifact"])
    assert manifest is not None
    return manifest


def column(one: dict[str, Any], starts: str, name: str) -> list[Any]:
    """A column of all parts whose name starts so, in the manifest's order."""
    return [cell for part, table in one["parts"].items() if part.startswith(starts) for cell in table[name]]


def shards(one: dict[str, Any], name: str) -> list[Any]:
    tables = [table for part, table in one["parts"].items() if part.endswith(".parquet") and len(part) == 40]
    return [cell for table in tables for cell in table[name]]


def test_every_kind_is_in_it_and_every_manifest_is_read_and_has_its_digest(version: str, lake: Lake) -> None:
    every = expected(version)["manifests"]
    assert {one["kind"] for one in every} == KINDS
    for one in every:
        manifest = opened(lake, one)
        assert (manifest.name, manifest.inputs, manifest.facts) == (one["name"], one["inputs"], one["facts"])
        assert [bad.model_dump() for bad in manifest.quarantined] == one["quarantined"]
        assert manifest.content == one["content"]
        assert content_digest(manifest.kind, manifest.parts, manifest.quarantined, manifest.facts) == one["content"]


def test_every_version_of_every_ref_is_read(version: str, lake: Lake) -> None:
    for name, artifacts in expected(version)["refs"].items():
        assert [refs.at(lake.store, name, n + 1).artifact for n in range(len(artifacts))] == artifacts
        assert refs.head(lake.store, name) is not None


def test_the_catalog_says_what_it_said(version: str, lake: Lake) -> None:
    for one in told(version, "catalog"):
        manifest = opened(lake, one)
        catalog = load_catalog(lake, manifest)
        assert catalog.image_ids.tolist() == column(one, "images-", "image_id")
        assert catalog.groups.tolist() == column(one, "images-", "group")
        assert catalog.roles.tolist() == column(one, "images-", "role")
        for at, label in enumerate(catalog.labels):
            y = [None if np.isnan(value) else value for value in catalog.y[:, at]]
            assert y == column(one, "images-", LABEL + label)
        sources = load_sources(lake, manifest)
        assert [source.sha256 for source in sources.values()] == column(one, "sources-", "sha256")
        reports = load_reports(lake, manifest)
        assert reports == dict(zip(column(one, "reports-", "study"), column(one, "reports-", "text"), strict=True))


def test_the_models_say_what_they_said(version: str, lake: Lake) -> None:
    from neuroconcepts_ray.classifier.model import load_classifier
    from neuroconcepts_ray.sae.model import load_sae

    for one in told(version, "classifier"):
        classifier = load_classifier(lake, opened(lake, one))
        card = load_card(lake, opened(lake, one))
        assert card.labels == one["parts"]["model.json"]["labels"]
        state = classifier.timm_state()
        for name, (shape, total) in one["parts"]["weights.safetensors"].items():
            assert list(state[name].shape) == shape
            assert float(state[name].double().sum()) == pytest.approx(total, rel=1e-9, abs=1e-9)
    for one in told(version, "sae"):
        sae = load_sae(lake, opened(lake, one))
        assert sae.k == one["parts"]["sae.json"]["k"]
        for name, (shape, total) in one["parts"]["weights.safetensors"].items():
            assert list(getattr(sae, name).shape) == shape
            assert float(getattr(sae, name).double().sum()) == pytest.approx(total, rel=1e-9, abs=1e-9)


def test_activations_and_codes_say_what_they_said(version: str, lake: Lake) -> None:
    for one in told(version, "activations"):
        image_ids, x = load_activations(lake, opened(lake, one))
        assert image_ids.tolist() == shards(one, "image_id")
        assert x.tolist() == shards(one, "activation")
    for one in told(version, "codes"):
        manifest = opened(lake, one)
        codes = load_codes(lake, manifest)
        assert codes.image_ids.tolist() == shards(one, "image_id")
        assert codes.matrix.indices.tolist() == [j for row in shards(one, "neurons") for j in row]
        assert codes.matrix.data.tolist() == [value for row in shards(one, "values") for value in row]
        assert load_neurons(lake, manifest).top_images == one["parts"]["neurons.parquet"]["top_images"]
        if "normalisation.safetensors" in one["parts"]:
            total = float(load_normalisation(lake, manifest).mean.astype(np.float64).sum())
            assert total == one["parts"]["normalisation.safetensors"]["mean"][1]


def test_names_and_neighbours_say_what_they_said(version: str, lake: Lake) -> None:
    for one in told(version, "names"):
        table = one["parts"]["names.parquet"]
        named = {j: name for j, name in zip(table["neuron"], table["name"], strict=True) if name is not None}
        assert {j: name.name for j, name in load_names(lake, opened(lake, one)).items()} == named
    for one in told(version, "neighbours"):
        table = lake.tables(opened(lake, one))
        assert table["neighbours"].to_pylist() == shards(one, "neighbours")


def test_the_index_shows_no_removed_image_and_answers_as_it_did(version: str, lake: Lake, tmp_path: Path) -> None:
    about = expected(version)
    name, artifact = next(
        (name, versions[-1])
        for name, versions in about["refs"].items()
        for one in told(version, "index")
        if versions[-1] == one["artifact"] and one["name"] == "index.latents"
    )
    newest = opened(lake, next(one for one in told(version, "index") if one["artifact"] == artifact))
    assert name == changes.ref_of(newest)
    assert sorted(read_snapshot(lake, newest).removed) == about["removed"]
    base = lake.manifest(newest.kind, newest.recipe, str(newest.facts["base"]))
    assert base is not None
    service = SearchService.open(lake, base, cache=tmp_path)
    hits = service.like(about["search"]["like"])
    assert [hit.image_id for hit in hits] == [image_id for image_id, _ in about["search"]["hits"]]
    assert [hit.score for hit in hits] == pytest.approx([score for _, score in about["search"]["hits"]], rel=1e-6)
    assert not {hit.image_id for hit in service.neuron(0, top=100)} & set(about["removed"])


def test_it_is_whole(lake: Lake) -> None:
    report = verify(lake, everything=True)
    assert report.problems == []
    assert report.parts > 50


def test_other_readers_see_its_tables_without_us(version: str) -> None:
    import pyarrow.parquet as pq

    for name, data in files(version).items():
        if name.endswith(".parquet"):
            assert pq.read_table(pa.BufferReader(data)).num_rows >= 0
        if name.endswith(".json"):
            assert json.load(io.BytesIO(data))
