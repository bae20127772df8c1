"""Formats: another version is refused with what to do, and a registered step turns an older lake into today's."""

from pathlib import Path
from typing import Any

import pytest

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake import formats, refs
from neuroconcepts_ray.lake import recipe as recipes
from neuroconcepts_ray.lake.commit import seal
from neuroconcepts_ray.lake.gc import sweep
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.migrate import migrate, prepare
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.lake.store import LocalStore, MemoryStore
from neuroconcepts_ray.lake.survey import address
from neuroconcepts_ray.lake.verify import verify
from neuroconcepts_ray.retrieval.changes import published, ref_of
from neuroconcepts_ray.retrieval.search import SearchService
from tests.golden.lakes import expected, unpack

PLAN = Plan(Recipe("codes", 1, {}), {})


def with_unit(manifest: dict[str, Any]) -> dict[str, Any]:
    """A step of these tests: the next version says of every artifact in what unit its facts are."""
    return manifest | {"facts": manifest["facts"] | {"unit": "1"}}


STEPS = {1: with_unit}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return unpack("v1", LocalStore(tmp_path / "lake"), LocalStore(tmp_path / "phi", 0o700))


@pytest.mark.parametrize(("version", "remedy"), [(2, "Upgrade"), (0, "neuroconcepts migrate")])
def test_a_manifest_of_another_format_is_refused_with_what_to_do(version: int, remedy: str) -> None:
    lake = Lake(MemoryStore(), MemoryStore())
    other = lake.commit_manifest(PLAN, "codes.latents", []).model_copy(update={"format": version})
    lake.store.write(address(other), seal(other, "0" * 32))
    with pytest.raises(InputError, match=remedy) as error:
        lake.find(PLAN)
    assert error.value.exit_code == 3


def test_preparing_writes_nothing_and_the_present_format_needs_no_step(lake: Lake) -> None:
    before = [blob.key for blob in lake.store.scan()]
    assert prepare(lake).made == {}
    assert len(prepare(lake, steps=STEPS, to=2).made) == len(expected("v1")["manifests"])
    assert [blob.key for blob in lake.store.scan()] == before


def test_a_migrated_lake_is_whole_answers_as_before_and_keeps_the_old_manifests(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {blob.key for blob in lake.store.scan()}
    migration = prepare(lake, steps=STEPS, to=2)
    monkeypatch.setattr(recipes, "FORMAT", 2)  # from here on, the program of the next version
    assert migrate(lake, migration) == len(migration.made)
    assert migrate(lake, prepare(lake, steps=STEPS, to=2)) == 0
    assert before < {blob.key for blob in lake.store.scan()}

    about = expected("v1")
    for one in about["manifests"]:
        key = migration.address(f"{one['kind']}/{one['recipe']}/{one['artifact']}.json")
        new = lake.manifest(*key.removesuffix(".json").split("/"))
        assert new is not None
        assert (new.format, new.name, new.facts["unit"]) == (2, one["name"], "1")
        assert [part.name for part in new.parts] == list(one["parts"])
        roles = {role: content for role, content in new.inputs.items() if role not in ("archive", "change")}
        assert set(roles.values()) <= set(migration.names.values())
    for name, artifacts in about["refs"].items():
        moved = name.replace(name[-32:], migration.names.get(name[-32:], name[-32:]))
        count = len(artifacts)
        wanted = [migration.names[artifact] for artifact in artifacts]
        first = 1 if moved != name else count + 1
        assert [refs.at(lake.store, moved, first + n).artifact for n in range(count)] == wanted

    last = next(versions[-1] for name, versions in about["refs"].items() if is_latents(about, versions[-1]))
    old = next(one for one in about["manifests"] if one["artifact"] == last)
    base = lake.manifest("index", migration.names[old["recipe"]], migration.names[old["facts"]["base"]])
    assert base is not None
    assert published(lake, base).version == refs.head(lake.store, ref_of(base))[0]  # type: ignore[index]
    hits = SearchService.open(lake, base, cache=tmp_path / "cache").like(about["search"]["like"])
    assert [hit.image_id for hit in hits] == [image_id for image_id, _ in about["search"]["hits"]]


def is_latents(about: Any, artifact: str) -> bool:
    return any(one["artifact"] == artifact and one["name"] == "index.latents" for one in about["manifests"])


def test_what_was_migrated_goes_with_gc_and_what_was_not_keeps_its_parts(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {blob.key for blob in lake.store.scan()}
    migration = prepare(lake, steps=STEPS, to=2)
    monkeypatch.setattr(recipes, "FORMAT", 2)
    monkeypatch.setitem(formats.STEPS, 1, with_unit)
    with pytest.raises(InputError, match="older format"):
        sweep(lake, sorts=("orphan", "artifact"), dry=False, grace_s=-2.0)
    assert {blob.key for blob in lake.store.scan()} == before
    migrate(lake, migration)
    sweep(lake, dry=False, grace_s=-2.0)
    assert before < {blob.key for blob in lake.store.scan()}
    heap, _ = sweep(lake, map(migration.address, migration.made), sorts=("artifact",), dry=False, grace_s=-2.0)
    assert {one.key for one in heap.of(("artifact",)) if one.what == "manifest"} == set(migration.made)
    assert not {blob.key for blob in lake.store.scan()} & set(migration.made)
    assert verify(lake, everything=True).problems == []


def test_a_format_from_which_no_step_leads_on_is_said(lake: Lake) -> None:
    with pytest.raises(InputError, match="no step"):
        prepare(lake, steps=STEPS, to=3)


def test_a_damaged_manifest_stops_a_migration_before_anything_is_written(lake: Lake) -> None:
    one = lake.commit_manifest(PLAN, "codes.latents", [])
    data = lake.store.read(address(one))
    lake.store.write(address(one), data.replace(b"latents", b"latentz"))
    with pytest.raises(InputError, match="verify --all"):
        prepare(lake, steps=STEPS, to=2)


def test_formats_of_manifests_are_those_of_their_recipes(lake: Lake) -> None:
    made: Manifest = lake.commit_manifest(PLAN, "codes.latents", [])
    assert made.format == made.recipe_body["format"] == recipes.FORMAT
