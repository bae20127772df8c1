"""New films of the same phantom are no drift, films of another exposure are: over many draws of thirty new patients."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.drift.collect import collect
from neuroconcepts_ray.drift.measure import Films, measure
from neuroconcepts_ray.pipeline import Pipeline
from tests.conftest import Chain

Grown = Callable[[Path, Callable[[np.ndarray], np.ndarray] | None], Chain]


def films(chain: Chain) -> Films:
    line = Pipeline(pipeline.load(chain.file, []), new_only=True)
    return collect(line.lake, line.artifacts("codes.latents"), "latents", None)[0]


def verdicts(every: Films, draws: int) -> list[str]:
    """Of comparisons with thirty of the new patients, drawn anew each time."""
    found = []
    for seed in range(draws):
        names = np.random.default_rng(seed).permutation(np.unique(every.groups[every.new]))[:30]
        rows = np.flatnonzero(~every.new | np.isin(every.groups, names))
        found.append(measure(every.some(rows, every.new[rows]), draws=799, seed=seed).verdict)
    return found


def test_new_films_of_the_same_phantom_are_not_flagged(
    grown: Grown, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = grown(tmp_path, None)
    assert "(0 known already)" in capfd.readouterr().out
    assert verdicts(films(made), 10).count("drift") <= 1
    assert call(["drift", "-c", str(made.file), "--plot", str(tmp_path / "drift.svg")]) == 0
    said = capfd.readouterr().out
    assert "No drift found" in said
    assert "two random halves" in said
    assert (tmp_path / "drift.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("change", [lambda x: 255 - x, lambda x: 255 * (x / 255) ** 0.6], ids=["inverted", "brighter"])
def test_new_films_of_another_exposure_are_flagged(
    grown: Grown, tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], capfd: pytest.CaptureFixture[str]
) -> None:
    made = grown(tmp_path, change)
    assert verdicts(films(made), 5) == ["drift"] * 5
    capfd.readouterr()
    assert call(["drift", "-c", str(made.file), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["verdict"] == "drift"
    assert told["patients"]["new"] == 60
    assert told["figures"]["logit_max"] > told["two_random_halves"]["logit_max"]
    assert {label["label"] for label in told["labels"]}


def test_without_films_beyond_the_fit_drift_says_what_to_do(chain: Chain, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(["drift", "-c", str(chain.file)]) == 3
    assert "run --new-only" in capfd.readouterr().err
