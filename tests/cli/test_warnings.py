"""What `fit` and `run` say of an SAE beside their table."""

import pytest

from neuroconcepts_ray.cli.work import warn
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.pipeline import Outcome
from neuroconcepts_ray.sae.curve import lines, warnings
from neuroconcepts_ray.stages import TABLE

GOOD = {"fvu": 0.2, "pca_fvu": 0.4, "random_fvu": 0.6, "fit_fvu": 0.18, "dead_fraction": 0.0, "l0": 8.0}


def outcome(name: str, state: str, select: dict[str, float]) -> Outcome:
    manifest = Manifest(
        kind="sae",
        name=name,
        recipe="r",
        recipe_body={},
        inputs={},
        artifact="a",
        parts=[],
        facts={"select": select},
        content="c",
    )
    return Outcome(next(stage for stage in TABLE if stage.verb == "fit"), name, state, manifest=manifest)


def test_a_fit_that_is_worse_than_pca_says_so_with_a_remedy_and_a_good_one_is_silent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    warn([outcome("sae", "made", GOOD), outcome("codes.latents", "made", GOOD | {"fvu": 0.5})])
    assert capsys.readouterr().out == ""
    warn([outcome("sae", "found", GOOD | {"fvu": 0.5, "fit_fvu": 0.4})])
    (said,) = capsys.readouterr().out.splitlines()
    assert said == f"The SAE {warnings(GOOD | {'fvu': 0.5, 'fit_fvu': 0.4})[0]}."
    assert "lower sae.expansion" in said


def test_all_that_is_wrong_takes_two_lines() -> None:
    bad = GOOD | {"fvu": 0.7, "dead_fraction": 0.6}
    first, second = lines("One", bad)
    assert first == f"One {warnings(bad)[0]}."
    assert all(told in second for told in warnings(bad)[1:]) and len(warnings(bad)) == 4


def test_an_sae_brought_along_has_fewer_figures() -> None:
    assert lines("One", {"fvu": 0.5, "pca_fvu": 0.4, "dead_fraction": 0.0, "l0": 3.0})[0].startswith(
        "One explains less"
    )
