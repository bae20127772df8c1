"""The FVU–L0–dead curve of a sweep: its members in a grid, its rows, and what to be warned of."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from neuroconcepts_ray.config import StrictModel, validate
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.sae.config import SAEConfig

OVERFIT = 1.5
"""An SAE that leaves this many times as much unexplained on held-out images as on its own is said to overfit."""


class _Section(StrictModel):
    """The section of a pipeline's file, so that an error names a field as that file does: sae.k."""

    sae: SAEConfig


_COMMA = re.compile(r",(?![^\[]*\])")
"""A comma that is not within brackets."""


def _typed(axis: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError("not a value of a sweep", value=value, limit="as YAML has it", where=axis) from error


def grid(config: SAEConfig, axes: Sequence[str]) -> list[tuple[dict[str, str], SAEConfig]]:
    """The cartesian product of axes, each as ``field=a,b,c``; a value may be a list in brackets.

    Args:
        config: What the members share.
        axes: One string an axis.

    Returns:
        What each member sets, and its config.

    Raises:
        ConfigError: Not of that form, an unknown field, a field or a value twice, or a value that the field refuses.
    """
    chosen: dict[str, list[str]] = {}
    for axis in axes:
        name, _, values = axis.partition("=")
        listed = [value.strip() for value in _COMMA.split(values) if value.strip()]
        if name not in SAEConfig.model_fields or name in chosen or not listed or len(set(listed)) < len(listed):
            raise ConfigError(
                "not an axis of a sweep",
                value=axis,
                limit="field=value,value,… with a field of section sae, each field and value once",
                where="--sweep",
            )
        chosen[name] = listed
    members = []
    for point in itertools.product(*chosen.values()):
        told = dict(zip(chosen, point, strict=True))
        typed = {name: _typed(f"--sweep {name}", value) for name, value in told.items()}
        members.append((told, validate(_Section, {"sae": config.model_dump(mode="json") | typed}).sae))
    return members


def warnings(select: Mapping[str, Any]) -> list[str]:
    """What the figures of one SAE warn of, in plain words with a remedy.

    Args:
        select: The facts measured on role select.
    """
    found = []
    if select["fvu"] > select["pca_fvu"]:
        found.append(
            f"explains less than PCA with as many components (FVU {select['fvu']:.3f} against "
            f"{select['pca_fvu']:.3f}): give more images, or lower sae.expansion or sae.k"
        )
    if select.get("random_fvu") is not None and select["fvu"] > select["random_fvu"]:
        found.append(
            f"explains less than a random dictionary (FVU {select['random_fvu']:.3f}): raise sae.steps, or check sae.lr"
        )
    if select.get("fit_fvu") is not None and select["fvu"] > OVERFIT * select["fit_fvu"]:
        found.append(
            f"overfits: FVU {select['fvu']:.3f} on held-out patients against {select['fit_fvu']:.3f} on its own: lower "
            "sae.expansion or sae.steps, or give more images"
        )
    if select["dead_fraction"] > 0.5:
        found.append(
            f"has {select['dead_fraction']:.0%} of its latents dead (they fire for no training image), which need not "
            "harm: lower sae.expansion, or set sae.resample_every to a sixth of sae.steps"
        )
    return found


def lines(name: str, select: Mapping[str, Any]) -> list[str]:
    """The warnings of one SAE as sentences: the first on a line of its own, the others together on a second.

    Args:
        name: What it is called.
        select: The facts measured on role select.
    """
    first, *others = warnings(select) or [""]
    return [f"{name} {told}." for told in (first, "; ".join(others)) if told]
