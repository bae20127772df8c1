"""Age, sex and site of an archive that has them: kept as they are, filtered by, and a control of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from neuroconcepts_ray.catalog import job
from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.cli.ask import build_query
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe, digest
from neuroconcepts_ray.lake.table import tensor_column, to_parquet
from neuroconcepts_ray.neurons.tables import codes_table
from neuroconcepts_ray.retrieval.quality import measure
from neuroconcepts_ray.retrieval.search import SearchService
from tests.catalog.archives import ham, ham_rows
from tests.catalog.test_ham10000 import config
from tests.retrieval.lakes import indexed, open_lake

N = 6
OPTIONS = ("like", "unlike", "any_of", "without", "all_of", "none_of", "boost", "where")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, dict[str, Manifest], Path]:
    """A tiny HAM10000 from its files to its index, with codes of chance and activations that are the codes."""
    folder = tmp_path_factory.mktemp("ham")
    lake = open_lake(folder)
    shares = {"fit": 0.2, "probe": 0.1, "select": 0.1, "verify": 0.3, "test": 0.3}
    settings = config(ham(folder / "archive", ham_rows(90)), shares=shares)
    have = job.run(settings, {}, lake, ComputeConfig())
    catalog = load_catalog(lake, have["catalog"])
    codes = np.random.default_rng(0).gamma(2.0, 1.0, (len(catalog), N)).astype(np.float32)
    ids = catalog.image_ids.tolist()
    tables = {
        "codes.latents": codes_table(ids, sparse.csr_array(codes)),
        "activations.pre_logits": pa.table({"image_id": ids, "activation": tensor_column(codes)}),
    }
    for name, table in tables.items():
        plan = Plan(Recipe(name.partition(".")[0], 1, {}), {"catalog": have["catalog"].content})
        part = lake.put_part(plan, f"{digest(ids)}.parquet", to_parquet(table), rows=len(ids))
        have[name] = lake.commit_manifest(plan, name, [part], facts={"n": N, "d": N, "tap": "pre_logits"})
    have["index.latents"] = indexed(lake, have, folder / "cache")
    return lake, have, folder / "cache"


def ask(made: tuple[Lake, dict[str, Manifest], Path], *where: str) -> set[str]:
    lake, have, cache = made
    asked = {option: [] for option in OPTIONS} | {"any_of": [0], "text": "", "weighting": "none", "exclude": "none"}
    query = build_query(asked | {"where": list(where), "top": 500, "offset": 0, "fold": None})
    return {hit.image_id for hit in SearchService.open(lake, have["index.latents"], None, cache).search(query).hits}


def test_films_are_found_by_age_sex_and_site(made: tuple[Lake, dict[str, Manifest], Path]) -> None:
    rows = [row | {"years": float(row["age"] or "nan")} for row in ham_rows(90)]

    def those(right: Callable[[dict[str, Any]], bool]) -> set[str]:
        return {row["image_id"] for row in rows if right(row)}

    assert ask(made) == {row["image_id"] for row in rows}
    assert ask(made, "age>60") == those(lambda row: row["years"] > 60)
    assert ask(made, "age>=60") == those(lambda row: row["years"] >= 60)
    assert ask(made, "age>40", "age<=75.5") == those(lambda row: 40 < row["years"] <= 75.5)
    assert ask(made, "age=60") == those(lambda row: row["years"] == 60)
    assert ask(made, "age<50", "sex=female") == those(lambda row: row["years"] < 50 and row["sex"] == "female")
    assert ask(made, "site=") == those(lambda row: row["localization"] == "unknown")
    melanomas = those(lambda row: row["dx_type"] == "histo" and row["dx"] == "mel")
    assert ask(made, "dx_type=histo", "label:mel=1") == melanomas
    assert ask(made, "age>500") == set()
    with pytest.raises(InputError, match="no image of the index has this sex"):
        ask(made, "sex=femal")
    with pytest.raises(InputError, match="no such column"):
        ask(made, "height>3")


def test_evaluate_takes_them_as_a_control_and_says_what_the_groups_are(
    made: tuple[Lake, dict[str, Manifest], Path],
) -> None:
    lake, have, cache = made
    found = measure(lake, have, "latents", cache=cache, draws=20)
    assert found["metadata"] == ["age", "dx_type", "sex", "site", "view"]
    assert found["systems"]["metadata"]["map"]["n"] == found["queries"]["images"]
    assert found["recall@20"]["value"] == 1
    assert any("a group is one lesion" in line for line in found["remarks"])
