"""Each layout is read by the real adapter, which finds what the truth says."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from neuroconcepts_ray.catalog import job
from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.tables import Catalog, load_catalog, load_reports, load_sources
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.store import MemoryStore
from neuroconcepts_ray.phantom import archive
from neuroconcepts_ray.phantom.archive import write_archive
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.eye_notes import write_note
from neuroconcepts_ray.phantom.eyes import draw_subject
from neuroconcepts_ray.phantom.layouts import ddsm, fairvlmed, ham10000
from neuroconcepts_ray.phantom.layouts.choice import LAYOUTS, layout_of
from neuroconcepts_ray.phantom.layouts.overlay import STEPS, chain
from neuroconcepts_ray.phantom.lesions import draw_lesion
from neuroconcepts_ray.phantom.mammograms import draw_case
from neuroconcepts_ray.phantom.scoring.truth import Truth, load_masks, load_truth
from neuroconcepts_ray.phantom.truth import FACTORS_OF, KINDS, SCHEMA
from neuroconcepts_ray.stats import auroc

SMALL = {
    "r2gen": PhantomConfig(layout="r2gen", patients=8, height=76, width=64, seed=3),
    "ham10000": PhantomConfig(layout="ham10000", patients=12, height=60, width=80, seed=3),
    "ddsm": PhantomConfig(layout="ddsm", patients=10, height=96, width=80, seed=3),
    "fairvlmed": PhantomConfig(layout="fairvlmed", patients=12, height=64, width=80, seed=3),
}


class Written:
    """One small archive, and what its adapter says of it."""

    def __init__(self, base: Path, config: PhantomConfig) -> None:
        self.base, self.config = base, config
        self.root, self.truth_root = base / "archive", base / "truth"
        write(config, base)

    def read(self, **fields: object) -> tuple[Lake, Manifest, Catalog]:
        return read(self.config.layout, self.root, **fields)

    @property
    def truth(self) -> Truth:
        return load_truth(self.truth_root)

    def stems(self) -> set[str]:
        return {path.stem for path in self.root.rglob("*") if path.suffix in (".jpg", ".npz")}


def read(layout: str, root: Path, **fields: object) -> tuple[Lake, Manifest, Catalog]:
    """What the adapter makes of an archive."""
    lake = Lake(MemoryStore("memory://lake"), MemoryStore("memory://phi"))
    config = validate(CatalogConfig, {"adapter": layout, "root": str(root), "views": [], **fields})
    manifest = job.run(config, {}, lake, ComputeConfig())["catalog"]
    return lake, manifest, load_catalog(lake, manifest)


def write(config: PhantomConfig, base: Path) -> int:
    return write_archive(config, base / "archive", base / "reports", base / "truth")


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Written]:
    return {name: Written(tmp_path_factory.mktemp(name), config) for name, config in SMALL.items()}


def column(truth: Truth, factor: str) -> dict[str, object]:
    """Image → whether the factor is there, or its value."""
    at = truth.factors.index(factor)
    told = truth.value if KINDS[factor] == "context" else truth.present
    return dict(zip(truth.image_ids.tolist(), told[:, at].tolist(), strict=True))


@pytest.mark.parametrize("layout", SMALL)
def test_the_truth_has_its_schema_and_the_factors_of_its_layout(layout: str, archives: Mapping[str, Written]) -> None:
    written = archives[layout]
    (part,) = written.truth_root.glob("truth-*.parquet")
    table = pq.read_table(part)
    assert table.schema.equals(SCHEMA)
    assert written.truth.factors == tuple(FACTORS_OF[layout])
    assert dict(zip(table["factor"].to_pylist(), table["kind"].to_pylist(), strict=True)) == FACTORS_OF[layout]


def test_a_factor_of_two_layouts_is_of_one_kind() -> None:
    assert all(KINDS[factor] == kind for factors in FACTORS_OF.values() for factor, kind in factors.items())
    assert set(FACTORS_OF) == set(LAYOUTS)


@pytest.mark.parametrize("layout", sorted(SMALL.keys() - {"r2gen"}))
def test_masks_cover_what_is_there_and_nothing_else(layout: str, archives: Mapping[str, Written]) -> None:
    written = archives[layout]
    shape, truth = (written.config.height, written.config.width), written.truth
    shown = 0
    for factor, kind in FACTORS_OF[layout].items():
        masks = dict(load_masks(written.truth_root, factor))
        shown += len(masks)
        if kind == "context":
            assert not masks
            continue
        there = {image for image, present in column(truth, factor).items() if present == 1}
        assert set(masks) <= there
        if kind in ("finding", "attribute"):
            assert set(masks) == there
        assert all(mask.shape == shape for mask in masks.values())
    assert shown > 20


@pytest.mark.parametrize("layout", SMALL)
def test_blocks_and_a_restart_change_no_byte(
    layout: str, archives: Mapping[str, Written], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = archives[layout]
    monkeypatch.setattr(archive, "BLOCK", 3)

    def stop(done: int, _: int) -> None:
        if done >= 6:
            raise KeyboardInterrupt

    roots = [tmp_path / part for part in ("archive", "reports", "truth")]
    with pytest.raises(KeyboardInterrupt):
        write_archive(written.config, *roots, stop)
    assert not any((roots[0] / table).exists() for table in layout_of(written.config).tables)
    assert write(written.config, tmp_path) == written.config.patients - 6
    assert digests(roots[0]) == digests(written.root)
    assert write(written.config, tmp_path) == 0


def test_r2gen_has_the_films_and_reports_of_the_chest(archives: Mapping[str, Written], tmp_path: Path) -> None:
    written = archives["r2gen"]
    chest = written.config.model_copy(update={"layout": "mimic-cxr-jpg"})
    write(chest, tmp_path)
    assert {path.stem: path.read_bytes() for path in tmp_path.rglob("*.jpg")} == {
        path.stem: path.read_bytes() for path in written.root.rglob("*.jpg")
    }
    lake, manifest, catalog = written.read(labels_file=str(written.root / "mimic-cxr-2.0.0-chexpert.csv.gz"))
    assert set(catalog.image_ids) == set(written.truth.image_ids) == written.stems()
    assert (manifest.facts["groups"], manifest.facts["grouped_by"]) == (8, "patient")
    assert set(manifest.facts["left_out"].values()) == {0}
    assert "Edema" in catalog.labels
    assert np.nansum(catalog.y) > 8
    reports = load_reports(lake, manifest)
    assert len(reports) == manifest.facts["studies"]
    whole = " ".join(" ".join(path.read_text().lower().split()) for path in tmp_path.rglob("*.txt"))
    for text in reports.values():
        assert re.fullmatch(r"[a-z0-9., -]+", text)
        assert "impression" not in text
        # Every sentence stands in a report of the chest archive.
        for sentence in text.split(" . "):
            assert re.sub(r" ([.,])", r"\1", sentence.strip(" .")) in re.sub(r"[^a-z0-9., -]+", " ", whole).replace(
                "  ", " "
            )


def test_ham10000_has_lesions_with_their_pictures(archives: Mapping[str, Written]) -> None:
    written = archives["ham10000"]
    _, manifest, catalog = written.read(split="hash")
    truth = written.truth
    assert set(catalog.image_ids) == set(truth.image_ids) == written.stems()
    assert (manifest.facts["grouped_by"], manifest.facts["groups"]) == ("lesion", 12)
    assert len(catalog) > 12
    assert set(manifest.facts["left_out"].values()) == {0}
    lesions = column(truth, "lesion")
    assert len({(lesions[i], group) for i, group in zip(catalog.image_ids, catalog.groups, strict=True)}) == 12
    for name in catalog.labels:
        there = column(truth, name)
        assert [there[i] for i in catalog.image_ids] == catalog.y[:, catalog.labels.index(name)].tolist()
    for shown, factor in (("sex", "sex"), ("site", "localization")):
        told = column(truth, factor)
        assert catalog.columns[shown].tolist() == [told[i] for i in catalog.image_ids]
    assert catalog.columns["age"].tolist() == [float(str(column(truth, "age")[i])) for i in catalog.image_ids]
    with Image.open(next(written.root.rglob("*.jpg"))) as image:
        assert (image.mode, image.size) == ("RGB", (80, 60))


def test_fairvlmed_has_a_file_a_subject_and_its_notes(archives: Mapping[str, Written], tmp_path: Path) -> None:
    written = archives["fairvlmed"]
    lake, manifest, catalog = written.read(notes="summarized")
    truth = written.truth
    assert set(catalog.image_ids) == set(truth.image_ids) == written.stems()
    assert (manifest.facts["grouped_by"], manifest.facts["groups"], manifest.facts["reports"]) == ("file", 12, 12)
    assert set(manifest.facts["left_out"].values()) == {0}
    there = column(truth, "glaucoma")
    assert catalog.y[:, 0].tolist() == [there[i] for i in catalog.image_ids]
    assert 0 < catalog.y.sum() < 12
    for name in ("sex", "race", "language"):
        told = column(truth, name)
        assert catalog.columns[name].tolist() == [told[i] for i in catalog.image_ids]
    # The npz files alone say the same.
    originals = set(load_reports(*written.read(notes="original")[:2]).values())
    for path in written.root.rglob("*.npz"):
        copy = tmp_path / path.relative_to(written.root)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    lake, manifest, bare = read("fairvlmed", tmp_path, notes="original")
    assert set(load_reports(lake, manifest).values()) == originals
    ours, theirs = np.argsort(catalog.image_ids), np.argsort(bare.image_ids)
    for name, values in catalog.columns.items():
        np.testing.assert_array_equal(values[ours], bare.columns[name][theirs])
    np.testing.assert_array_equal(catalog.y[ours], bare.y[theirs])
    assert len({path.stat().st_size for path in written.root.rglob("*.npz")}) == 1
    with np.load(next(written.root.rglob("*.npz")), allow_pickle=False) as file:
        assert (file["slo_fundus"].dtype, file["slo_fundus"].shape) == (np.dtype(np.uint8), (64, 80))


def test_ddsm_has_cases_of_four_films_whose_class_is_the_cases(archives: Mapping[str, Written]) -> None:
    written = archives["ddsm"]
    lake, manifest, catalog = written.read()
    truth = written.truth
    name_of = {
        i: source.key.rpartition("/")[2].removesuffix(".jpg") for i, source in load_sources(lake, manifest).items()
    }
    assert set(name_of.values()) == set(truth.image_ids)
    assert (manifest.facts["groups"], len(catalog)) == (10, 40)
    assert set(manifest.facts["left_out"].values()) == {0}
    named, view, site = column(truth, "pathology"), column(truth, "view"), column(truth, "coarse scanner")
    for at, image_id in enumerate(catalog.image_ids.tolist()):
        name = name_of[image_id]
        assert catalog.labels[int(catalog.y[at].argmax())] == str(named[name]).partition("_")[0]
        assert (catalog.views[at], catalog.columns["pathology"][at]) == (view[name], named[name])
        assert (catalog.columns["site"][at] == "B") == (site[name] == 1)
    assert set(catalog.labels) == {str(name).partition("_")[0] for name in named.values()}


def test_ddsm_patches_and_masks_agree_with_the_truth(archives: Mapping[str, Written]) -> None:
    """No patch is called what its place does not show, and what is cancer for the most part is called so."""
    written = archives["ddsm"]
    lake, manifest, patches = written.read(ddsm={"what": "patches"})
    table = {row["image_id"]: row for row in lake.tables(manifest, "images-").to_pylist()}
    assert set(manifest.facts["left_out"].values()) == {0}
    masks = {name: dict(load_masks(written.truth_root, name)) for name in ("benign", "cancer")}
    counts = {label: 0 for label in patches.labels}
    for image_id, source in load_sources(lake, manifest).items():
        row = table[image_id]
        film = source.key.rpartition("/")[2].partition("-x")[0]
        box = tuple(slice(int(row[a]), int(row[a] + row[b])) for a, b in (("row", "height"), ("column", "width")))
        (label,) = [name for name in patches.labels if row[f"label:{name}"]]
        counts[label] += 1
        inside = {name: film in of and bool(of[film][box].any()) for name, of in masks.items()}
        assert label == "normal" or inside[label]
        if masks["cancer"].get(film) is not None and masks["cancer"][film][box].mean() > 0.5:
            assert label == "cancer"
        with Image.open(written.root / source.key) as image:
            assert image.size == (int(row["width"]), int(row["height"])) == (20, 20)
    assert min(counts.values()) > 5
    for path in (written.root / "ddsm_masks").rglob("*.png"):
        with Image.open(path) as image:
            shown = np.asarray(image, dtype=bool)
        both = [of[path.stem] for of in masks.values() if path.stem in of]
        assert np.array_equal(shown, np.logical_or.reduce(both))


def test_overlays_say_what_the_truth_says(archives: Mapping[str, Written]) -> None:
    written = archives["ddsm"]
    truth = written.truth
    overlays = {path.name.removesuffix(".OVERLAY"): path.read_text() for path in written.root.rglob("*.OVERLAY")}
    assert len(overlays) > 8
    seen = 0
    for film in truth.image_ids.tolist():
        _, _, name = film.removesuffix(".LJPEG.1").partition("-")
        text = overlays.get(name, "TOTAL_ABNORMALITIES 0")
        told = {
            factor
            for factor in truth.factors
            if factor.startswith(("mass", "calcification")) and column(truth, factor)[film] == 1
        }
        said = set[str]()
        for kind, words in re.findall(r"LESION_TYPE (\w+) (.*)", text):
            said |= {kind.lower(), *(f"{kind} {word}".lower() for word in words.split()[1::2])}
        assert said == told
        assert ("PATHOLOGY MALIGNANT" in text) == (column(truth, "cancer")[film] == 1)
        seen += len(re.findall(r"SUBTLETY [1-5]\n", text))
    assert seen == sum(text.count("ABNORMALITY ") for text in overlays.values())
    (ics,) = {path.read_text().count("LINES 96 PIXELS_PER_LINE 80") for path in written.root.rglob("*.ics")}
    assert ics == 4


def test_a_chain_code_goes_around_its_region() -> None:
    rows, columns = np.ogrid[:40, :50]
    shapes = [
        (rows - 20) ** 2 + (columns - 25) ** 2 < 150,
        (abs(rows - 20) < 3) | ((abs(columns - 10) < 2) & (rows > 5)),
        (rows == 7) & (columns > 4) & (columns < 9),
        ((rows + columns) % 7 == 0) & (rows < 7) & (columns < 8),
    ]
    for shape in shapes:
        column_, row, codes = chain(shape)
        steps = np.array([STEPS[code] for code in codes]).reshape(-1, 2)
        path = np.array([column_, row]) + np.cumsum(np.vstack([[0, 0], steps]), axis=0)
        assert (path[-1] == path[0]).all()
        assert shape[path[:, 1], path[:, 0]].all()
        drawn = Image.new("1", (50, 40))
        ImageDraw.Draw(drawn).polygon([tuple(point) for point in path.tolist()], fill=1, outline=1)
        pieces, _ = ndimage.label(shape, np.ones((3, 3)))
        assert np.array_equal(np.asarray(drawn), pieces == pieces[row, column_])


def numbers(layout: str, count: int) -> tuple[list[list[int]], dict[str, list[bool]]]:
    """The numbers in the names of many images, and what is there; nothing is painted."""
    config = PhantomConfig(layout=layout, seed=3)
    if layout == "ham10000":
        lesions = [draw_lesion(config, index) for index in range(count)]
        told = {dx: [it.diagnosis == dx for it in lesions] for dx in ("nv", "bkl")}
        names = [(it.pictures[0].image_id, it.lesion_id) for it in lesions]
        ids = [[int(image[5:]), int(image[-1]) % 2, int(lesion[4:])] for image, lesion in names]
        return ids, told
    if layout == "ddsm":
        cases = [draw_case(config, index) for index in range(count)]
        told = {"cancer": [case.pathology == "cancer" for case in cases], "dense": [case.density > 2 for case in cases]}
        return [[case.number, case.volume, "ACD".find(case.site)] for case in cases if case.site], told
    subjects = [draw_subject(config, index) for index in range(count)]
    return [[int(it.name[5:])] for it in subjects], {"glaucoma": [it.glaucoma for it in subjects]}


def tells(numbers: list[int], there: list[bool]) -> bool:
    """Whether an AUROC is more than four standard errors (of Mann and Whitney's U) from chance."""
    y = np.array(there)
    error = np.sqrt((y.size + 1) / (12 * y.sum() * (~y).sum()))
    return bool(abs(auroc(np.array(numbers, float), y) - 0.5) > 4 * error)


@pytest.mark.parametrize("layout", ["ham10000", "ddsm", "fairvlmed"])
def test_numbers_in_names_tell_nothing(layout: str) -> None:
    ids, told = numbers(layout, 600)
    if layout == "ddsm":
        # The site is the scanner, a shortcut that DDSM shows in its names: the control that this test can fail.
        assert tells([row[2] for row in ids], told["cancer"])
        ids = [row[:2] for row in ids]
    assert len({tuple(row) for row in ids}) == 600
    for there in told.values():
        for place in range(len(ids[0])):
            assert not tells([row[place] for row in ids], there)


@pytest.mark.parametrize("layout", SMALL)
def test_all_jpegs_of_one_shape_are_of_one_size(layout: str, archives: Mapping[str, Written]) -> None:
    sizes: dict[tuple[int, int], set[int]] = {}
    for path in archives[layout].root.rglob("*.jpg"):
        with Image.open(path) as image:
            sizes.setdefault(image.size, set()).add(path.stat().st_size)
    assert all(len(each) == 1 for each in sizes.values())
    assert len(sizes) == {"fairvlmed": 0, "ddsm": 2}.get(layout, 1)


def test_null_archives_have_labels_of_strangers() -> None:
    """Label and truth agree as often as two strangers do: within four standard errors."""
    for layout in ("ham10000", "ddsm", "fairvlmed"):
        config, pairs = PhantomConfig(layout=layout, seed=3, labels="random", confounds=0.0), []
        for index in range(600):
            if layout == "ham10000":
                lesion = draw_lesion(config, index)
                pairs.append((lesion.diagnosis, ham10000.label(config, lesion)))
            elif layout == "ddsm":
                case = draw_case(config, index)
                pairs.append((case.pathology, ddsm.pathology(config, case)))
            else:
                subject = draw_subject(config, index)
                pairs.append((str(subject.glaucoma), str(fairvlmed.glaucoma(config, subject))))
        true, told = (Counter(side) for side in zip(*pairs, strict=True))
        chance = sum(true[name] * told[name] for name in true) / 600**2
        agree = np.mean([one == other for one, other in pairs])
        assert abs(agree - chance) < 4 * np.sqrt(chance * (1 - chance) / 600)
        assert len(told) > 1


def test_a_shortcut_follows_its_finding_as_firmly_as_configured() -> None:
    for tie in (-0.6, 0.0, 0.6):
        on: list[bool] = []
        for index in range(500):
            subject = draw_subject(PhantomConfig(layout="fairvlmed", seed=3, shortcuts=tie), index)
            on.append(("lid shadow" in subject.seen) == subject.glaucoma)
        assert abs(np.mean(on) - (1 + tie) / 2) < 4 * np.sqrt(0.25 / 500)


def test_twins_of_other_bodies_are_refused() -> None:
    with pytest.raises(ConfigError, match="twins"):
        validate(PhantomConfig, {"layout": "ddsm", "twins": 2})


def test_notes_follow_what_is_there_and_those_of_strangers_do_not() -> None:
    for reports, firm in (("films", True), ("independent", False)):
        config = PhantomConfig(layout="fairvlmed", seed=3, reports=reports, omitted=0.0, uncertain=0.0)
        subjects = [draw_subject(config, index) for index in range(150)]
        notes = [write_note(config, subject, summarized=True) for subject in subjects]
        said = [re.search("(?<!No )notch", note) is not None for note in notes]
        denied = [re.search("No notch|rim is intact", note) is not None for note in notes]
        there = np.array(["rim notch" in it.seen for it in subjects])
        told = np.array(said) & ~np.array(denied)
        assert told[there].all() == firm
        assert bool(told[~there].any()) != firm
