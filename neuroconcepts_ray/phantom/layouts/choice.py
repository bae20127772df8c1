"""The layouts by name."""

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.layouts import mimic
from neuroconcepts_ray.phantom.layouts.base import Layout

LAYOUTS: dict[str, Layout] = {"mimic-cxr-jpg": mimic.LAYOUT}


def layout_of(config: PhantomConfig) -> Layout:
    """How the config's archive is laid out."""
    return LAYOUTS[config.layout]
