"""How things look in one world: the measures by which shapes and textures of a seed differ from another seed's.

Every range is narrow enough that each finding can be seen in every world, and wide enough that a detector made for
one world's shapes is not made for the next one's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

import numpy as np


def _between(low: float, high: float) -> Any:
    """A field of :class:`Look` that is drawn evenly between two bounds."""
    return field(metadata={"bounds": (low, high)})


@dataclass(frozen=True)
class Look:
    """The measures of one world; lengths are in halves of the film's short side, the rest is without unit."""

    # The chest.
    lung_dark: float = _between(0.37, 0.43)
    rib_gap: float = _between(0.90, 1.12)
    rib_width: float = _between(0.044, 0.060)
    rib_curve: float = _between(0.40, 0.70)
    vessel_width: float = _between(0.85, 1.20)
    vessel_fork: float = _between(0.45, 0.75)
    mottle: float = _between(0.13, 0.19)
    haze: float = _between(0.7, 1.1)
    # Findings.
    patch_rim: float = _between(0.09, 0.13)
    patch_ragged: float = _between(0.17, 0.27)
    patch_clouds: float = _between(0.046, 0.066)
    bronchi: float = _between(0.085, 0.115)
    bronchi_dark: float = _between(0.14, 0.19)
    net_cell: float = _between(0.075, 0.098)
    net_second: float = _between(0.68, 0.85)
    net_width: float = _between(0.48, 0.60)
    bands: float = _between(2.0, 4.0)
    band_width: float = _between(0.046, 0.058)
    band_tilt: float = _between(0.3, 0.6)
    nodules: float = _between(2.0, 4.0)
    nodule_stretch: float = _between(1.05, 1.25)
    spicules: float = _between(8.0, 13.0)
    spicule_reach: float = _between(0.9, 1.3)
    fluid_climb: float = _between(0.19, 0.31)
    fluid_power: float = _between(2.5, 3.5)
    air_wave: float = _between(0.015, 0.03)
    air_line: float = _between(0.022, 0.028)
    plaque_lump: float = _between(0.08, 0.13)
    plaque_ragged: float = _between(0.25, 0.45)
    plaque_chalk: float = _between(0.05, 0.07)
    bulge_tall: float = _between(0.36, 0.48)
    bulge_wave: float = _between(0.006, 0.018)
    # Devices.
    device_width: float = _between(0.92, 1.20)
    case_corner: float = _between(2.0, 6.0)
    case_tall: float = _between(0.75, 1.1)
    # What no report tells.
    spine_bends: float = _between(0.8, 1.6)
    calcium_width: float = _between(0.036, 0.046)
    calcium_arc: float = _between(1.6, 2.6)
    hernia_stretch: float = _between(0.8, 1.25)
    # Artefacts.
    box_room: float = _between(1.5, 3.0)
    drain_turn: float = _between(-0.35, 0.35)
    drain_width: float = _between(0.028, 0.036)
    grain_period: float = _between(0.065, 0.095)
    grain_turn: float = _between(0.0, 3.14)
    grain_second: float = _between(0.0, 0.4)
    border_form: float = _between(0.0, 3.0)
    border_cut: float = _between(0.24, 0.40)
    letters: float = _between(0.9, 1.2)


@lru_cache(maxsize=8)
def draw_look(seed: int) -> Look:
    """The look of a world.

    Args:
        seed: ``World.looks``.
    """
    rng = np.random.default_rng([seed, 1])
    uniform: Callable[[float, float], float] = rng.uniform
    return Look(**{part.name: float(uniform(*part.metadata["bounds"])) for part in fields(Look)})
