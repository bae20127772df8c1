"""storage/FORMAT.md held by properties: names by the norm's own formulas, records there and back, tables without us."""

import hashlib
import io
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconcepts_ray.config import StrictModel
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake import refs
from neuroconcepts_ray.lake.commit import commit, read_record, sealed
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part, Quarantined, Receipt, content_digest
from neuroconcepts_ray.lake.recipe import FORMAT, Plan, Recipe
from neuroconcepts_ray.lake.refs import Ref
from neuroconcepts_ray.lake.shards import Row, cut
from neuroconcepts_ray.lake.store import MemoryStore, check_key
from neuroconcepts_ray.lake.survey import MANIFEST, RECEIPT, REF, address
from neuroconcepts_ray.lake.table import ROW_GROUP, tensor_column, to_parquet
from tests.conftest import ROOT
from tests.golden.lakes import VERSIONS, files

NORM = (ROOT / "storage" / "FORMAT.md").read_text()

TEXT = st.text(max_size=12)
HEX = st.text("0123456789abcdef", min_size=32, max_size=32)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FACTS = st.dictionaries(TEXT, PLAIN, max_size=3)
WORDS = st.dictionaries(TEXT, TEXT, max_size=3)
ASIDE = st.lists(st.builds(Quarantined, image_id=TEXT, stage=TEXT, cause=TEXT), max_size=3)
PARTS = st.builds(
    Part,
    name=TEXT,
    key=TEXT,
    sha256=HEX,
    bytes=st.integers(0, 2**40),
    rows=st.integers(0, 2**31),
    root=st.sampled_from(["lake", "phi"]),
)
SECONDS = st.dictionaries(TEXT, st.floats(0, 1e6), max_size=3)
RECORDS = st.one_of(
    st.builds(Ref, kind=TEXT, recipe=HEX, artifact=HEX),
    st.builds(Receipt, shard=HEX, part=PARTS, quarantined=ASIDE, profile=WORDS, seconds=SECONDS),
    st.builds(
        Manifest,
        format=st.just(FORMAT),
        kind=TEXT,
        name=TEXT,
        recipe=HEX,
        recipe_body=FACTS,
        inputs=WORDS,
        artifact=HEX,
        parts=st.lists(PARTS, max_size=3),
        quarantined=ASIDE,
        facts=FACTS,
        profile=WORDS,
        notes=FACTS,
        content=HEX,
    ),
)


def by_the_norm(value: object) -> str:
    """Canonical JSON and digest as the norm words them, written down a second time."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def shuffled(value: Any) -> Any:
    """The same data with every mapping in the other order."""
    if isinstance(value, Mapping):
        return {name: shuffled(one) for name, one in reversed(list(value.items()))}
    return [shuffled(one) for one in value] if isinstance(value, list) else value


@given(RECORDS)
def test_every_record_comes_back_as_it_was_committed(record: StrictModel) -> None:
    store = MemoryStore()
    committed, mine = commit(store, "x/y.json", record)
    assert mine
    assert read_record(store, "x/y.json", type(record)) == committed
    assert committed.model_copy(update={"nonce": ""}) == record
    data = store.read("x/y.json")
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    plain = re.sub(rb'("nonce":"[0-9a-f]{32})-[0-9a-f]{32}"', rb'\1"', data)
    assert hashlib.sha256(plain).hexdigest()[:32] == json.loads(data)["nonce"].partition("-")[2]
    assert sealed(data)


@given(TEXT, st.integers(0, 9), FACTS, WORDS, WORDS)
def test_names_follow_from_what_made_them_and_not_from_the_order_in_which_it_was_said(
    kind: str, algorithm: int, config: dict[str, Any], models: dict[str, str], inputs: dict[str, str]
) -> None:
    plan = Plan(Recipe(kind, algorithm, config, models), inputs)
    body = {"kind": kind, "format": FORMAT, "algorithm": algorithm, "config": config, "models": models}
    assert plan.recipe.digest == by_the_norm(body)
    assert plan.artifact == by_the_norm({"recipe": plan.recipe.digest, "inputs": inputs})
    other = Plan(Recipe(kind, algorithm, shuffled(config), shuffled(models)), shuffled(inputs))
    assert (other.recipe.digest, other.artifact) == (plan.recipe.digest, plan.artifact)


@given(TEXT, st.lists(PARTS, max_size=3), ASIDE, FACTS)
def test_content_is_what_is_said_and_not_who_wrote_it_where(
    kind: str, parts: list[Part], aside: list[Quarantined], facts: dict[str, Any]
) -> None:
    said = {
        "kind": kind,
        "parts": [[part.name, part.sha256, part.rows] for part in parts],
        "quarantined": [[bad.image_id, bad.stage, bad.cause] for bad in aside],
        "facts": facts,
    }
    assert content_digest(kind, parts, aside, shuffled(facts)) == by_the_norm(said)
    elsewhere = [part.model_copy(update={"key": "another", "bytes": 1}) for part in parts]
    assert content_digest(kind, elsewhere, aside, facts) == by_the_norm(said)


ROWS = st.lists(st.builds(Row, image_id=TEXT, source=TEXT), max_size=12, unique_by=lambda row: row.image_id)


@given(HEX, ROWS, st.integers(1, 5))
def test_a_shards_key_is_a_function_of_recipe_rows_and_sources_alone(recipe: str, rows: list[Row], most: int) -> None:
    made = list(cut(rows, recipe, 1, most))
    for shard in made:
        assert shard.key == by_the_norm([recipe, [[row.image_id, row.source] for row in shard.rows]])
        # Whatever comes before or after, in whatever partition: the same rows are the same shard.
        assert [one.key for one in cut(shard.rows, recipe, 7, 99)] == [shard.key]
    for shard in made:
        if len(shard.rows) > 1:
            assert next(cut(shard.rows[::-1], recipe, 1, 99)).key != shard.key


@given(st.text(max_size=30) | st.from_regex(r"[A-Za-z0-9_.=/-]{1,30}", fullmatch=True))
def test_a_key_is_one_of_the_norms_grammar_or_refused(key: str) -> None:
    assert "`[A-Za-z0-9_][A-Za-z0-9_.=-]*`" in NORM
    fits = all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*", part) for part in key.split("/"))
    if fits:
        assert check_key(key) == key
        assert not {"", ".", ".."} & set(key.split("/"))
    else:
        with pytest.raises(ConfigError):
            check_key(key)


@given(st.sampled_from(["catalog", "activations", "index"]), FACTS, HEX, st.sampled_from(["parquet", "postings.faiss"]))
def test_what_is_put_and_committed_is_under_the_norms_keys(
    kind: str, config: dict[str, Any], shard: str, ending: str
) -> None:
    lake = Lake(MemoryStore(), MemoryStore())
    plan = Plan(Recipe(kind, 1, config), {})
    part = lake.put_part(plan, f"{shard}.{ending}", b"bytes", rows=1)
    folder = f"{kind}/{plan.recipe.digest}"
    assert re.fullmatch(rf"{folder}/parts/{shard}-[0-9a-f]{{12}}\.{ending}", part.key)
    lake.commit_receipt(plan, Receipt(shard=shard, part=part))
    manifest = lake.commit_manifest(plan, kind, [part])
    assert lake.advance("a-ref", manifest) == 1
    keys = [blob.key for blob in lake.store.scan()]
    assert sorted(keys) == sorted(
        [part.key, f"{folder}/receipts/{shard}.json", f"{folder}/{plan.artifact}.json", "refs/a-ref/1.json"]
    )
    assert [sum(bool(kind.match(key)) for key in keys) for kind in (REF, RECEIPT, MANIFEST)] == [1, 1, 1]
    assert address(manifest) in keys
    assert refs.at(lake.store, "a-ref", 1).artifact == plan.artifact


NOT_OF_IMAGES = {"reports", "neurons", "names"}
"""Tables by name that have a row a study or a neuron."""


@pytest.mark.parametrize("version", VERSIONS)
def test_pyarrow_and_pandas_read_every_table_and_every_table_of_images_names_them(version: str) -> None:
    seen = set()
    for name, data in files(version).items():
        if not name.endswith(".parquet"):
            continue
        table = pq.read_table(pa.BufferReader(data))
        frame = pd.read_parquet(io.BytesIO(data))
        assert list(frame.columns) == table.column_names
        assert len(frame) == table.num_rows
        first = re.split(r"[-.]", name.rsplit("/", 1)[1])[0]
        stem = "shard" if re.fullmatch(r"[0-9a-f]{32}", first) else first
        seen.add((name.split("/")[1], stem))
        assert ("image_id" in table.column_names) == (stem not in NOT_OF_IMAGES), name
        if "image_id" in table.column_names:
            assert table.schema.field("image_id").type == pa.string()
            assert frame["image_id"].tolist() == table["image_id"].to_pylist()
        about = pq.read_metadata(pa.BufferReader(data))
        for at in range(about.num_row_groups):
            group = about.row_group(at)
            assert group.num_rows <= ROW_GROUP
            assert {group.column(i).compression for i in range(group.num_columns)} <= {"ZSTD"}
    assert {"catalog", "activations", "codes", "names", "index", "neighbours"} <= {kind for kind, _ in seen}


def test_pandas_gets_a_tensors_numbers_in_their_order() -> None:
    x = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    data = to_parquet(pa.table({"image_id": ["a", "b"], "activation": tensor_column(x)}))
    rows = pd.read_parquet(io.BytesIO(data))["activation"]
    assert [list(row) for row in rows] == [list(range(6)), list(range(6, 12))]
