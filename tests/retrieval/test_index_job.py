"""Indexing as a stage: the committed index answers as the codes do."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from neuroconcepts_ray.catalog.tables import LABEL
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import ConfigError, DigestError, InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.neurons.tables import codes_table, load_codes
from neuroconcepts_ray.retrieval.config import IndexConfig, plan
from neuroconcepts_ray.retrieval.job import run
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.tables import POSTINGS


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"), str(tmp_path / "phi"))


def make(lake: Lake) -> dict[str, Manifest]:
    """60 films of 20 patients; image 0 was quarantined before it was encoded."""
    rng = np.random.default_rng(0)
    m, n = 60, 16
    ids = [f"image{row:02d}" for row in range(m)]
    columns = {
        "image_id": ids,
        "study": [f"s{row // 2}" for row in range(m)],
        "group": [f"g{row // 3}" for row in range(m)],
    }
    columns |= {"view": ["PA", "LATERAL"] * 30, "role": ["probe"] * m}
    images = pa.table(columns | {LABEL + "Edema": pa.array([1] * m, pa.int8())})
    catalog = Plan(Recipe("catalog", 1, {}), {})
    part = lake.put_part(catalog, "images-0000.parquet", to_parquet(images), rows=m)
    facts = {"labels": ["Edema"], "task": "multilabel", "partitions": [m]}
    have = {"catalog": lake.commit_manifest(catalog, "catalog", [part], facts=facts)}
    codes = sparse.random_array((m, n), density=0.3, rng=rng, format="csr", dtype=np.float32)
    encoded = Plan(Recipe("codes", 1, {}), {"catalog": have["catalog"].content})
    part = lake.put_part(encoded, "a.parquet", to_parquet(codes_table(ids[1:], codes[1:])), rows=m - 1)
    have["codes.latents"] = lake.commit_manifest(encoded, "codes.latents", [part], facts={"n": n})
    return have


def test_the_index_holds_the_codes_and_joins_them_to_their_images(lake: Lake) -> None:
    have = make(lake)
    index = run(IndexConfig(), have, lake, ComputeConfig())["index.latents"]
    search = SearchService.open(lake, index)
    codes = load_codes(lake, have["codes.latents"])
    assert (search.codes != codes.matrix).nnz == 0
    assert search.images.image_ids.tolist() == codes.image_ids.tolist()
    assert search.images.groups[search.row("image05")] == "g1"
    np.testing.assert_allclose(search.images.norms, np.linalg.norm(codes.matrix.toarray().astype(float), axis=1))
    assert index.facts == {"images": 59, "neurons": 16, "postings": codes.matrix.nnz}


def test_a_second_run_makes_nothing_and_a_second_lake_the_same_bytes(lake: Lake, tmp_path: Path) -> None:
    first = run(IndexConfig(), make(lake), lake, ComputeConfig())
    keys = list(lake.store.list("index"))
    assert run(IndexConfig(spaces=["latents"]), make(lake), lake, ComputeConfig()) == first
    assert list(lake.store.list("index")) == keys
    other = Lake.open(str(tmp_path / "other"), str(tmp_path / "otherphi"))
    assert (
        run(IndexConfig(), make(other), other, ComputeConfig())["index.latents"].content
        == first["index.latents"].content
    )


def test_an_altered_index_is_refused_before_faiss_sees_it(lake: Lake) -> None:
    index = run(IndexConfig(), make(lake), lake, ComputeConfig())["index.latents"]
    path = lake.store.local_path(index.part(POSTINGS).key)
    assert path is not None
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DigestError):
        SearchService.open(lake, index)


def test_names_of_other_codes_are_refused(lake: Lake) -> None:
    index = run(IndexConfig(), make(lake), lake, ComputeConfig())["index.latents"]
    foreign = index.model_copy(update={"name": "names.latents", "inputs": index.inputs | {"codes": "other"}})
    with pytest.raises(InputError, match="other codes"):
        SearchService.open(lake, index, foreign)


def test_a_space_without_codes_is_refused(lake: Lake) -> None:
    with pytest.raises(ConfigError, match="latents"):
        plan(IndexConfig(spaces=["units"]), make(lake))
