"""DDSM as DeepMiner converted it: films, patches, lists and masks; and DDSM's own .ics and .OVERLAY below ``cases``.

A patient is a case of four films. In a patch's name x is the row and y the column.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool

from neuroconcepts_ray.phantom.breast import Breast, lay_breast, region, render_mammogram
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import generator
from neuroconcepts_ray.phantom.jpeg import encode
from neuroconcepts_ray.phantom.layouts.base import Layout
from neuroconcepts_ray.phantom.layouts.overlay import ics, overlay
from neuroconcepts_ray.phantom.mammograms import (
    MASS,
    SCANNER,
    SCRATCH,
    SILENT,
    VIEWS,
    WORDS,
    Abnormality,
    Case,
    breast_world,
    draw_case,
    draw_pathology,
)
from neuroconcepts_ray.phantom.shelf import Shelf
from neuroconcepts_ray.phantom.truth import BREAST_FACTORS, Told, png, told_rows

PARTS = ("train", "val", "test")
FRACTION, OVERLAP = 0.25, 0.3
"""A patch's side as a share of the film's shorter one; the share of an abnormality, or of the patch, that makes the
patch that abnormality's."""

FOLDERS = {"cancer": "cancers", "benign": "benigns", "benign_without_callback": "benign_without_callbacks"}
CASES = {"normal": "normals"} | FOLDERS
Shown = list[tuple[Abnormality, Bool[np.ndarray, "h w"]]]


def pathology(config: PhantomConfig, case: Case) -> str:
    """What names and folders call a case: in a null archive another one's pathology."""
    if config.labels == "reports":
        return case.pathology
    return draw_pathology(generator(config, "null", case.index), breast_world(config.seed), 0.0)


def film_name(config: PhantomConfig, case: Case, view: str) -> str:
    """``cancer_09-B_3134_1.RIGHT_MLO.LJPEG.1``."""
    return f"{pathology(config, case)}_{case.volume:02d}-{case.site}_{case.number:04d}_1.{view}.LJPEG.1"


def patches(breast: Breast, shown: Shown) -> Iterator[tuple[int, int, int, int]]:
    """Row, column, side and class (0 normal, 1 benign, 2 cancer) of each patch that is at least half breast."""
    rows, columns = breast.tissue.shape
    side = max(8, round(FRACTION * min(rows, columns)))
    for row in range(0, rows - side + 1, side // 2):
        for column in range(0, columns - side + 1, side // 2):
            box = (slice(row, row + side), slice(column, column + side))
            if breast.tissue[box].mean() < 0.5:
                continue
            here = [
                1 + found.malignant
                for found, outline in shown
                if (inner := int(outline[box].sum())) >= OVERLAP * min(side * side, max(1, int(outline.sum())))
                and inner > 0
            ]
            yield row, column, side, max(here, default=0)


def patch_key(config: PhantomConfig, case: Case, view: str, row: int, column: int, side: int) -> str:
    """A patch's path below ``ddsm_patches``: folders of 20 cases, by their number, which tells nothing."""
    place = f"x{row}_y{column}_w{side}_h{side}_imgfrac{FRACTION}_stridefrac0.5"
    return f"{case.index // 20}/{film_name(config, case, view)}-{place}.jpg"


def _told(case: Case, view: str, shown: Shown) -> dict[str, Told]:
    told: dict[str, Told] = {}
    for name, malignant in (("benign", False), ("cancer", True)):
        here = [found for found, _ in shown if found.malignant == malignant]
        most = max(here, key=lambda found: found.contrast, default=None)
        told[name] = Told(present=bool(here))
        if most is not None:
            told[name] = Told(True, None, most.side.lower(), None, most.contrast, most.size)
    for kind, names in (("mass", ("shape", "margin")), ("calcification", ("type", "distribution"))):
        here = [found for found, _ in shown if (found.kind == MASS) == (kind == "mass")]
        told[kind] = Told(present=bool(here))
        said = {word for found in here for word in found.words.values()}
        for name in names:
            # Without a mass the question about its margin has no sense.
            told |= {f"{kind} {word.lower()}": Told(present=word in said if here else None) for word in WORDS[name]}
    seen = {SILENT[0]: case.arterial, SILENT[1]: view.endswith("MLO") and view.partition("_")[0] in case.nodes}
    seen |= {SCANNER: case.site == "B", SCRATCH: view in case.scratched}
    context = {"case": f"{case.site}_{case.number:04d}", "pathology": case.pathology, "view": view,
               "density": str(case.density), "age": str(case.age)}  # fmt: skip
    told |= {name: Told(present=there) for name, there in seen.items()}
    return told | {name: Told(value=value) for name, value in context.items()}


def _masks(shown: Shown) -> dict[str, Bool[np.ndarray, "h w"]]:
    """Factor → the regions of all abnormalities that show it."""
    masks: dict[str, Bool[np.ndarray, "h w"]] = {}
    for found, outline in shown:
        kind = found.kind.lower()
        names = ["cancer" if found.malignant else "benign", kind]
        for name in names + [f"{kind} {word.lower()}" for word in found.words.values()]:
            masks[name] = masks[name] | outline if name in masks else outline
    return masks


def put_case(config: PhantomConfig, index: int, shelf: Shelf) -> Iterator[dict[str, object]]:
    """Put one case on the shelf: films, patches, masks, .ics and .OVERLAY; yields the rows of its truth."""
    case = draw_case(config, index)
    named = pathology(config, case)
    stem = f"{named.partition('_')[0]}_{case.volume:02d}"
    folder = f"cases/{CASES[named]}/{stem}/case{case.number:04d}"
    shelf.put(f"{folder}/{case.site}-{case.number:04d}-1.ics", ics(config, case).encode())
    for number, view in enumerate(VIEWS):
        name = film_name(config, case, view)
        image, masks, shown = render_mammogram(config, case, view)
        shelf.put(f"ddsm_raw/{name}.jpg", encode(image, config.quality, (index, number)))
        for row, column, side, _ in patches(lay_breast(config, case, view), shown):
            patch = np.ascontiguousarray(image[row : row + side, column : column + side])
            key = patch_key(config, case, view, row, column, side)
            shelf.put(f"ddsm_patches/{key}", encode(patch, config.quality, (index, number, row, column)))
        if shown:
            shelf.put(f"{folder}/{case.site}_{case.number:04d}_1.{view}.OVERLAY", overlay(shown).encode())
        if shown and named in FOLDERS:
            whole = np.logical_or.reduce([outline for _, outline in shown])
            shelf.put(f"ddsm_masks/3class/{FOLDERS[named]}/{name}.png", png(whole))
        yield from told_rows(name, index, BREAST_FACTORS, _told(case, view, shown), masks | _masks(shown))


def closing(config: PhantomConfig) -> Iterator[tuple[str, bytes]]:
    """The lists of films, and those of patches with their classes; in a null archive the classes are drawn."""
    films: dict[str, list[str]] = {part: [] for part in PARTS}
    lists: dict[str, list[str]] = {part: [] for part in PARTS}
    for index in range(config.first, config.first + config.patients):
        case = draw_case(config, index)
        coin = generator(config, "null", index, 1)
        named = ("normal", "benign", "cancer").index(pathology(config, case).partition("_")[0])
        for view in VIEWS:
            films[case.split].append(f"{film_name(config, case, view)}.jpg")
            breast = lay_breast(config, case, view)
            shown = [(found, region(breast, view, found)) for found in case.shown(view)]
            for row, column, side, truth in patches(breast, shown):
                told = truth if config.labels == "reports" else named * int(coin.random() < 0.1)
                lists[case.split].append(f"images/{patch_key(config, case, view, row, column, side)} {told}")
    for part in PARTS:
        yield f"ddsm_raw_image_lists/{part}.txt", "".join(f"{line}\n" for line in films[part]).encode()
        yield f"ddsm_labels/3class/{part}.txt", "".join(f"{line}\n" for line in lists[part]).encode()


LAYOUT = Layout(
    tuple(f"{folder}/{part}.txt" for part in PARTS for folder in ("ddsm_raw_image_lists", "ddsm_labels/3class")),
    put_case,
    closing,
)
