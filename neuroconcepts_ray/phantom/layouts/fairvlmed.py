"""Harvard-FairVLMed: ``Training|Validation|Test/data_XXXXX.npz``, data_summary.csv and two tables of notes."""

import io
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import generator
from neuroconcepts_ray.phantom.eye_notes import write_note
from neuroconcepts_ray.phantom.eyes import (
    DUST,
    ETHNICITIES,
    GLAUCOMA,
    LANGUAGES,
    PRESSURE,
    SHADOW,
    SIGNS,
    SILENT,
    Subject,
    draw_subject,
    eye_world,
)
from neuroconcepts_ray.phantom.fundus import render_fundus
from neuroconcepts_ray.phantom.layouts.base import Layout, csv_bytes
from neuroconcepts_ray.phantom.shelf import Shelf
from neuroconcepts_ray.phantom.truth import FUNDUS_FACTORS, Told, told_rows
from neuroconcepts_ray.phantom.world import RACES

SUMMARY, SUMMARIZED, ORIGINAL = "data_summary.csv", "gpt-4_summarized_notes.csv", "original_notes.csv"
FOLDERS = {"train": "Training", "validate": "Validation", "test": "Test"}
NOTE_LENGTH = 1200
"""Characters that a file keeps for its note, so that no file's size tells how long it is."""

_COLUMNS = ("filename", "age", "gender", "race", "ethnicity", "language", "maritalstatus", "glaucoma", "use")


def glaucoma(config: PhantomConfig, subject: Subject) -> bool:
    """What the tables say: in a null archive a coin as loaded as the world's."""
    if config.labels == "reports":
        return subject.glaucoma
    return bool(generator(config, "null", subject.index).random() < eye_world(config.seed).prevalence)


def _npz(config: PhantomConfig, subject: Subject, image: UInt8[np.ndarray, "h w"]) -> bytes:
    ethnicity = ETHNICITIES.index(subject.ethnicity) if subject.ethnicity in ETHNICITIES else -1
    note = np.array(write_note(config, subject, summarized=False), dtype=f"<U{NOTE_LENGTH}")
    buffer = io.BytesIO()
    # Nothing is compressed, and the members' time in the zip is the format's zero: all files are alike but for values.
    np.savez(
        buffer,
        slo_fundus=image,
        age=np.float64(subject.age),
        gender=np.int64(("female", "male").index(subject.sex)),
        race=np.int64(RACES.index(subject.race)),
        ethnicity=np.int64(ethnicity),
        language=np.int64(LANGUAGES.index(subject.language)),
        maritalstatus=np.int64(-1),
        glaucoma=np.int64(glaucoma(config, subject)),
        note=note,
    )
    return buffer.getvalue()


def _told(subject: Subject) -> dict[str, Told]:
    told = {name: Told(present=name in subject.seen) for name in (*SIGNS, *SILENT, PRESSURE, SHADOW, DUST)}
    for name in ("rim notch", "nerve fibre defect"):
        if name in subject.seen:
            told[name] = Told(present=True, zone=subject.zone)
    told[GLAUCOMA] = Told(present=subject.glaucoma, size=subject.cup if subject.glaucoma else None)
    context = {"cup-to-disc": f"{subject.cup:.3f}", "eye": subject.side, "age": str(subject.age), "sex": subject.sex,
               "race": subject.race, "ethnicity": subject.ethnicity, "language": subject.language}  # fmt: skip
    return told | {name: Told(value=value) for name, value in context.items()}


def put_subject(config: PhantomConfig, index: int, shelf: Shelf) -> Iterator[dict[str, object]]:
    """Put the file of one subject on the shelf; yields the rows of its truth."""
    subject = draw_subject(config, index)
    image, masks = render_fundus(config, subject)
    shelf.put(f"{FOLDERS[subject.split]}/{subject.name}.npz", _npz(config, subject, image))
    yield from told_rows(subject.name, index, FUNDUS_FACTORS, _told(subject), masks)


def closing(config: PhantomConfig) -> Iterator[tuple[str, bytes]]:
    """The summary, and the notes as they were written and as a machine summarised them."""
    rows, notes = (
        list[tuple[object, ...]](),
        {SUMMARIZED: list[tuple[object, ...]](), ORIGINAL: list[tuple[object, ...]]()},
    )
    for index in range(config.first, config.first + config.patients):
        subject = draw_subject(config, index)
        name, words = f"{subject.name}.npz", (subject.sex, subject.race, subject.ethnicity, subject.language, "unknown")
        told = ("no", "yes")[glaucoma(config, subject)]
        rows.append(
            (name, f"{subject.age:.1f}", *(word.title() for word in words), told, FOLDERS[subject.split].lower())
        )
        for table, texts in notes.items():
            text = write_note(config, subject, summarized=table == SUMMARIZED)
            texts.append((name, len(text), text))
    yield SUMMARY, csv_bytes(_COLUMNS, rows)
    for table, texts in notes.items():
        yield table, csv_bytes(("file", "length", "note"), texts)


LAYOUT = Layout((SUMMARY, SUMMARIZED, ORIGINAL), put_subject, closing)
