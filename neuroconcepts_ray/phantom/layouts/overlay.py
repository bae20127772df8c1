"""DDSM's own files about a case: .ics, and for each film with an abnormality .OVERLAY with chain-coded outlines."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.mammograms import MASS, VIEWS, Abnormality, Case

STEPS = ((0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1))
"""(columns, rows) of the codes 0 to 7: upwards, then clockwise, as DDSM defines them."""


def chain(region: Bool[np.ndarray, "h w"]) -> tuple[int, int, list[int]]:
    """The outline of the largest piece of a region, by Moore's neighbour tracing.

    Returns:
        Column and row of the first pixel, and the codes of the steps around, back to it; none of a single pixel.
    """
    pieces, count = ndimage.label(region, np.ones((3, 3)))
    if count == 0:
        raise ValueError("an empty region has no outline")
    piece = np.pad(pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:])), 1)
    row, column = (int(x) for x in np.argwhere(piece)[0])
    start, at, codes = (column, row), (column, row), list[int]()
    # The first pixel of the first row: what lies above and left of it is outside.
    back = 7
    while True:
        for turn in range(1, 9):
            code = (back + turn) % 8
            step = (at[0] + STEPS[code][0], at[1] + STEPS[code][1])
            if piece[step[1], step[0]]:
                break
        else:
            return start[0] - 1, start[1] - 1, []
        # Back at the start and about to repeat the first step: the outline is closed.
        if at == start and codes and code == codes[0]:
            return start[0] - 1, start[1] - 1, codes
        codes.append(code)
        at, back = step, (code + 4) % 8


def overlay(shown: Sequence[tuple[Abnormality, Bool[np.ndarray, "h w"]]]) -> str:
    """The .OVERLAY of one film."""
    lines = [f"TOTAL_ABNORMALITIES {len(shown)}"]
    for number, (found, region) in enumerate(shown, start=1):
        first, second = found.words.values()
        words = f"SHAPE {first} MARGINS {second}" if found.kind == MASS else f"TYPE {first} DISTRIBUTION {second}"
        column, row, codes = chain(region)
        lines += [
            f"ABNORMALITY {number}",
            f"LESION_TYPE {found.kind} {words}",
            f"ASSESSMENT {found.assessment}",
            f"SUBTLETY {found.subtlety}",
            f"PATHOLOGY {'MALIGNANT' if found.malignant else 'BENIGN'}",
            "TOTAL_OUTLINES 1",
            "BOUNDARY",
            " ".join(map(str, (column, row, *codes))) + " #",
        ]
    return "\n".join(lines) + "\n"


def ics(config: PhantomConfig, case: Case) -> str:
    """The .ics of one case: age, density, digitiser, and the size of each film."""
    scanner = "HOWTEK" if case.site == "B" else "LUMISYS LASER"
    lines = [
        "ics_version 1.0",
        f"filename {case.site}-{case.number:04d}-1",
        f"PATIENT_AGE {case.age}",
        "FILM",
        "FILM_TYPE REGULAR",
        f"DENSITY {case.density}",
        f"DIGITIZER {scanner}",
        "SEQUENCE",
    ]
    for view in VIEWS:
        told = "OVERLAY" if case.shown(view) else "NON_OVERLAY"
        size = f"LINES {config.height} PIXELS_PER_LINE {config.width} BITS_PER_PIXEL 8"
        lines.append(f"{view} {size} RESOLUTION 50 {told}")
    return "\n".join(lines) + "\n"
