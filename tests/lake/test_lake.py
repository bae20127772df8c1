"""Recipes, parts, receipts and manifests."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconcepts_ray.errors import DigestError, EnvironmentFault, InputError
from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Quarantined, Receipt
from neuroconcepts_ray.lake.recipe import Plan, Recipe, canonical_json, plan_from_json, plan_to_json
from neuroconcepts_ray.lake.shards import MAX_SHARD_BYTES, Row, Shard, cut
from neuroconcepts_ray.lake.store import LocalStore, MemoryStore
from neuroconcepts_ray.lake.table import tensor_column, tensor_rows, to_parquet

PLAN = Plan(Recipe("codes", 1, {"k": 32}), {"catalog": "c0"})
JSON = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=9)
    | st.lists(st.integers() | st.text(max_size=3), max_size=3)
)


@pytest.fixture
def lake() -> Lake:
    return Lake(MemoryStore(), MemoryStore())


def rows(n: int) -> list[Row]:
    return [Row(image_id=f"i{j}", source=f"s{j}") for j in range(n)]


def shards(n: int = 6) -> list[Shard]:
    return list(cut(rows(n), PLAN.recipe.digest, 1, 2))


def finish(lake: Lake, shard: Shard, bad: int = 0, profile: str = "cpu") -> Receipt:
    kept = len(shard.rows) - bad
    part = lake.put_part(PLAN, f"{shard.key}.parquet", shard.key.encode(), rows=kept)
    quarantined = [Quarantined(image_id=row.image_id, stage="mine", cause="truncated") for row in shard.rows[kept:]]
    return lake.commit_receipt(
        PLAN, Receipt(shard=shard.key, part=part, quarantined=quarantined, profile={"device": profile})
    )


@given(st.dictionaries(st.text(), JSON))
def test_equal_data_have_equal_canonical_bytes_whatever_their_order(data: dict) -> None:
    assert canonical_json(data) == canonical_json(dict(reversed(data.items())))


def test_canonical_json_refuses_what_json_cannot_hold() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"x": float("nan")})


@pytest.mark.parametrize(
    "other",
    [
        Recipe("codes", 2, {"k": 32}),
        Recipe("codes", 1, {"k": 33}),
        Recipe("names", 1, {"k": 32}),
        Recipe("codes", 1, {"k": 32}, {"sae": "m"}),
    ],
)
def test_whatever_changes_a_result_changes_its_recipe(other: Recipe) -> None:
    assert other.digest != PLAN.recipe.digest


def test_an_artifact_is_its_recipe_and_its_inputs() -> None:
    assert replace(PLAN, inputs={"catalog": "c1"}).artifact != PLAN.artifact
    assert replace(PLAN, inputs={"catalog": "c1"}).recipe.digest == PLAN.recipe.digest


def test_a_plan_crosses_a_process_boundary_unchanged() -> None:
    assert plan_from_json(plan_to_json(PLAN)).artifact == PLAN.artifact


@given(st.integers(0, 40), st.integers(1, 60), st.integers(1, MAX_SHARD_BYTES * 2))
def test_shards_hold_every_row_once_in_order_and_stay_below_the_bound(n: int, most: int, size: int) -> None:
    made = list(cut(rows(n), "r", size, most))
    assert [row for shard in made for row in shard.rows] == rows(n)
    assert all(len(s.rows) <= most and (len(s.rows) == 1 or len(s.rows) * size <= MAX_SHARD_BYTES) for s in made)
    assert len({s.key for s in made}) == len(made)


def test_a_shard_is_named_by_its_recipe_its_rows_and_their_sources() -> None:
    base = next(cut(rows(2), "r", 1, 9)).key
    changed = [rows(2)[0], Row(image_id="i1", source="other")]
    assert next(cut(changed, "r", 1, 9)).key != base
    assert next(cut(rows(2), "q", 1, 9)).key != base


def test_an_artifact_is_found_only_after_its_commit(lake: Lake) -> None:
    made = shards()
    for shard in made:
        finish(lake, shard)
    assert lake.find(PLAN) is None
    manifest = assemble(lake, PLAN, "codes.latents", made)
    assert lake.find(PLAN) == manifest
    assert manifest.images == 6


def test_an_unfinished_artifact_is_not_committed_and_says_how_to_go_on(lake: Lake) -> None:
    made = shards()
    finish(lake, made[0])
    with pytest.raises(EnvironmentFault, match="1 of 3 shards") as error:
        assemble(lake, PLAN, "codes.latents", made)
    assert error.value.exit_code == 4
    assert lake.find(PLAN) is None


def test_the_first_receipt_wins_and_the_losers_part_is_dropped(lake: Lake) -> None:
    shard = shards()[0]
    first = finish(lake, shard)
    second = finish(lake, shard)
    assert second.part == first.part
    assert list(lake.store.list("codes")) == sorted(
        [first.part.key, f"codes/{PLAN.recipe.digest}/receipts/{shard.key}.json"]
    )


def test_content_does_not_depend_on_who_wrote_it(lake: Lake) -> None:
    other = Lake(MemoryStore(), MemoryStore())
    for place in (lake, other):
        for shard in shards():
            finish(place, shard)
    mine, theirs = (assemble(place, PLAN, "codes.latents", shards()) for place in (lake, other))
    assert mine.content == theirs.content
    assert mine.parts[0].key != theirs.parts[0].key


def test_quarantine_up_to_the_bound_is_committed_and_named(lake: Lake) -> None:
    made = shards()
    finish(lake, made[0], bad=1)
    for shard in made[1:]:
        finish(lake, shard)
    with pytest.raises(InputError, match="1 of 6") as error:
        assemble(lake, PLAN, "codes.latents", made, max_bad_fraction=0.1)
    assert error.value.exit_code == 3
    manifest = assemble(lake, PLAN, "codes.latents", made, max_bad_fraction=1 / 6)
    assert [bad.image_id for bad in manifest.quarantined] == ["i1"]
    assert manifest.images == 5


def test_a_part_that_is_gone_gets_no_receipt(lake: Lake) -> None:
    shard = shards(2)[0]
    part = lake.put_part(PLAN, f"{shard.key}.parquet", b"x", rows=2)
    lake.store.delete(part.key)  # as gc does once its writer is thought dead for a day
    with pytest.raises(EnvironmentFault, match="cleared away before its receipt"):
        lake.commit_receipt(PLAN, Receipt(shard=shard.key, part=part))
    assert lake.done_shards(PLAN) == set()
    winner = finish(lake, shard)
    assert lake.commit_receipt(PLAN, Receipt(shard=shard.key, part=part)) == winner


def test_rows_that_do_not_reconcile_are_refused(lake: Lake) -> None:
    shard = shards(2)[0]
    part = lake.put_part(PLAN, f"{shard.key}.parquet", b"x", rows=1)
    lake.commit_receipt(PLAN, Receipt(shard=shard.key, part=part))
    with pytest.raises(InputError, match="do not add up"):
        assemble(lake, PLAN, "codes.latents", [shard])


def test_shards_of_differing_numeric_profiles_are_refused_unless_tolerated(lake: Lake) -> None:
    made = shards(4)
    finish(lake, made[0], profile="AVX512")
    finish(lake, made[1], profile="AVX2")
    with pytest.raises(InputError, match="numeric profiles"):
        assemble(lake, PLAN, "codes.latents", made)
    assert assemble(lake, PLAN, "codes.latents", made, tolerant=True).profile == {}


def test_an_altered_part_is_refused_when_read(tmp_path: Path) -> None:
    lake = Lake(LocalStore(tmp_path / "lake"), LocalStore(tmp_path / "phi"))
    part = lake.put_part(PLAN, "x.parquet", to_parquet(pa.table({"a": [1]})))
    assert lake.table(part).to_pydict() == {"a": [1]}
    (tmp_path / "lake" / part.key).write_bytes(b"other")
    with pytest.raises(DigestError, match="altered"):
        lake.read(part)
    (tmp_path / "lake" / part.key).unlink()
    with pytest.raises(InputError, match="missing"):
        lake.read(part)


def test_two_contents_under_one_fingerprint_are_an_error(lake: Lake) -> None:
    lake.commit_manifest(PLAN, "codes.latents", [], facts={"n": 1})
    with pytest.raises(InputError, match="other content"):
        lake.commit_manifest(PLAN, "codes.latents", [], facts={"n": 2})


def test_refs_move_forward_and_stay_where_they_are_for_the_same_target(lake: Lake) -> None:
    first = lake.commit_manifest(PLAN, "codes.latents", [])
    assert lake.newest("codes-main", PLAN.recipe.digest) is None
    assert lake.advance("codes-main", first) == 1
    assert lake.advance("codes-main", first) == 1
    second = lake.commit_manifest(replace(PLAN, inputs={"catalog": "c1"}), "codes.latents", [])
    assert lake.advance("codes-main", second) == 2
    assert lake.newest("codes-main", PLAN.recipe.digest) == second


def test_another_recipes_newer_artifact_does_not_hide_the_own_one(lake: Lake) -> None:
    mine = lake.commit_manifest(PLAN, "codes.latents", [])
    other = Plan(Recipe("codes", 1, {"k": 8}), {"catalog": "c0"})
    lake.advance("codes-main", mine)
    lake.advance("codes-main", lake.commit_manifest(other, "codes.latents", []))
    assert lake.newest("codes-main", PLAN.recipe.digest) == mine


def test_a_damaged_record_is_named(lake: Lake) -> None:
    for bad in (b"", b"{}", b"[1]"):
        lake.store.write(f"codes/{PLAN.recipe.digest}/{PLAN.artifact}.json", bad)
        with pytest.raises(InputError, match="record of the lake is damaged"):
            lake.find(PLAN)


def test_equal_tables_are_equal_bytes_and_other_readers_see_shapes() -> None:
    import numpy as np
    import pyarrow.parquet as pq

    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    data = to_parquet(pa.table({"activation": tensor_column(x)}))
    assert data == to_parquet(pa.table({"activation": tensor_column(x.copy())}))
    table = pq.read_table(pa.BufferReader(data))
    assert table.schema.field("activation").type == pa.fixed_shape_tensor(pa.float32(), [3])
    assert (tensor_rows(table["activation"]) == x).all()
    assert (tensor_rows(table.slice(1, 2)["activation"]) == x[1:3]).all()
