"""HAM10000: ``HAM10000_images_part_{1,2}/ISIC_*.jpg`` and HAM10000_metadata.csv. A patient is a lesion."""

from collections.abc import Iterator

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import generator
from neuroconcepts_ray.phantom.jpeg import encode
from neuroconcepts_ray.phantom.layouts.base import Layout, csv_bytes
from neuroconcepts_ray.phantom.lesions import (
    ARTEFACTS,
    DIAGNOSES,
    RULER,
    STRUCTURES,
    Lesion,
    Picture,
    draw_diagnosis,
    draw_lesion,
    skin_world,
)
from neuroconcepts_ray.phantom.shelf import Shelf
from neuroconcepts_ray.phantom.skin import render_lesion
from neuroconcepts_ray.phantom.truth import SKIN_FACTORS, Told, told_rows

METADATA = "HAM10000_metadata.csv"
_COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")


def image_key(picture: Picture) -> str:
    """Where a picture lies; the last digit of its random name chooses the folder."""
    return f"HAM10000_images_part_{1 + int(picture.image_id[-1]) % 2}/{picture.image_id}.jpg"


def _told(lesion: Lesion, picture: Picture) -> dict[str, Told]:
    told = {name: Told(present=name == lesion.diagnosis) for name in DIAGNOSES}
    told[lesion.diagnosis] = Told(present=True, severity=lesion.darkness, size=lesion.size)
    told |= {name: Told(present=name in lesion.structures) for name in STRUCTURES}
    told |= {name: Told(present=name in picture.artefacts) for name in (RULER, *ARTEFACTS)}
    context = {"lesion": lesion.lesion_id, "age": str(lesion.age), "sex": lesion.sex, "localization": lesion.place}
    return told | {name: Told(value=value) for name, value in (context | {"tone": lesion.tone}).items()}


def put_lesion(config: PhantomConfig, index: int, shelf: Shelf) -> Iterator[dict[str, object]]:
    """Put the pictures of one lesion on the shelf; yields the rows of their truth."""
    lesion = draw_lesion(config, index)
    for picture in lesion.pictures:
        image, masks = render_lesion(config, lesion, picture)
        shelf.put(image_key(picture), encode(image, config.quality, (index, picture.number)))
        yield from told_rows(picture.image_id, lesion.index, SKIN_FACTORS, _told(lesion, picture), masks)


def label(config: PhantomConfig, lesion: Lesion) -> str:
    """What the metadata call a lesion: in a null archive another one's diagnosis."""
    if config.labels == "reports":
        return lesion.diagnosis
    return draw_diagnosis(generator(config, "null", lesion.index), skin_world(config.seed))


def closing(config: PhantomConfig) -> Iterator[tuple[str, bytes]]:
    """The metadata, ordered by image as published: neighbours have nothing in common."""
    rows: list[tuple[str, ...]] = []
    for index in range(config.first, config.first + config.patients):
        lesion = draw_lesion(config, index)
        told = (label(config, lesion), lesion.confirmed, f"{lesion.age:.1f}", lesion.sex, lesion.place)
        rows += [(lesion.lesion_id, picture.image_id, *told) for picture in lesion.pictures]
    rows.sort(key=lambda row: row[1])
    yield METADATA, csv_bytes(_COLUMNS, rows)


LAYOUT = Layout((METADATA,), put_lesion, closing)
