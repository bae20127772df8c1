"""After an erasure nothing holds anything of the patient, and nothing of anybody else has changed."""

import importlib
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.store import LocalStore
from neuroconcepts_ray.pixels.packed import read_part
from neuroconcepts_ray.retrieval import changes
from tests.conftest import ROOT, Result
from tests.erasure.world import Hospital, rows_of, without_ray


def test_nothing_of_an_erased_patient_is_found_in_any_byte(hospital: Hospital) -> None:
    patient = hospital.patients()[0]
    assert len(patient.images) == 4
    before = hospital.traces(patient)
    assert {needle for some in before.values() for needle in some} == patient.needles
    assert hospital.call("erase", "--group", patient.group) == 0
    assert hospital.traces(patient) == {}


def test_everybody_elses_rows_are_what_they_were(hospital: Hospital) -> None:
    patient = hospital.patients("fit")[0]
    lake, before = hospital.line().lake, hospital.have()
    rows, roles = rows_of(lake, before), load_catalog(lake, before["catalog"])
    hospital.call("erase", "--group", patient.group)
    after = hospital.have()
    assert set(after) == set(before)
    kept = {name: row for name, row in rows.items() if name.split()[1] not in patient.images}
    assert rows_of(lake, after) == kept
    assert [after[name].content for name in ("classifier", "sae")] == [
        before[name].content for name in ("classifier", "sae")
    ]
    assert [after[name].notes for name in ("classifier", "sae")] == [{"erased_since_fitted": 1}] * 2
    now = load_catalog(lake, after["catalog"])
    dead = [image in patient.images for image in roles.image_ids.tolist()]
    assert now.partitions == roles.partitions
    assert [row for row, gone in zip(now.image_ids.tolist(), dead, strict=True) if not gone] == [
        row for row, gone in zip(roles.image_ids.tolist(), dead, strict=True) if not gone
    ]
    assert [role == "erased" for role in now.roles.tolist()] == dead


def test_the_next_run_has_nothing_to_do(hospital: Hospital, capfd: pytest.CaptureFixture[str]) -> None:
    hospital.call("erase", "--group", hospital.patients()[0].group)
    contents = hospital.contents()
    for more in ((), ("--new-only",)):
        capfd.readouterr()
        assert hospital.call("run", *more) == 0
        assert "Nothing to do: everything is finished already." in capfd.readouterr().out
    assert hospital.contents() == contents


def test_only_the_shards_that_held_the_patient_are_written_again(hospital: Hospital) -> None:
    patient = hospital.patients()[0]
    lake, before = hospital.line().lake, hospital.have()
    hospital.call("erase", "--group", patient.group)
    for name, manifest in hospital.have().items():
        if manifest.kind in ("activations", "codes"):
            old = {part.sha256: part for part in before[name].parts}
            for part in manifest.parts:
                if part.shard and part.sha256 in old:
                    assert part == old[part.sha256]
            written = [part for part in manifest.parts if part.shard and part.sha256 not in old]
            gone = [part for part in before[name].parts if part.shard and part not in manifest.parts]
            assert 0 < len(written) == len(gone) <= 2
            assert not [part for part in gone if lake.store.exists(part.key)]


def test_mining_again_after_an_erasure_gives_the_same_bytes(hospital: Hospital) -> None:
    hospital.call("erase", "--group", hospital.patients()[0].group)
    lake, contents, rows = hospital.line().lake, hospital.contents(), rows_of(hospital.line().lake, hospital.have())
    for blob in list(lake.store.scan("activations")):
        lake.store.delete(blob.key)
    hospital.run()
    assert rows_of(lake, hospital.have()) == rows
    assert hospital.contents() == contents


def films_of(hospital: Hospital) -> dict[str, bytes]:
    """Packed pixels by image_id."""
    lake, manifest = hospital.line().lake, hospital.have()["pixels"]
    parts = [read_part(lake, part)[:2] for part in manifest.parts]
    return {one: film.tobytes() for ids, films in parts for one, film in zip(ids, films, strict=True)}


def test_packed_pixels_lose_the_patients_films_and_nobody_elses(
    hospital: Hospital, capfd: pytest.CaptureFixture[str]
) -> None:
    assert hospital.call("pack", "--set", "pixels.shard_rows=6") == 0
    hospital.file.write_text(hospital.file.read_text() + "pixels: {shard_rows: 6}\n")
    patient = hospital.patients()[0]
    films, parts = films_of(hospital), hospital.have()["pixels"].parts
    assert patient.images < films.keys()
    assert hospital.call("erase", "--group", patient.group, "--dry-run") == 0
    assert "1 catalog, 1 pixels, 1 classifier, 3 activations" in capfd.readouterr().out
    assert hospital.call("erase", "--group", patient.group) == 0
    assert hospital.traces(patient) == {}
    assert films_of(hospital) == {one: film for one, film in films.items() if one not in patient.images}
    lake, made = hospital.line().lake, hospital.have()["pixels"]
    gone = [part for part in parts if part not in made.parts]
    assert 0 < len(gone) <= 2
    assert not [part for part in gone if lake.phi.exists(part.key)]
    assert hospital.call("verify", "--all") == 0
    # Nothing is left to pack; and packing anew without the patient is the same artifact.
    assert hospital.call("pack") == 0
    assert "Nothing to do" in capfd.readouterr().out
    for store in (lake.store, lake.phi):
        for blob in list(store.scan("pixels")):
            store.delete(blob.key)
    assert hospital.call("pack") == 0
    assert hospital.have()["pixels"].content == made.content


def test_patches_whose_shards_are_smaller_lose_the_patients_rows_and_nobody_elses(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuroconcepts_ray.lake.shards.MAX_SHARD_BYTES", 4 * 32**2)
    config = yaml.safe_load(hospital.file.read_text())
    config["activations"] |= {"taps": ["layer3", "layer3:patches", "logits:patches"], "patches": {"size": 0.5}}
    hospital.file.write_text(yaml.safe_dump(config))
    assert hospital.call("mine") == 0
    lake, before = hospital.line().lake, hospital.have()
    assert len(before["activations.logits:patches"].parts) > len(before["activations.logits"].parts)
    patient = hospital.patients()[0]
    kept = {name: row for name, row in rows_of(lake, before).items() if name.split()[1] not in patient.images}
    assert hospital.call("erase", "--group", patient.group) == 0
    assert hospital.traces(patient) == {}
    assert rows_of(lake, hospital.have()) == kept
    assert hospital.call("verify", "--all") == 0


def test_a_dry_run_says_what_would_go_and_touches_nothing(
    hospital: Hospital, capfd: pytest.CaptureFixture[str]
) -> None:
    patient = hospital.patients()[0]
    files = sorted(path for path in hospital.folder.rglob("*") if path.is_file())
    assert hospital.call("erase", "--group", patient.group, "--dry-run") == 0
    said = capfd.readouterr().out
    assert "patients 1, images 4, reports 2" in said
    assert "1 catalog, 1 classifier, 3 activations, 1 sae, 2 codes" in said
    assert sorted(path for path in hospital.folder.rglob("*") if path.is_file()) == files
    assert hospital.traces(patient)


def test_the_films_are_left_out_of_later_catalogs_with_new_ones_and_counted(hospital: Hospital, tmp_path: Path) -> None:
    patient = hospital.patients()[0]
    hospital.call("erase", "--group", patient.group)
    archive = _grown(hospital, tmp_path / "grown", patient.id)
    outcomes = archive.run(new_only=True)
    manifest = archive.have(new_only=True)["catalog"]
    catalog = load_catalog(archive.line().lake, manifest)
    assert catalog.image_ids[catalog.partitions[1]].tolist() == ["new-b"]
    assert manifest.facts["left_out"]["erased"] == 5
    assert {name for name, one in outcomes.items() if one.state == "frozen"} == {"classifier", "sae"}
    assert outcomes["index.units"].manifest is not None
    assert outcomes["index.units"].manifest.images == 24 * 4 - 4 + 1
    assert archive.traces(patient) == {}


def _grown(hospital: Hospital, folder: Path, patient: str) -> Hospital:
    """The lake over a grown archive: one new film of a patient, and one of a new patient."""
    shutil.copytree(hospital.mimic.root.parent, folder, ignore=shutil.ignore_patterns("run", "lake", "phi"))
    mimic = replace(
        hospital.mimic, root=folder / "archive", films=list(hospital.mimic.films), labels=dict(hospital.mimic.labels)
    )
    mimic.add(patient, "59000001", "new-a", report="FINDINGS: nothing that has been said before.")
    mimic.add("10000777", "59000002", "new-b")
    mimic.write()
    config = hospital.line().config
    return replace(hospital, mimic=mimic).write(config.lake, config.phi_root)


def test_erasing_after_growth_keeps_the_frozen_models_of_the_smaller_catalog(
    hospital: Hospital, tmp_path: Path
) -> None:
    patient = hospital.patients()[0]
    archive = _grown(hospital, tmp_path / "grown", patient.id)
    archive.run(new_only=True)
    assert archive.call("erase", "--group", patient.group) == 0
    (again,) = [one for one in _all_patients(archive) if one == patient.group] or [None]
    assert again is None
    assert archive.traces(patient) == {}
    outcomes = archive.run(new_only=True)
    assert {one.state for one in outcomes.values()} == {"found", "frozen"}
    # And growth goes on.
    archive.mimic.add("10000778", "59000003", "new-c")
    archive.mimic.write()
    outcomes = archive.run(new_only=True)
    assert outcomes["index.latents"].manifest is not None
    assert outcomes["index.latents"].manifest.images == 24 * 4 - 4 + 2


def _all_patients(hospital: Hospital) -> list[str]:
    catalog = load_catalog(hospital.line().lake, hospital.have(new_only=True)["catalog"])
    return sorted(set(catalog.groups.tolist()))


PHASES = ["rewrite", "entomb", "point", "sweep.delete", "sweep.forget_files", "journal.close"]


@pytest.mark.parametrize("phase", PHASES)
def test_an_erasure_killed_before_any_step_is_finished_by_the_same_command(
    hospital: Hospital, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = hospital.patients()[0]
    owner, _, name = phase.rpartition(".")
    module = importlib.import_module("neuroconcepts_ray.erasure.erase")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(getattr(module, owner) if owner else module, name, die)
        assert hospital.call("erase", "--group", patient.group) == 130
    # In between, no stage works on half a lake.
    assert hospital.call("run") == 4
    assert hospital.call("erase", "--group", patient.group) == 0
    assert hospital.traces(patient) == {}
    assert {one.state for one in hospital.run().values()} == {"found"}
    assert not list(hospital.line().lake.phi.list("erasures"))


def test_a_kill_among_the_deletions_is_finished_too(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = hospital.patients()[0]
    original, count = LocalStore.delete, 0

    def delete(self: LocalStore, key: str) -> None:
        nonlocal count
        count += 1
        if count == 12:
            raise KeyboardInterrupt
        original(self, key)

    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "delete", delete)
        assert hospital.call("erase", "--group", patient.group) == 130
    assert hospital.call("erase", "--group", patient.group) == 0
    assert hospital.traces(patient) == {}
    assert {one.state for one in hospital.run().values()} == {"found"}


def test_what_was_removed_from_the_index_stays_removed_and_old_versions_say_why_they_are_gone(
    hospital: Hospital,
) -> None:
    first, second = hospital.patients()[:2]
    removed, erased = sorted(second.images)[0], sorted(first.images)[0]
    assert hospital.call("index", "remove", removed, erased) == 0
    assert hospital.call("erase", "--group", first.group) == 0
    lake, have = hospital.line().lake, hospital.have()
    state = changes.published(lake, have["index.latents"])
    index = state.open(lake, hospital.cache)
    assert index.find(removed) is None
    assert index.find(sorted(second.images)[1]) is not None
    assert hospital.traces(first) == {}
    with pytest.raises(InputError, match="this version of the index is gone"):
        changes.published(lake, have["index.latents"], 1)


def test_a_patient_whose_film_was_set_aside_is_erased_from_that_list_too(finished: Hospital, tmp_path: Path) -> None:
    patient = finished.patients("select")[0]
    bad = sorted(patient.images)[0]
    folder = tmp_path / "archive"
    shutil.copytree(finished.mimic.root.parent, folder, ignore=shutil.ignore_patterns("run", "lake", "phi"))
    mimic = replace(finished.mimic, root=folder / "archive")
    (film,) = mimic.root.rglob(f"{bad}.jpg")
    film.write_bytes(film.read_bytes()[:40])
    made = replace(finished, mimic=mimic, folder=tmp_path / "run").write(str(tmp_path / "lake"), str(tmp_path / "phi"))
    made.run()
    assert bad in {one.image_id for one in made.have()["classifier"].quarantined}
    rows = rows_of(made.line().lake, made.have())
    assert made.call("erase", "--group", patient.group) == 0
    assert made.traces(patient) == {}
    kept = {name: row for name, row in rows.items() if name.split()[1] not in patient.images}
    assert rows_of(made.line().lake, made.have()) == kept
    assert {one.state for one in made.run().values()} == {"found"}


def test_a_file_of_patient_ids_erases_them_all_and_no_id_is_printed(
    hospital: Hospital, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    some = [*hospital.patients("fit")[:2], hospital.patients("probe")[0]]
    file = tmp_path / "patients.txt"
    file.write_text("\n".join(one.id for one in some) + "\n\n")
    assert hospital.call("erase", "--patient-file", file) == 0
    said = capfd.readouterr()
    assert "patients 3, images 12" in said.out
    assert not [one.id for one in some if one.id in said.out + said.err]
    assert [hospital.traces(one) for one in some] == [{}, {}, {}]
    assert {one.state for one in hospital.run().values()} == {"found"}


def test_erasing_an_unknown_patient_is_a_clear_error_and_erasing_twice_says_so(
    hospital: Hospital, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    patient = hospital.patients()[0]
    assert hospital.call("erase", "--group", "0123456789abcdef") == 3
    captured = capfd.readouterr()
    assert "no image of this lake belongs to this group" in Result(captured.out, captured.err).error
    file = tmp_path / "patients.txt"
    file.write_text(f"{patient.id}\n99999999\n")
    assert hospital.call("erase", "--patient-file", file) == 3
    captured = capfd.readouterr()
    assert "99999999" not in captured.err
    assert "1 of 2" in Result(captured.out, captured.err).error
    assert hospital.traces(patient)
    assert hospital.call("erase") == 2
    for said in ("Erased:", "this was erased already"):
        capfd.readouterr()
        assert hospital.call("erase", "--group", patient.group) == 0
        assert said in capfd.readouterr().out


def test_the_pages_blocks_run_as_they_stand(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "growth.md").read_text()
    lines = [line for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    patient = hospital.patients()[0]
    archive = _grown(hospital, tmp_path / "grown", "10000778")
    monkeypatch.chdir(archive.folder)
    assert len(lines) == 6
    for line in lines:
        program, *args = shlex.split(line.replace("$GROUP", patient.group))
        assert program == "neuroconcepts"
        with without_ray():
            assert call(args) == 0, line
    said = capfd.readouterr().out
    assert "New: 2 films, 2 studies, 2 patients (0 known already), 2 reports." in said
    assert "Too few patients to tell: 2 new ones" in said
    assert hospital.traces(patient) == {}


def test_reports_without_films_change_no_shard(hospital: Hospital, capfd: pytest.CaptureFixture[str]) -> None:
    before = hospital.have()
    study = hospital.mimic.root / "reports/files/p10/p10000023"
    removed = study / "s50000047.txt"
    text = removed.read_text()
    try:
        removed.unlink()
        hospital.run()
        removed.write_text(text)
        capfd.readouterr()
        assert hospital.call("run", "--new-only") == 0
        assert "New: 0 films, 0 studies, 0 patients (0 known already), 1 reports." in capfd.readouterr().out
    finally:
        removed.write_text(text)
    after = hospital.have(new_only=True)
    assert len(after["catalog"].facts["partitions"]) == 2
    for name in ("activations.logits", "codes.units"):
        assert [part.sha256 for part in after[name].parts if part.shard] == [
            part.sha256 for part in before[name].parts if part.shard
        ]


def test_a_label_that_comes_late_leaves_tombstones_and_films_in_their_places(
    hospital: Hospital, tmp_path: Path
) -> None:
    patient = hospital.patients("fit")[0]
    hospital.call("erase", "--group", patient.group)
    archive = _grown(hospital, tmp_path / "grown", "10000779")
    before = archive.run(new_only=True)
    study = next(iter(set(archive.mimic.labels) - patient.study_ids))
    archive.mimic.labels[study] = archive.mimic.labels[study] | {"Edema": "1.0"}
    archive.mimic.write()
    after = archive.run(new_only=True)
    assert after["catalog"].state == "made"
    for name in ("activations.logits", "codes.latents", "codes.units"):
        old, new = before[name].manifest, after[name].manifest
        assert old is not None
        assert new is not None
        assert [part for part in new.parts if part.shard] == [part for part in old.parts if part.shard]
    assert archive.traces(patient) == {}
