"""What a hospital meets in its first week has its right outcome and its message, on disk and on a real S3."""

import io
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from neuroconcepts_ray.catalog.tables import load_catalog, load_duplicates, load_reports
from neuroconcepts_ray.catalog.tombstones import ROLE
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.recipe import sha256
from neuroconcepts_ray.lake.store import open_store
from neuroconcepts_ray.lake.table import from_parquet
from tests.catalog.conftest import Mimic, chest
from tests.conftest import Result
from tests.erasure.world import Hospital
from tests.weed import BUCKET, Weed


def copy(number: int, quality: int = 90) -> bytes:
    """A film of the phantom's patient of that number, as somebody saved it."""
    sink = io.BytesIO()
    chest(number).save(sink, "JPEG", quality=quality)
    return sink.getvalue()


@dataclass
class Place:
    """Where a hospital keeps archive, lake and PHI root.

    Attributes:
        folder: On this machine, for the archive as it is written, the pipeline file and the cache.
        weed: The S3 server; None: everything is on disk.
    """

    folder: Path
    weed: Weed | None
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex)
    _sent: dict[str, bytes] = field(default_factory=dict)

    def uri(self, name: str) -> str:
        if self.weed is None:
            return str(self.folder / name)
        return f"s3://{BUCKET}/{self.prefix}/{name}?endpoint={self.weed.endpoint}"

    def publish(self, archive: Mimic) -> None:
        """Bring the archive as it is now to where the product reads it."""
        archive.write()
        if self.weed is None:
            return
        for path in sorted(archive.root.rglob("*")):
            key = path.relative_to(self.folder).as_posix()
            if path.is_file() and self._sent.get(key) != (data := path.read_bytes()):
                self.weed.behind.put_object(Bucket=BUCKET, Key=f"{self.prefix}/{key}", Body=data)
                self._sent[key] = data

    def lake(self) -> Lake:
        return Lake(open_store(self.uri("lake")), open_store(self.uri("phi")))

    def objects(self) -> set[str]:
        lake = self.lake()
        return {blob.key for store in (lake.store, lake.phi) for blob in store.scan()}

    def hospital(self, archive: Mimic, **catalog: Any) -> Hospital:
        """A pipeline over the archive, which is published first."""
        self.publish(archive)
        made = Hospital(archive, self.folder / "run").write(self.uri("lake"), self.uri("phi"))
        config = yaml.safe_load(made.file.read_text())
        config["catalog"] |= {"root": self.uri("archive"), "reports": self.uri("archive/reports"), **catalog}
        made.file.write_text(yaml.safe_dump(config))
        return made


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, request.getfixturevalue("weed") if request.param == "s3" else None)


@pytest.fixture
def archive(place: Place) -> Mimic:
    """Twelve patients of one study and film each, by the published split."""
    root = place.folder / "archive"
    root.mkdir()
    made = Mimic(root)
    for patient in range(12):
        part = "train" if patient < 8 else "validate" if patient < 10 else "test"
        made.add(str(10000000 + patient), str(50000000 + patient), f"film-{patient}", split=part)
    return made


@dataclass
class Said:
    """A command's exit code and what it printed."""

    code: int
    out: str
    error: str


Ask = Callable[..., Said]


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str]) -> Ask:
    def run(hospital: Hospital, *args: object) -> Said:
        capfd.readouterr()
        code = hospital.call(*args)
        captured = capfd.readouterr()
        return Said(code, " ".join(captured.out.split()), Result(captured.out, captured.err).error if code else "")

    return run


def roles(hospital: Hospital) -> dict[str, str]:
    """The role of every image that is no tombstone."""
    catalog = load_catalog(hospital.line().lake, hospital.have()["catalog"])
    found = zip(catalog.image_ids.tolist(), catalog.roles.tolist(), strict=True)
    return {image: role for image, role in found if role != ROLE}


def same_films(hospital: Hospital) -> set[frozenset[str]]:
    """Which images the catalog says are the same film."""
    table = load_duplicates(hospital.line().lake, hospital.have()["catalog"])
    return set(map(frozenset, zip(table["image_id"].to_pylist(), table["other"].to_pylist(), strict=True)))


def remembered(lake: Lake) -> dict[str, set[str]]:
    """The digests of all films whose hashes, thumbnails and twins the catalog remembers."""
    found: dict[str, set[str]] = {"looks": set(), "thumbs": set(), "twins": set()}
    for key in lake.phi.list("catalog"):
        folder = key.split("/")[2]
        if folder in found:
            table = from_parquet(lake.phi.read(key))
            for name in {"sha256", "other"} & set(table.column_names):
                found[folder] |= set(table[name].to_pylist())
    return found


def test_a_patient_in_two_roles_is_refused_unnamed_or_moved_whole_and_told(
    place: Place, archive: Mimic, ask: Ask
) -> None:
    archive.add("10000000", "51000000", "film-torn", split="test")
    hospital = place.hospital(archive, split="published")
    said = ask(hospital, "catalog")
    assert said.code == 3
    assert "puts the same group into several parts (got 1 of 12 groups; allowed: 0)" in said.error
    assert "catalog.split: hash" in said.error
    assert "catalog.split_leaks: mark" in said.error
    assert "10000000" not in said.error
    assert not [key for key in place.objects() if "/parts/" in key or key.startswith("refs/")]

    marked = ask(hospital, "catalog", "--set", "catalog.split_leaks=mark")
    assert marked.code == 0
    assert "The split tore 1 of 12 groups" in marked.out
    assert "images moved: 1 from test" in marked.out
    hospital = place.hospital(archive, split="published", split_leaks="mark")
    assert roles(hospital)["film-torn"] == roles(hospital)["film-0"] in ("fit", "probe")

    assert ask(hospital, "catalog", "--set", "catalog.split=hash").code == 0


def test_two_patients_with_the_same_film_are_refused_unnamed_or_get_one_role_and_told(
    place: Place, archive: Mimic, ask: Ask
) -> None:
    archive.add("20000001", "52000001", "film-first", split="train", data=copy(0))
    archive.add("20000002", "52000002", "film-again", split="test", data=copy(0, 60))
    hospital = place.hospital(archive, split="published")
    said = ask(hospital, "catalog", "--set", "catalog.near_duplicates=refuse")
    assert said.code == 3
    assert "near-duplicate films are filed under patients of different roles (got 1 pairs of films" in said.error
    assert "near_duplicates: join" in said.error
    assert "2000000" not in said.error

    joined = ask(hospital, "catalog")
    assert joined.code == 0
    assert "pairs of the same film 1 of these under several patients 1" in joined.out
    assert "patients whose role is another's with the same film 1" in joined.out
    assert roles(hospital)["film-again"] == roles(hospital)["film-first"] in ("fit", "probe")
    pairs = load_duplicates(place.lake(), hospital.have()["catalog"]).to_pylist()
    assert [(pair["image_id"], pair["other"]) for pair in pairs] == [("film-again", "film-first")]


def test_a_report_without_images_is_left_out_and_images_without_reports_stay_and_both_are_told(
    place: Place, archive: Mimic, ask: Ask
) -> None:
    archive.add("10000020", "52000020", "film-mute", report=None)
    stray = archive.root / "reports/files/p10/p10000077/s57000077.txt"
    stray.parent.mkdir(parents=True)
    stray.write_text("FINDINGS: of a study that was never sent.")
    hospital = place.hospital(archive, split="published")
    said = ask(hospital, "catalog")
    assert said.code == 0
    assert "studies 13" in said.out
    assert "reports 12" in said.out
    assert "studies without a report 1" in said.out
    assert "reports of no study here 1" in said.out
    manifest = hospital.have()["catalog"]
    catalog, reports = load_catalog(place.lake(), manifest), load_reports(place.lake(), manifest)
    (mute,) = catalog.studies[catalog.image_ids == "film-mute"].tolist()
    assert set(reports) == set(catalog.studies.tolist()) - {mute}
    assert not [text for text in reports.values() if "never sent" in text]


FINDINGS = ("effusion", "edema")

ERASED, TWIN, LATE_TWIN = "10000005", "10000006", "10000039"
"""Alone their roles would be probe, verify and test; films that are the same as another's make all three probe."""


@pytest.fixture
def grown(place: Place, ask: Ask) -> Hospital:
    """A finished chain over 48 films of 24 patients, and 30 films of the night after."""
    root = place.folder / "archive"
    root.mkdir()
    archive = Mimic(root)
    for patient in range(24):
        for view in (0, 1):
            archive.add(
                str(10000000 + patient),
                str(50000000 + patient),
                f"film-{patient}-{view}",
                data=copy(2 * patient + view),
                report=f"FINDINGS: There is {FINDINGS[patient % 2]}.\nIMPRESSION: As it was in {patient}.",
            )
    archive.path(TWIN, "50000006", "film-6-0").write_bytes(copy(10, 60))  # as film-5-0
    hospital = place.hospital(archive, split="hash")
    assert ask(hospital, "run").code == 0
    for number in range(28):
        patient = number // 2 if number < 10 else 24 + number // 2  # five who are known, nine who are not
        archive.add(
            str(10000000 + patient),
            str(51000000 + patient),
            f"night-{number}",
            data=copy(200 + number),
            report=f"FINDINGS: There is edema.\nIMPRESSION: As in night {number // 2}.",
        )
    archive.add(ERASED, "51000005", "night-28", data=copy(101), report="FINDINGS: Unlike any other, it is of night 28.")
    archive.add(LATE_TWIN, "51000039", "night-29", data=copy(101, 60), report=None)
    return place.hospital(archive, split="hash")


def test_new_films_pass_through_frozen_models_and_a_patient_is_erased_from_all_of_it(
    place: Place, grown: Hospital, ask: Ask
) -> None:
    said = ask(grown, "run", "--new-only")
    assert said.code == 0
    assert "New: 30 films, 16 studies, 16 patients (6 known already), 15 reports." in said.out
    before = grown.have(new_only=True)
    assert before["index.latents"].images == before["activations.logits"].images == 78
    assert [before[name].inputs["catalog"] != before["catalog"].content for name in ("classifier", "sae")] == [True] * 2
    was = roles(grown)
    assert {was[image] for image in ("film-5-0", "film-6-0", "film-6-1", "night-29")} == {"probe"}
    assert same_films(grown) == {frozenset(("film-5-0", "film-6-0")), frozenset(("night-28", "night-29"))}

    (patient,) = [one for one in grown.patients("probe") if one.id == ERASED]
    own = {sha256(next(grown.mimic.root.rglob(f"{image}.jpg")).read_bytes()) for image in patient.images}
    seen = remembered(place.lake())
    assert {name: len(own & some) for name, some in seen.items()} == {"looks": 3, "thumbs": 3, "twins": 2}
    said = ask(grown, "erase", "--group", patient.group)
    assert said.code == 0
    assert "Erased: patients 1, images 3, reports 2." in said.out

    # Nothing of it is left, neither by its names nor by how its films look.
    assert grown.traces(patient) == {}
    assert same_films(grown) == set()
    assert remembered(place.lake()) == {name: some - own for name, some in (seen | {"twins": set()}).items()}
    # The lake is whole, nothing in it is garbage, and nothing is to be done.
    assert ask(grown, "verify", "--all").code == 0
    assert "Nothing would go." in ask(grown, "gc", "--unfinished", "--older-than", 0).out
    kept = {image: role for image, role in was.items() if image not in patient.images}
    for _ in range(2):
        assert "Nothing to do: everything is finished already." in ask(grown, "run", "--new-only").out
        assert roles(grown) == kept  # though nothing joins the twins of the erased films any more

    # Later nights leave the patient out, and move nobody.
    frozen = {name: grown.have(new_only=True)[name].content for name in ("classifier", "sae")}
    grown.mimic.add(ERASED, "52000005", "later-of-erased", data=copy(300))
    grown.mimic.add("10000041", "52000041", "later", data=copy(301))
    grown = place.hospital(grown.mimic, split="hash")
    said = ask(grown, "run", "--new-only")
    assert "New: 1 films, 1 studies, 1 patients (0 known already), 1 reports." in said.out
    have = grown.have(new_only=True)
    assert have["catalog"].facts["left_out"][ROLE] == 4
    assert roles(grown) == kept | {"later": roles(grown)["later"]}
    assert {name: have[name].content for name in frozen} == frozen
    assert have["index.latents"].images == 76
    assert grown.traces(patient) == {}
    assert ask(grown, "verify", "--all").code == 0
