"""Retrieval is measured on patients that the classifier has not seen, and says where a control does as well."""

import json

import numpy as np
import pytest

from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.retrieval.quality import remarks
from neuroconcepts_ray.retrieval.sides import check_roles, choose
from tests.conftest import Chain, Resident


@pytest.mark.parametrize("role", ["fit", "select"])
def test_roles_that_the_classifier_saw_are_refused(role: str) -> None:
    with pytest.raises(ConfigError, match="not held out"):
        check_roles(["test"], ["verify", role])
    check_roles(["test"], ["probe", "verify"])


def test_the_gallery_is_in_order_of_ids_and_queries_are_drawn_from_their_role_alone() -> None:
    ids = np.array(["d", "b", "c", "a"])
    roles = np.array(["test", "verify", "test", "fit"])
    sides = choose(ids, roles, np.array([True, True, False, True]), ["test"], ["test", "verify"], 10, 0)
    assert ids[sides.queries].tolist() == ["d", "c"]
    assert ids[sides.gallery].tolist() == ["b", "c", "d"]
    assert sides.unanswerable == 1
    assert len(choose(ids, roles, np.ones(4, bool), ["test"], ["test"], 1, 0).queries) == 1
    with pytest.raises(InputError, match="no image to search"):
        choose(ids, roles, np.ones(4, bool), ["test"], ["probe"], 1, 0)


def test_a_control_that_does_as_well_or_better_is_named() -> None:
    def figure(low: float, high: float) -> dict[str, object]:
        return {"value": (low + high) / 2, "low": low, "high": high, "n": 9, "groups": 3}

    none = {"value": None, "low": None, "high": None, "n": 0, "groups": 0}
    said = remarks(
        {"chance": {"map": figure(0.1, 0.2)}, "dense": {"map": figure(-0.1, 0.1), "p@1": figure(-0.2, -0.1)}}
    )
    assert said[0] == "The dense embedding does better than the codes at p@1."
    assert "does as well as the codes at map" in said[1]
    assert remarks({"chance": {"map": none}, "dense": {"map": none}})[0].startswith("Nothing could be measured")
    assert remarks({"chance": {"map": figure(0.1, 0.2), "p@1": none}})[0].startswith("The codes do better")


def test_the_verb_gives_every_figure_beside_its_controls(chain: Chain, resident: Resident) -> None:
    found = json.loads(resident("evaluate", "-c", chain.file, "--queries", 30, "--json").out)
    assert found["queries"]["images"] <= 30
    assert found["metadata"] == ["age", "race", "sex", "view"]
    assert set(found["systems"]) == {"codes", "chance", "metadata", "dense", "dense, standardised"}
    assert found["recall@20"]["value"] == 1
    assert found["latency"]["n"] == found["queries"]["images"]
    for figures in found["systems"].values():
        for figure in figures.values():
            assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
            assert figure["n"] == found["queries"]["images"] - found["queries"]["without_positive"]
    table = resident("evaluate", "-c", chain.file, "--queries", 30, "--space", "units").out
    assert "chance" in table
    assert "never the query's own patient" in table
    assert "held out" in resident("evaluate", "-c", chain.file, "--query-role", "fit", code=2).error
