"""A folder of junk costs little memory and gives a cause each, in a process of its own that is watched."""

import io
import json
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import uid

from neuroconcepts_ray.imaging.undecodable import CAUSES

from .dicoms import film
from .test_decode import chunk, jpeg_of_size
from .test_formats import claims, tiff

WATCH = """
import json, resource, sys
from pathlib import Path
from neuroconcepts_ray.imaging import bounds
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.decode import Undecodable
from neuroconcepts_ray.imaging.load import load_pixels
bounds.MAX_BYTES = 1 << 24  # so that the test need not make bombs of gigabytes
files = sorted(Path(sys.argv[1]).iterdir())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
causes = {}
for file in files:
    try:
        load_pixels(file.read_bytes(), PixelConfig(size=32))
        causes[file.name] = "decoded"
    except Undecodable as bad:
        causes[file.name] = bad.cause
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([causes, grown]))
"""


def encoded(form: str, image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form)
    return sink.getvalue()


def png_of_size(side: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))


def zip_of_zeros(mebibytes: int) -> bytes:
    """Nothing like an array, though it is called one, and inflates by a thousand."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("slo_fundus.npy", "w") as member:
        for _ in range(mebibytes):
            member.write(bytes(1 << 20))
    return sink.getvalue()


def deflated_zeros(mebibytes: int) -> bytes:
    whole = film(syntax=uid.DeflatedExplicitVRLittleEndian)
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = b"".join(engine.compress(bytes(1 << 20)) for _ in range(mebibytes)) + engine.flush()
    return whole[: 144 + int.from_bytes(whole[140:144], "little")] + body


GREY = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
FILM = encoded("JPEG", Image.fromarray(GREY))


def junk() -> dict[str, tuple[str, bytes]]:
    """Cause and bytes by name."""
    return {
        "empty.jpg": ("empty file", b""),
        "truncated.jpg": ("truncated", FILM[: len(FILM) // 2]),
        "text.jpg": ("not an image", b"Dear colleague, the film is on its way.\n" * 99),
        "page.jpg": ("not an image", b"<!DOCTYPE html><html><body>404</body></html>"),
        "bomb.png": ("too many pixels", png_of_size(65_535)),
        "bomb.jpg": ("too many pixels", jpeg_of_size(65_535, 65_535)),
        "bomb.tif": ("too many pixels", tiff(65_535, 65_535, 8, b"")),
        "bomb.pgm": ("too many pixels", b"P5 65535 65535 255 "),
        "bomb.dcm": ("too many pixels", film(GREY, Rows=65_535, Columns=65_535)),
        "four gigabytes.npz": ("too many pixels", claims((1 << 16, 1 << 16))),
        "four gigabytes of tile.tif": ("too many pixels", tiff(64, 64, 8, b"", t322=[1 << 16], t323=[1 << 16])),
        "zeros.npz": ("damaged", zip_of_zeros(80)),
        "office.npz": ("no array that is an image", zip_of_zeros(1).replace(b"slo_fundus.npy", b"slo_fundus.xml")),
        "zeros.dcm": ("too many bytes", deflated_zeros(80)),
        "film.txt": ("decoded", FILM),
        "noise.dcm": ("DICOM without transfer syntax", bytes(128) + b"DICM" + np.random.default_rng(0).bytes(4096)),
    }


def test_junk_costs_little_memory_and_gives_a_cause_each(tmp_path: Path) -> None:
    expected = {name: cause for name, (cause, _) in junk().items()}
    assert set(expected.values()) <= CAUSES | {"decoded"}
    for name, (_, data) in junk().items():
        (tmp_path / name).write_bytes(data)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", WATCH, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (100, 100)),
    )
    assert ended.returncode == 0, ended.stderr
    causes, grown_kb = json.loads(ended.stdout)
    assert causes == expected
    assert grown_kb < 60_000  # where a decoder that believed its file would have taken 80 MiB to 4 GiB
    assert ended.stderr == ""
