"""Archives for `make bench-mining`: many small films to be packed, and films of MIMIC-CXR's size.

Speed does not depend on what a film shows, but on how it compresses. So a few phantom films are drawn, and all others
are windows of them (small), or they themselves with a number in a comment (large), each file with bytes of its own.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import draw_patient
from neuroconcepts_ray.phantom.films import render

SIDE = 256
"""Side of a small film."""


def _drawn(count: int, height: int, width: int) -> list[np.ndarray]:
    config = PhantomConfig(patients=count, height=height, width=width)
    patients = [draw_patient(config, number) for number in range(count)]
    return [render(config, p, p.studies[0], p.studies[0].films[0])[0] for p in patients]


def _small(count: int) -> Iterator[bytes]:
    films = _drawn(8, 512, 448)
    rng = np.random.default_rng(0)
    for number in range(count):
        film = films[number % len(films)]
        top, left = (int(rng.integers(side - SIDE)) for side in film.shape)
        window = film[top : top + SIDE, left : left + SIDE]
        noise = rng.integers(-4, 5, window.shape, dtype=np.int16)
        sink = io.BytesIO()
        Image.fromarray(np.clip(window + noise, 0, 255).astype(np.uint8)).save(sink, "JPEG", quality=90)
        yield sink.getvalue()


def _large(count: int) -> Iterator[bytes]:
    drawn = []
    for film in _drawn(min(count, 8), 3056, 2544):
        sink = io.BytesIO()
        Image.fromarray(film).save(sink, "JPEG", quality=95)
        drawn.append(sink.getvalue())
    for number in range(count):
        data = drawn[number % len(drawn)]
        text = f"{number:08d}".encode()
        # A COM segment after SOI (ITU T.81 §B.2.4.5): other bytes, the same pixels.
        yield data[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[2:]


def write(root: Path, size: str, count: int) -> None:
    """Write films and their table, where they are not there yet.

    Args:
        root: The archive's root.
        size: ``small`` (256², grey) or ``large`` (3056×2544, grey, quality 95).
        count: How many films.
    """
    table = root / "films.csv"
    if table.exists() and len(table.read_text().splitlines()) == count + 1:
        return
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, data in enumerate(_small(count) if size == "small" else _large(count)):
        name = f"f{number // 1000:03d}/i{number:06d}.jpg"
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(data)
        rows.append((name, f"i{number:06d}", f"p{number // 4}", number % 2))
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("path", "image_id", "patient", "Finding"), *rows])
