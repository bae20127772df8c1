"""One flipped bit in each kind of part of whole lakes: `verify` names the file, and its own reader refuses it.

Records are flipped in `tests/lake/test_verify.py`: those of the first golden lake are from before there were seals.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neuroconcepts_ray.activations.tables import load_activations
from neuroconcepts_ray.catalog.tables import load_catalog, load_reports, load_sources
from neuroconcepts_ray.classifier.card import load_card
from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.commit import read_record
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Receipt
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.lake.shards import Row, Shard
from neuroconcepts_ray.lake.store import LocalStore
from neuroconcepts_ray.lake.survey import MANIFEST
from neuroconcepts_ray.lake.verify import verify
from neuroconcepts_ray.naming.tables import load_names
from neuroconcepts_ray.neurons.tables import load_codes, load_neurons, load_normalisation
from neuroconcepts_ray.retrieval.search import SearchService
from tests.golden.lakes import VERSIONS, files, unpack

Read = Callable[[Lake, Manifest, Path], object]


def classifier(lake: Lake, manifest: Manifest, _: Path) -> object:
    from neuroconcepts_ray.classifier.model import load_classifier

    return load_classifier(lake, manifest)


def sae(lake: Lake, manifest: Manifest, _: Path) -> object:
    from neuroconcepts_ray.sae.model import load_sae

    return load_sae(lake, manifest)


def index(lake: Lake, manifest: Manifest, cache: Path) -> object:
    service = SearchService.open(lake, manifest, cache=cache)
    return service.neuron(0)


READERS: dict[str, Read] = {
    "catalog images": lambda lake, manifest, _: load_catalog(lake, manifest),
    "catalog sources": lambda lake, manifest, _: load_sources(lake, manifest),
    "catalog reports": lambda lake, manifest, _: load_reports(lake, manifest),
    "classifier model": lambda lake, manifest, _: load_card(lake, manifest),
    "classifier weights": classifier,
    "activations shard": lambda lake, manifest, _: load_activations(lake, manifest),
    "sae sae": sae,
    "sae weights": sae,
    "codes shard": lambda lake, manifest, _: load_codes(lake, manifest),
    "codes neurons": lambda lake, manifest, _: load_neurons(lake, manifest),
    "codes normalisation": lambda lake, manifest, _: load_normalisation(lake, manifest),
    "names names": lambda lake, manifest, _: load_names(lake, manifest),
    "index postings.faiss": index,
    "index dense.faiss": index,
    "index forward.safetensors": index,
    "index images.parquet": index,
    "index statistics": index,
    "index removed": index,
    "neighbours shard": lambda lake, manifest, _: lake.tables(manifest),
}
"""Who reads a kind of part."""


def sort_of(name: str, kind: str) -> str:
    """The kind of a part by its name."""
    stem = name.partition(".")[0]
    if re.fullmatch(r"[0-9a-f]{32}", stem):
        return f"{kind} {name.partition('.')[2] if kind == 'index' else 'shard'}"
    return f"{kind} {re.sub(r'-[0-9]+$', '', stem)}"


def flip(path: Path, at: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 1
    path.write_bytes(data)


@pytest.fixture(params=VERSIONS)
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    (tmp_path / "pipeline.yaml").write_bytes(files(request.param)["pipeline.yaml"])
    return unpack(request.param, LocalStore(tmp_path / "lake"), LocalStore(tmp_path / "phi", 0o700))


def manifests(lake: Lake) -> Iterator[Manifest]:
    for blob in lake.store.scan():
        if MANIFEST.match(blob.key):
            yield read_record(lake.store, blob.key, Manifest)


def test_a_flip_in_each_kind_of_part_is_named_and_refused_by_its_own_reader(lake: Lake, tmp_path: Path) -> None:
    one_each = {sort_of(part.name, m.kind): (m, part) for m in manifests(lake) for part in m.parts}
    assert set(one_each) == set(READERS)
    paths = {sort: tmp_path / part.root / part.key for sort, (_, part) in one_each.items()}
    whole = {sort: path.read_bytes() for sort, path in paths.items()}
    for sort, (manifest, _) in one_each.items():
        READERS[sort](lake, manifest, tmp_path / "cache")  # also, so that an index's files are known as checked
    for path in paths.values():
        flip(path)
    named = {(problem.root, problem.key) for problem in verify(lake, everything=True).problems}
    assert named == {(part.root, part.key) for _, part in one_each.values()}
    for sort, path in paths.items():
        path.write_bytes(whole[sort])
    for sort, (manifest, _) in one_each.items():
        flip(paths[sort])
        with pytest.raises(InputError):
            READERS[sort](lake, manifest, tmp_path / "cache")
        paths[sort].write_bytes(whole[sort])
    assert verify(lake, everything=True).problems == []


def test_a_receipt_that_was_altered_ends_a_resumed_run_and_nothing_is_committed(tmp_path: Path) -> None:
    lake = Lake(LocalStore(tmp_path / "lake"), LocalStore(tmp_path / "phi"))
    plan = Plan(Recipe("activations", 1, {}), {})
    shards = [Shard(key=f"{n:032x}", rows=[Row(image_id=f"i{n}", source="s")]) for n in range(3)]
    for shard in shards:
        part = lake.put_part(plan, f"{shard.key}.parquet", b"bytes", rows=1)
        lake.commit_receipt(plan, Receipt(shard=shard.key, part=part, seconds={"infer": 1.0}))
    path = tmp_path / "lake" / f"activations/{plan.recipe.digest}/receipts/{shards[1].key}.json"
    whole = path.read_bytes()
    for at in (whole.index(b'"rows":') + 7, whole.index(b'"infer":') + 8, len(whole) - 2):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(InputError, match="record of the lake"):
            assemble(lake, plan, "activations.x", shards)
        with pytest.raises(InputError, match="record of the lake"):
            lake.receipt(plan, shards[1].key)
        assert lake.find(plan) is None
    path.write_bytes(whole)
    assert assemble(lake, plan, "activations.x", shards).images == 3


def test_another_key_of_the_patients_is_named(lake: Lake, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    del lake
    flip(tmp_path / "phi" / "hash.key")
    assert call(["verify", "-c", str(tmp_path / "pipeline.yaml")]) == 3
    assert "hash.key" in capfd.readouterr().out
    # No artifact was made under it: whoever asks finds nothing, instead of other patients' groups.
    assert call(["search", "-c", str(tmp_path / "pipeline.yaml"), "--neuron", "0"]) == 3
