"""The stage without a cluster: what a grown archive costs, and that plans hold what decides the codes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from neuroconcepts_ray.activations.tables import activations_table
from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.distributed.train import State, World
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe, plan_to_json
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.neurons.config import DEFAULT_SPACES, SpaceConfig, plan
from neuroconcepts_ray.neurons.encode import encode_units
from neuroconcepts_ray.neurons.encoder import Encoder
from neuroconcepts_ray.neurons.job import first_partition_normalisation
from neuroconcepts_ray.neurons.load import load
from neuroconcepts_ray.neurons.shards import code_shards
from neuroconcepts_ray.neurons.tables import NORMALISATION, load_codes, write_normalisation
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.config import plan as sae_plan
from neuroconcepts_ray.sae.family.build import objective
from neuroconcepts_ray.sae.fold import fold
from neuroconcepts_ray.sae.job import loop, measure, role_activations
from neuroconcepts_ray.sae.model import save_sae
from neuroconcepts_ray.sae.progress import Progress

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


def train_here(lake: Lake, have: dict[str, Manifest], config: SAEConfig, resume: State | None = None) -> list[State]:
    address = {name: (m.kind, m.recipe, m.artifact) for name, m in have.items()}
    named = {name: dict(zip(("kind", "recipe", "artifact"), value, strict=True)) for name, value in address.items()}
    spec = {
        "config": config.model_dump(mode="json"),
        "lake": lake.store.uri,
        "phi": lake.phi.uri,
        "catalog": named["catalog"],
        "activations": named["activations.pre_logits"],
        "device": "cpu",
    }
    states: list[State] = []

    def keep(state: State, _: dict[str, float]) -> None:
        states.append(State({name: tensor.clone() for name, tensor in state.tensors.items()}, state.meta))

    loop(spec, World(0, 1), resume, keep)
    return states


def test_the_sae_sees_fit_and_probe_alone_and_its_loop_resumes_bitwise(lake: Lake) -> None:
    have = archive(lake, [60, 40])
    config = SAEConfig(k=2, steps=6, batch_size=16, checkpoint_every=2)
    states = train_here(lake, have, config)
    assert [state.meta["step"] for state in states] == [2, 4, 6]
    resumed = train_here(lake, have, config, states[0])[-1]
    assert all(bool((resumed.tensors[name] == tensor).all()) for name, tensor in states[-1].tensors.items())
    x = np.concatenate([images(0, 60)[2], images(1, 40)[2]])
    mask = np.array([role in ("fit", "probe") for role in images(0, 60)[1] + images(1, 40)[1]])
    np.testing.assert_allclose(states[-1].tensors["mean"].numpy(), x[mask].mean(axis=0), rtol=1e-5)

    planned = sae_plan(config, have)["sae"]
    last = Progress.from_tensors(states[-1].tensors, 6)
    sae = fold(last, objective(config, len(last.idle)))
    parts = [lake.put_part(planned, name, data) for name, data in save_sae(sae, config.tap, config.variant).items()]
    facts = {"tap": config.tap, "n": sae.n}
    have["sae"] = lake.commit_manifest(planned, "sae", parts, facts=facts)
    assert measure(lake, have, "pre_logits", "test").images == 20
    with pytest.raises(InputError, match="not held out"):
        measure(lake, have, "pre_logits", "probe")
    assert set(plan(DEFAULT_SPACES, have)) == {"codes.latents", "codes.units"}
    with pytest.raises(InputError, match="no image has any"):
        role_activations(lake, have["catalog"], have["activations.pre_logits"], ("nobody",))
