"""The layouts by name."""

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.layouts import ddsm, fairvlmed, ham10000, mimic, r2gen
from neuroconcepts_ray.phantom.layouts.base import Layout

LAYOUTS: dict[str, Layout] = {
    "mimic-cxr-jpg": mimic.LAYOUT,
    "ddsm": ddsm.LAYOUT,
    "ham10000": ham10000.LAYOUT,
    "fairvlmed": fairvlmed.LAYOUT,
    "r2gen": r2gen.LAYOUT,
}


def layout_of(config: PhantomConfig) -> Layout:
    """How the config's archive is laid out."""
    return LAYOUTS[config.layout]
