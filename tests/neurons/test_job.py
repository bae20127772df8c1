"""The stage without a cluster: what a grown archive costs, and that plans hold what decides the codes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from neuroconcepts_ray.activations.tables import activations_table
from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe, plan_to_json
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.neurons.config import SpaceConfig, plan
from neuroconcepts_ray.neurons.encode import encode_units
from neuroconcepts_ray.neurons.encoder import Encoder
from neuroconcepts_ray.neurons.job import first_partition_normalisation
from neuroconcepts_ray.neurons.load import load
from neuroconcepts_ray.neurons.shards import code_shards
from neuroconcepts_ray.neurons.tables import NORMALISATION, load_codes, write_normalisation

D = 8
ROLES = ["fit", "probe", "select", "verify", "test"]


def images(partition: int, rows: int) -> tuple[list[str], list[str], np.ndarray]:
    rng = np.random.default_rng(partition)
    ids = [f"p{partition}i{number:03d}" for number in range(rows)]
    return ids, [ROLES[number % 5] for number in range(rows)], rng.gamma(2, 1, (rows, D)).astype(np.float32)


def archive(lake: Lake, sizes: list[int]) -> dict[str, Manifest]:
    """A catalog of one partition for each size, and its activations: one shard a partition, the last one empty."""
    catalog_plan = Plan(Recipe("catalog", 1, {}), {"sizes": str(sizes)})
    mined = Plan(Recipe("activations", 1, {"tap": "pre_logits"}), {"sizes": str(sizes)})
    tables, shards = [], []
    for partition, rows in enumerate(sizes):
        ids, roles, x = images(partition, rows)
        table = pa.table(
            {"image_id": ids, "study": ids, "group": ids, "view": ["AP"] * rows, "role": roles}
            | {"label:Edema": pa.array([0] * rows, pa.int8())}
        )
        tables.append(lake.put_part(catalog_plan, f"images-{partition:04d}.parquet", to_parquet(table), rows=rows))
        data = to_parquet(activations_table(ids, x))
        shards.append(lake.put_part(mined, f"shard{partition}.parquet", data, rows=rows))
    empty = to_parquet(activations_table([], np.empty((0, D), np.float32)))
    shards.append(lake.put_part(mined, "empty.parquet", empty))
    facts = {"labels": ["Edema"], "task": "multilabel", "partitions": sizes}
    return {
        "catalog": lake.commit_manifest(catalog_plan, "catalog", tables, facts=facts),
        "activations.pre_logits": lake.commit_manifest(
            mined, "activations.pre_logits", shards, facts={"tap": "pre_logits", "d": D}
        ),
    }


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"), str(tmp_path / "phi"))


UNITS = {"units": SpaceConfig(origin="units", top=3)}


def encode(lake: Lake, have: dict[str, Manifest]) -> tuple[int, Manifest]:
    """What the job does, without the cluster between; how many shards it had to make."""
    planned = plan(UNITS, have)["codes.units"]
    activations = have["activations.pre_logits"]
    normalisation = first_partition_normalisation(lake, load_catalog(lake, have["catalog"]), activations)
    part = lake.put_part(planned, NORMALISATION, write_normalisation(normalisation))
    pairs = code_shards(lake, activations, planned.recipe.digest)
    todo = [(shard, source) for shard, source in pairs if shard.key not in lake.done_shards(planned)]
    spec = {
        "lake": lake.store.uri,
        "phi": lake.phi.uri,
        "plan": plan_to_json(planned),
        "space": UNITS["units"].model_dump(mode="json"),
        "device": "cpu",
        "normalisation": part.model_dump(),
        "parts": {shard.key: source.model_dump() for shard, source in todo},
    }
    worker = Encoder(spec)
    for shard, _ in todo:
        worker(shard, load(shard, spec))
    facts = {"n": D}
    return len(todo), assemble(lake, planned, "codes.units", [shard for shard, _ in pairs], facts=facts, files=[part])


def test_a_grown_archive_costs_only_its_new_shards_and_old_codes_stay_as_they_were(lake: Lake) -> None:
    made, first = encode(lake, archive(lake, [30, 20]))
    assert made == 2
    made, again = encode(lake, archive(lake, [30, 20]))
    assert (made, again.content) == (0, first.content)
    made, grown = encode(lake, archive(lake, [30, 20, 10]))
    assert made == 1
    assert [part.key for part in grown.parts[:2]] == [part.key for part in first.parts[:2]]
    codes = load_codes(lake, grown)
    ids, _, x = images(2, 10)
    assert codes.image_ids.tolist()[-10:] == ids
    have = archive(lake, [30, 20])
    scale = first_partition_normalisation(lake, load_catalog(lake, have["catalog"]), have["activations.pre_logits"])
    _, roles, base = images(0, 30)
    fitted = base[[role in ("fit", "probe") for role in roles]]
    np.testing.assert_allclose(scale.mean, fitted.mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(codes.matrix[50:].toarray(), encode_units(scale, x, 3).toarray())


def test_another_first_partition_or_setting_is_another_recipe(lake: Lake) -> None:
    one, other = archive(lake, [30]), archive(lake, [25])
    assert plan(UNITS, one)["codes.units"].recipe.digest != plan(UNITS, other)["codes.units"].recipe.digest
    wider = {"units": SpaceConfig(origin="units", top=4)}
    assert plan(UNITS, one)["codes.units"].recipe.digest != plan(wider, one)["codes.units"].recipe.digest


def test_a_tap_that_is_not_mined_is_named(lake: Lake) -> None:
    with pytest.raises(ConfigError, match=r"spaces\.deep\.tap"):
        plan({"deep": SpaceConfig(origin="units", tap="layer4")}, archive(lake, [10]))
