"""What decoding costs and what a scaled decode changes: CPU time against Pillow's full decode, and PSNR of the square.

Films: phantom films of MIMIC-CXR-JPG's size, which are always there, and, where they are beside the project, the real
full-size films. PSNR is that of the fitted pixels against those of a full decode; time is the CPU's, of one thread, the
best of a few goes that take turns, for the machine may be busy.

make bench-decode
"""

import argparse
import io
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, features

from benchmarks import measure
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.jpeg import JPEG, jpeg_frame
from neuroconcepts_ray.imaging.load import divisor, load_pixels
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import draw_patient
from neuroconcepts_ray.phantom.films import render

OUT = Path(__file__).parent / "out"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
PSNR, RATIO = 45.0, 0.75


def phantoms(count: int) -> Iterator[tuple[str, bytes]]:
    config = PhantomConfig(patients=count, height=3056, width=2544)
    for number in range(count):
        patient = draw_patient(config, number)
        pixels = render(config, patient, patient.studies[0], patient.studies[0].films[0])[0]
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, "JPEG", quality=95)
        yield f"phantom {number}", sink.getvalue()


def real() -> Iterator[tuple[str, bytes]]:
    for number, path in enumerate(sorted((SHARED / "full_size").glob("*.jp*g"))):
        yield f"full size {number}", path.read_bytes()
    for number, path in enumerate(sorted((SHARED / "mimic_cxr_jpg").rglob("*.jpg"))[::300]):
        yield f"reduced {number}", path.read_bytes()


def pillow(data: bytes, size: int) -> np.ndarray:
    """The same square by Pillow alone."""
    image = Image.open(io.BytesIO(data)).convert("L")
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)))


def cpu_ms(ways: dict[str, Callable[[], object]], goes: int) -> dict[str, float]:
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(goes):
        for name, way in ways.items():
            began = time.process_time()
            way()
            best[name] = min(best[name], 1e3 * (time.process_time() - began))
    return best


def psnr(a: np.ndarray, b: np.ndarray) -> float | None:
    """In dB; None where nothing differs."""
    mse = float(np.mean((a.astype(np.float64) - b) ** 2))
    return None if mse == 0 else 10 * float(np.log10(255**2 / mse))


def one(name: str, data: bytes, size: int, margins: list[float], goes: int) -> dict[str, Any]:
    frame = jpeg_frame(data) if data.startswith(JPEG) else None
    configs = {margin: PixelConfig(size=size, jpeg_margin=margin) for margin in margins}
    ways: dict[str, Callable[[], object]] = {"pillow": lambda: pillow(data, size)}
    ways |= {str(margin): lambda config=config: load_pixels(data, config) for margin, config in configs.items()}
    spent = cpu_ms(ways, goes)
    full = load_pixels(data, PixelConfig(size=size, jpeg_margin=0))
    row: dict[str, Any] = {"film": name, "width": 0, "height": 0, "components": 0, "pillow_ms": spent["pillow"]}
    if frame is not None:
        row |= {"width": frame.width, "height": frame.height, "components": frame.components}
    for margin, config in configs.items():
        row[f"margin {margin:g}"] = {
            "divisor": divisor(config, frame.width, frame.height) if frame else 1,
            "psnr_db": psnr(load_pixels(data, config), full),
            "ms": spent[str(margin)],
            "ratio": spent[str(margin)] / spent["pillow"],
        }
    return row


def show(rows: list[dict[str, Any]], size: int, margins: list[float]) -> None:
    print(f"\nSquare of {size} pixels; each cell: 1/divisor, PSNR in dB, CPU time over Pillow's full decode")
    print("| film | pixels | Pillow ms | " + " | ".join(f"margin {margin:g}" for margin in margins) + " |")
    print("|---|---|---|" + "---|" * len(margins))
    for row in rows:
        cells = []
        for margin in margins:
            cell = row[f"margin {margin:g}"]
            level = "equal" if cell["psnr_db"] is None else f"{cell['psnr_db']:.1f} dB"
            cells.append(f"1/{cell['divisor']}, {level}, {cell['ratio']:.2f}")
        pixels = f"{row['width']}×{row['height']}×{row['components']}"
        print(f"| {row['film']} | {pixels} | {row['pillow_ms']:.1f} | " + " | ".join(cells) + " |")
    for margin in margins:
        cells = [row[f"margin {margin:g}"] for row in rows]
        changed = [cell for cell in cells if cell["psnr_db"] is not None]
        if changed:
            ratios = [cell["ratio"] for cell in changed]
            print(
                f"margin {margin:g}: {len(changed)} of {len(cells)} films not decoded in full, "
                f"at least {min(cell['psnr_db'] for cell in changed):.1f} dB (bound {PSNR:g}), "
                f"ratio median {np.median(ratios):.2f}, most {max(ratios):.2f} (bound {RATIO:g})"
            )


MARGINS = [0.0, 1.0, 2.0, 4.0]


def measured(count: int = 4, goes: int = 5, squares: tuple[int, ...] = (224, 512)) -> dict[str, Any]:
    """All films at all margins, by the side of the square."""
    films = list(phantoms(count))
    if SHARED.is_dir():
        films += real()
    return {
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load": measure.load()},
        "pillow": PIL.__version__,
        "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
        "bounds": {"psnr_db": PSNR, "ratio": RATIO},
        "squares": {str(size): [one(name, data, size, MARGINS, goes) for name, data in films] for size in squares},
    }


def asked_for(result: dict[str, Any]) -> dict[str, float | None]:
    """Of the default margin and network: the dearest film of 2544×3056, and the real film that changes most.

    Where no real films are there, the phantom's speak for them. A film that is decoded in full does not change.
    """
    rows, margin = result["squares"]["224"], f"margin {PixelConfig().jpeg_margin:g}"
    real_ones = [row for row in rows if not row["film"].startswith("phantom")] or rows
    changed = [row[margin]["psnr_db"] for row in real_ones if row[margin]["psnr_db"] is not None]
    large = [row[margin]["ratio"] for row in rows if (row["width"], row["height"]) == (2544, 3056)]
    return {"decode_share": max(large), "decode_psnr_db": min(changed, default=None)}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--phantoms", type=int, default=4)
    options.add_argument("--goes", type=int, default=5)
    asked = options.parse_args()
    result = measured(asked.phantoms, asked.goes)
    for size, rows in result["squares"].items():
        show(rows, int(size), MARGINS)
    OUT.mkdir(exist_ok=True)
    (OUT / "decode.json").write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
