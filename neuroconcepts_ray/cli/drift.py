"""The verb that compares new films with those of the fit."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.cli.work import say
from neuroconcepts_ray.drift.collect import collect
from neuroconcepts_ray.drift.measure import ALPHA, FEWEST, measure, plain
from neuroconcepts_ray.drift.plot import scatter
from neuroconcepts_ray.errors import ConfigError, EnvironmentFault
from neuroconcepts_ray.naming.tables import load_names
from neuroconcepts_ray.pipeline import Pipeline

_WORDS = {
    "density": "how often neurons fire",
    "logit": "mean logits",
    "distribution": "distributions of logits (KS)",
    "residual": "what the SAE leaves over",
}


def run(
    path: Path, overrides: list[str], *, space: str, newest: int | None, top: int, plot: Path | None, as_json: bool
) -> None:
    """Measure drift in a space and print it.

    Raises:
        ConfigError: No such space.
        InputError: The chain is not finished, or no films came since the fit.
        EnvironmentFault: The plot cannot be written.
    """
    line = Pipeline(pipeline.load(path, overrides), new_only=True)
    if space not in line.config.spaces:
        raise ConfigError("the pipeline has no such space", value=space, limit=", ".join(line.config.spaces))
    have = line.artifacts(f"codes.{space}")
    films, about = collect(line.lake, have, space, newest)
    names = {}
    if f"names.{space}" in have:
        named = load_names(line.lake, have[f"names.{space}"])
        names = {j: f"less {one.name}" if one.polarity == "absent" else one.name for j, one in named.items()}
    drift = measure(films)
    labels: Any = about.pop("labels")
    told = plain(drift, films, labels, names, top) | {"left_out": about}
    if plot is not None:
        picture = scatter(*drift.density, drift.tests["density"].p <= ALPHA, names, verdict(told))
        try:
            plot.write_text(picture)
        except OSError as error:
            raise EnvironmentFault("the plot cannot be written", value=error.strerror, where=str(plot)) from error
    if as_json:
        print(json.dumps(_finite(told), indent=1, allow_nan=False))  # noqa: T201 - the product
        return
    _print(told)


def _finite(value: Any) -> Any:
    """Plain data without NaN, which JSON lacks."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and value != value else value


def verdict(told: dict[str, Any]) -> str:
    """The comparison in one line."""
    if told["verdict"] == "too few":
        return f"Too few patients to tell: {told['patients']['new']} new ones; {FEWEST} are needed on each side."
    p = f"p = {told['p']:.3g} over {len(told['families'])} comparisons; false alarms at a rate of {told['alpha']:.0%}"
    if told["verdict"] == "no drift":
        return f"No drift found ({p})."
    guilty = [name for name, one in told["families"].items() if one["p"] * len(told["families"]) <= told["alpha"]]
    return f"Drift: {', '.join(_WORDS[name] for name in guilty)} changed ({p})."


def _print(told: dict[str, Any]) -> None:
    console = Console(highlight=False)
    films, patients = told["films"], told["patients"]
    say(
        f"{films['new']} new films of {patients['new']} patients against {films['fitted']} films of "
        f"{patients['fitted']} patients of the fit, which the classifier has not seen; "
        f"{told['left_out']['of_trained_patients']} new films of patients it was trained on are left out."
    )
    families = Table("compared", "largest z", "by chance: median", "95 %", "p", box=None, pad_edge=False)
    for name, one in told["families"].items():
        numbers = (one["largest_z"], one["chance_median"], one["chance_95"], one["p"])
        families.add_row(_WORDS[name], *(f"{value:.3g}" for value in numbers))
    console.print(families)
    now, chance = told["figures"], told["two_random_halves"]
    plainly = Table("figure", "new against fit", "two random halves of the fit", box=None, pad_edge=False)
    rows = {
        "density_mean": "mean change of density",
        "density_max": "largest change of density",
        "logit_max": "largest shift of a logit (sd)",
        "ks_max": "largest KS distance",
        "fvu_old": "FVU of the SAE, held-out films",
        "fvu_new": "FVU of the SAE, new films (other half)",
    }
    for key, words in rows.items():
        plainly.add_row(words, f"{now[key]:.3f}", f"{chance[key]:.3f}")
    console.print(plainly)
    neurons = Table("neuron", "name", "density at fit", "density now", "z", "p", box=None, pad_edge=False)
    for one in told["neurons"]:
        spans = [
            f"{one[f'density_{side}']:.3f} ({one[f'interval_{side}'][0]:.3f}–{one[f'interval_{side}'][1]:.3f})"
            for side in ("fitted", "new")
        ]
        neurons.add_row(str(one["neuron"]), one["name"] or "–", *spans, f"{one['z']:+.1f}", f"{one['p']:.3g}")
    console.print(neurons)
    labels = Table("label", "shift of the logit (sd)", "p", "KS", "p", box=None, pad_edge=False)
    for one in told["labels"]:
        labels.add_row(
            one["label"], f"{one['shift']:+.2f}", f"{one['p']:.3g}", f"{one['ks']:.2f}", f"{one['p_ks']:.3g}"
        )
    console.print(labels)
    say(verdict(told))
