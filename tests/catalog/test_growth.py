"""A catalog is an append-only list of frozen partitions, and the same archive gives the same catalog."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from neuroconcepts_ray.catalog import digests, job
from neuroconcepts_ray.catalog.newest import current
from neuroconcepts_ray.catalog.tables import load_catalog, load_reports, load_sources
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.store import MemoryStore

from .conftest import Mimic, Run


def fresh() -> Lake:
    return Lake(MemoryStore("memory://a"), MemoryStore("memory://b"))


def keyed(mimic: Mimic, **fields: object) -> dict[str, object]:
    key = mimic.root.parent / "key"
    key.write_bytes(bytes(range(32)))
    return {"hash_key_file": str(key), **fields}


def test_the_same_command_again_returns_the_same_catalog(mimic: Mimic, run: Run, lake: Lake) -> None:
    first = run(mimic.config())
    keys = [*lake.store.list("catalog"), *lake.store.list("refs")]
    assert run(mimic.config()) == first
    assert [*lake.store.list("catalog"), *lake.store.list("refs")] == keys


def test_current_answers_without_looking_at_the_archive(mimic: Mimic, run: Run, lake: Lake) -> None:
    config = mimic.config()
    assert current(config, lake) is None
    manifest = run(config)
    shutil.rmtree(mimic.root)
    assert current(config, lake) == manifest
    assert current(mimic.config(uncertain="ones"), lake) is None
    assert current(mimic.config(reports=None), lake) is None
    assert current(mimic.config(name="other"), lake) is None


def test_the_same_archive_config_and_key_give_the_same_content_elsewhere(mimic: Mimic) -> None:
    config = mimic.config(**keyed(mimic))
    first = job.run(config, {}, fresh(), ComputeConfig())["catalog"]
    moved = mimic.root.parent / "moved"
    shutil.copytree(mimic.root, moved)  # other times, another place
    for path in moved.rglob("*"):
        os.utime(path, (1, 1))
    again = mimic.config(**keyed(mimic, root=str(moved), reports=str(moved / "reports")))
    second = job.run(again, {}, fresh(), ComputeConfig())["catalog"]
    assert second.content == first.content
    assert second.artifact == first.artifact


def test_another_key_gives_other_groups_and_another_recipe(mimic: Mimic) -> None:
    first, second = (job.run(mimic.config(), {}, fresh(), ComputeConfig())["catalog"] for _ in range(2))
    assert first.recipe != second.recipe
    assert first.content != second.content


def test_new_films_become_one_more_partition_and_the_old_ones_stay(mimic: Mimic, run: Run, lake: Lake) -> None:
    first = run(mimic.config())
    before = load_catalog(lake, first)
    mimic.add("10000000", "50009000", "new-a", report="new report")  # a known patient
    mimic.add("10000777", "50009001", "new-b", split="test")
    second = run(mimic.write().config())
    after = load_catalog(lake, second)
    assert second.parts[: len(first.parts)] == first.parts
    assert second.inputs["parent"] == first.content
    assert [part.stop - part.start for part in after.partitions] == [160, 2]
    assert list(after.image_ids[:160]) == list(before.image_ids)
    assert list(after.roles[:160]) == list(before.roles)
    assert set(after.image_ids[160:]) == {"new-a", "new-b"}
    assert len(load_sources(lake, second)) == 162
    assert len(load_reports(lake, second)) == 82
    assert second.facts["images"] == 162
    assert second.facts["groups"] == 41
    known = dict(zip(before.groups, before.roles, strict=True))
    new_a = list(after.image_ids).index("new-a")
    assert after.roles[new_a] == known[after.groups[new_a]]
    assert run(mimic.config()) == second


def test_a_report_that_comes_after_its_film_is_appended(mimic: Mimic, run: Run, lake: Lake) -> None:
    mimic.add("10000000", "50009000", "late", report=None)
    first = run(mimic.write().config())
    (mimic.root / "reports/files/p10/p10000000/s50009000.txt").write_text("at last")
    second = run(mimic.config())
    catalog = load_catalog(lake, second)
    assert second.parts[: len(first.parts)] == first.parts
    assert [part.stop - part.start for part in catalog.partitions] == [161, 0]
    study = catalog.studies[list(catalog.image_ids).index("late")]
    assert load_reports(lake, second)[study] == "at last"


@pytest.mark.parametrize("change", ["bytes", "gone"])
def test_what_changed_in_place_is_catalogued_anew(mimic: Mimic, run: Run, lake: Lake, change: str) -> None:
    first = run(mimic.config())
    film = mimic.path("10000003", "50000006", "03-0-AP")
    if change == "bytes":
        film.write_bytes(film.read_bytes() + b"\0")
    else:
        film.unlink()
    second = run(mimic.write().config())
    assert second.content != first.content
    assert "parent" not in second.inputs
    assert len(load_catalog(lake, second).partitions) == 1
    assert current(mimic.config(), lake) == second


@pytest.mark.parametrize("change", ["label", "late label", "report", "view"])
def test_labels_and_reports_that_changed_leave_the_films_where_they_were(
    mimic: Mimic, run: Run, lake: Lake, change: str
) -> None:
    late = mimic.labels.pop("50000006") if change == "late label" else {}
    mimic.write()
    first = run(mimic.config(partition_rows=50))
    before = load_catalog(lake, first)
    if change == "label":
        mimic.labels["50000006"]["Edema"] = "1.0"
    elif change == "late label":
        mimic.labels["50000006"] = late
    elif change == "view":
        mimic.films[12]["ViewPosition"] = "PA"
    else:
        (mimic.root / "reports/files/p10/p10000003/s50000006.txt").write_text("amended")
    mimic.add("10000777", "50009001", "new")
    second = run(mimic.write().config(partition_rows=50))
    after = load_catalog(lake, second)
    assert second.inputs["parent"] == first.content
    assert after.image_ids[:160].tolist() == before.image_ids.tolist()
    assert [part.stop - part.start for part in after.partitions] == [50, 50, 50, 10, 1]
    old = {part.name: part.sha256 for part in first.parts}
    written = {part.name for part in second.parts if old.get(part.name) not in (None, part.sha256)}
    assert len(written) == 1
    assert written.pop().startswith("reports" if change == "report" else "images")
    if change == "report":
        assert load_reports(lake, second)[after.studies[after.image_ids.tolist().index("03-0-AP")]] == "amended"
    fresh = Lake(MemoryStore("memory://c"), MemoryStore("memory://d"))
    fresh.phi.write("hash.key", lake.phi.read("hash.key"))
    anew = load_catalog(fresh, job.run(mimic.config(), {}, fresh, ComputeConfig())["catalog"])
    order = [anew.image_ids.tolist().index(one) for one in after.image_ids.tolist()]
    assert np.array_equal(anew.y[order], after.y, equal_nan=True)
    assert anew.views[order].tolist() == after.views.tolist()
    assert run(mimic.config(partition_rows=50)) == second


def test_an_archive_is_cut_into_partitions_of_bounded_size(mimic: Mimic, run: Run, lake: Lake) -> None:
    manifest = run(mimic.config(partition_rows=50))
    catalog = load_catalog(lake, manifest)
    assert [part.stop - part.start for part in catalog.partitions] == [50, 50, 50, 10]
    assert len(load_reports(lake, manifest)) == 80
    assert list(catalog.groups) == sorted(catalog.groups)
    names = [part.name for part in manifest.parts if part.name.startswith("images-")]
    assert names == [f"images-000{number}.parquet" for number in range(4)]


def test_a_run_that_died_before_its_ref_moved_is_finished_by_the_next(
    mimic: Mimic, run: Run, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "advance", die)
        with pytest.raises(KeyboardInterrupt):
            run(mimic.config())
    assert current(mimic.config(), lake) is None
    manifest = run(mimic.config())
    assert current(mimic.config(), lake) == manifest
    assert sum(key.count("/") == 2 for key in lake.store.list("catalog")) == 1


def test_a_film_that_kept_size_and_time_is_not_read_again(
    mimic: Mimic, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in mimic.root.rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))
    first = run(mimic.config())
    mimic.add("10000777", "50009001", "new", split="test")
    mimic.write()
    read: list[str] = []
    original = digests._digest
    monkeypatch.setattr(
        digests, "_digest", lambda root, file, where: read.append(file.key) or original(root, file, where)
    )
    second = run(mimic.config())
    assert sorted(Path(key).name for key in read) == ["new.jpg", "s50009001.txt"]
    assert second.parts[: len(first.parts)] == first.parts


def test_a_film_changed_just_now_is_not_remembered(mimic: Mimic, run: Run) -> None:
    film = mimic.path("10000003", "50000006", "03-0-AP")
    now = film.stat()
    first = run(mimic.config())
    film.write_bytes(bytes(len(film.read_bytes())))
    os.utime(film, ns=(now.st_atime_ns, now.st_mtime_ns))  # within one tick of a coarse clock
    assert run(mimic.config()).content != first.content


def test_the_phi_key_is_made_once_and_kept(mimic: Mimic, run: Run, lake: Lake) -> None:
    run(mimic.config())
    key = lake.phi.read("hash.key")
    run(mimic.config(split="hash"))
    assert len(key) == 32
    assert lake.phi.read("hash.key") == key


def test_unusable_labels_leave_nothing_behind(mimic: Mimic, run: Run, lake: Lake) -> None:
    with pytest.raises(ConfigError):
        run(mimic.config(labels=["Hernia"]))
    assert not list(lake.store.list("catalog"))
    assert not list(lake.store.list("refs"))
