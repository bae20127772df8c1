"""The catalog's memory of what it looked at keeps nothing of an erased patient, and goes on to work."""

import io
from pathlib import Path

import pytest

from neuroconcepts_ray.catalog import job
from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.keys import find_key
from neuroconcepts_ray.catalog.newest import current
from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.erasure import journal
from neuroconcepts_ray.erasure.erase import erase
from neuroconcepts_ray.erasure.victims import find
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import sha256
from neuroconcepts_ray.lake.store import MemoryStore
from neuroconcepts_ray.lake.survey import survey
from neuroconcepts_ray.lake.table import from_parquet
from tests.catalog.conftest import chest


def jpeg(number: int, quality: int = 90) -> bytes:
    sink = io.BytesIO()
    chest(number).save(sink, "JPEG", quality=quality)
    return sink.getvalue()


class Ward:
    """A folder of films named by patient, and its catalog."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lake = Lake(MemoryStore("memory://lake"), MemoryStore("memory://phi"))
        (root.parent / "key").write_bytes(bytes(range(32)))
        fields = {"root": str(root), "adapter": "folder", "group_pattern": "([a-z]+)_"}
        self.config = validate(CatalogConfig, fields | {"hash_key_file": str(root.parent / "key")})

    def put(self, part: str, patient: str, name: str, data: bytes) -> str:
        path = self.root / part / "chest" / f"{patient}_{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return sha256(data)

    def run(self) -> Manifest:
        return job.run(self.config, {}, self.lake, ComputeConfig())["catalog"]

    def erase(self, patient: str) -> None:
        key = find_key(self.config, self.lake.phi)
        assert key is not None
        catalogs = [one for one in survey(self.lake).manifests.values() if one.kind == "catalog"]
        victims = find(self.lake, catalogs, key, set(), {patient})
        name = journal.begin(self.lake, victims)
        erase(self.lake, name, victims, self.root.parent / "cache")
        journal.close(self.lake, name)

    def remembered(self) -> set[str]:
        """Every digest of a film that has a look, a thumbnail or a twin."""
        found: set[str] = set()
        for name in self.lake.phi.list("catalog/catalog-folder"):
            for column in from_parquet(self.lake.phi.read(name)).to_pydict().values():
                found |= {value for value in column if isinstance(value, str)}
        return found

    def roles(self) -> dict[str, str]:
        manifest = current(self.config, self.lake)
        assert manifest is not None
        catalog = load_catalog(self.lake, manifest)
        return dict(zip(catalog.image_ids.tolist(), catalog.roles.tolist(), strict=True))


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    ward = Ward(tmp_path / "films")
    ward.put("train", "ann", "1", jpeg(1))
    ward.put("test", "bob", "1", jpeg(2))
    ward.put("train", "cid", "1", jpeg(3))
    return ward


def test_films_that_were_left_out_or_written_over_leave_no_thumbnail(ward: Ward) -> None:
    ward.run()
    left_out = ward.put("train", "ann", "2", jpeg(2, 60))  # a film of bob, whose role is another
    ward.put("train", "dan", "1", jpeg(4))
    assert ward.run().facts["left_out"]["near-duplicate"] == 1
    assert left_out in ward.remembered()
    ward.erase("ann")
    known = ward.remembered()
    assert left_out not in known
    assert {sha256(jpeg(2)), sha256(jpeg(3))} <= known


def test_after_the_only_patient_of_a_night_is_erased_the_next_night_is_catalogued(ward: Ward) -> None:
    ward.run()
    ward.put("train", "dan", "1", jpeg(4))
    before = ward.run()
    ward.erase("dan")
    (ward.root / "train" / "chest" / "dan_1.jpg").unlink()
    ward.put("train", "eve", "1", jpeg(5))
    after = ward.run()
    assert after.facts["images"] == before.facts["images"]
    assert after.facts["partitions"] == [3, 1, 1]


def test_who_shared_a_film_with_an_erased_patient_keeps_role_and_place(ward: Ward) -> None:
    ward.put("test", "zoe", "1", jpeg(1, 60))  # ann's film: both are for training now
    first = ward.run()
    assert first.facts["near_duplicates"]["moved_groups"] == 1
    before = ward.roles()
    ward.erase("ann")
    erased = ward.roles()
    assert ward.run() == current(ward.config, ward.lake)
    assert ward.roles() == erased
    alive = {one: role for one, role in erased.items() if role != "erased"}
    assert alive == {one: before[one] for one in alive}
