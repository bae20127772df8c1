"""A catalog a few rows at a time says what the whole of it says, tombstones included."""

from pathlib import Path

import pyarrow as pa
import pytest

from neuroconcepts_ray.catalog.films import Films
from neuroconcepts_ray.catalog.sources import Source
from neuroconcepts_ray.catalog.tables import load_sources
from neuroconcepts_ray.errors import DigestError, InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.lake.shards import Row, Start
from neuroconcepts_ray.lake.store import MemoryStore
from neuroconcepts_ray.lake.table import ROW_GROUP, to_parquet

PARTITIONS = (ROW_GROUP + 100, 0, 7)
DEAD = {(0, 1), (0, ROW_GROUP), (2, 0), (2, 6)}


def commit(lake: Lake, *, torn: bool = False) -> Manifest:
    plan = Plan(Recipe("catalog", 1, {}), {"archive": str(torn)})
    parts = []
    for number, rows in enumerate(PARTITIONS):
        live = [row for row in range(rows) if (number, row) not in DEAD]
        ids = [f"i{number}.{row}" if (number, row) not in DEAD else f"erased.{number}.{row}" for row in range(rows)]
        roles = ["fit" if (number, row) not in DEAD else "erased" for row in range(rows)]
        alive = [f"i{number}.{row}" for row in live]
        sources = {
            "image_id": alive[1:] + alive[:1] if torn else alive,
            "key": [f"k{number}.{row}" for row in live],
            "size": pa.array(live, pa.int64()),
            "sha256": [f"s{number}.{row}" for row in live],
        }
        text = {name: pa.array(values, pa.string()) for name, values in sources.items() if name != "size"}
        tables = {
            "images": pa.table({"image_id": pa.array(ids, pa.string()), "role": pa.array(roles, pa.string())}),
            "sources": pa.table({**text, "size": sources["size"]}),
        }
        for kind, table in tables.items():
            root = "phi" if kind == "sources" else "lake"
            data = to_parquet(table)
            parts.append(lake.put_part(plan, f"{kind}-{number:04}.parquet", data, rows=table.num_rows, root=root))
    return lake.commit_manifest(plan, "catalog", parts, facts={"partitions": list(PARTITIONS)})


@pytest.fixture(params=["disk", "memory"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "memory":
        return Lake(MemoryStore(), MemoryStore())
    return Lake.open(str(tmp_path / "lake"), str(tmp_path / "phi"))


def test_all_rows_come_once_in_order_whatever_is_taken_at_a_time(lake: Lake) -> None:
    catalog = commit(lake)
    expected = [
        Row(f"erased.{n}.{row}", "") if (n, row) in DEAD else Row(f"i{n}.{row}", f"s{n}.{row}")
        for n, rows in enumerate(PARTITIONS)
        for row in range(rows)
    ]
    every = load_sources(lake, catalog)
    for size in (97, ROW_GROUP, 100_000):
        films = Films(lake, catalog)
        taken = list(films.each(size))
        assert [row for _, rows in taken for row in rows] == expected
        assert all(len(rows) <= size for _, rows in taken)
        found: dict[str, Source] = {}
        for start, rows in reversed(taken[-40:]):
            again, sources = films.some(start, len(rows))
            assert again == rows
            found |= sources
        assert found == {image_id: every[image_id] for image_id in found}
        assert len(found) == sum(row.source != "" for _, rows in taken[-40:] for row in rows)


def test_images_and_sources_that_do_not_belong_together_are_refused(lake: Lake) -> None:
    with pytest.raises(InputError, match="do not belong together"):
        Films(lake, commit(lake, torn=True)).some(Start(0, 0, 0), 5)


def test_a_part_that_was_altered_or_is_gone_is_refused(lake: Lake) -> None:
    catalog = commit(lake)
    key = catalog.part("images-0000.parquet").key
    data = lake.store.read(key)
    lake.store.write(key, data[:-9] + b"x" + data[-8:])
    with pytest.raises(DigestError, match="altered"):
        Films(lake, catalog).some(Start(0, 0, 0), 5)
    lake.store.delete(key)
    with pytest.raises(InputError, match="missing"):
        Films(lake, catalog).some(Start(0, 0, 0), 5)
