"""The truth is read where it is, and asked what makes sense."""

from pathlib import Path

import numpy as np
import pytest

from neuroconcepts_ray.phantom.scoring.factors import KINDS, questions
from neuroconcepts_ray.phantom.scoring.truth import Truth, load_truth, load_twins
from neuroconcepts_ray.phantom.truth import FACTORS, SPICULATED


def planted(**columns: list[object]) -> Truth:
    """Six films with nothing on them but what is said."""
    factors, n = tuple(FACTORS), 6
    empty = {name: np.full((n, len(factors)), "", dtype="<U16") for name in ("value", "side", "zone")}
    present = np.zeros((n, len(factors)))
    for key, values in columns.items():
        name, _, field = key.partition("__")
        at = factors.index(name.replace("_", " "))
        if field:
            empty[field][:, at] = values
        else:
            present[:, at] = values
    none = np.full((n, len(factors)), np.nan)
    return Truth(np.array([str(at) for at in range(n)]), factors, present, **empty, severity=none, size=none)


def test_questions_are_asked_where_they_make_sense() -> None:
    truth = planted(
        Lung_Lesion=[1, 1, 1, 1, 0, 0],
        Lung_Lesion__side=["left", "right", "left", "right", "", ""],
        Lung_Lesion__zone=["upper", "mid", "lower", "upper", "", ""],
        Support_Devices=[1, 1, 0, 0, 0, 1],
        tube=[1, 0, 0, 0, 0, 0],
    )
    truth.present[:, truth.factors.index(SPICULATED)] = [1, 0, 0, 1, np.nan, np.nan]
    frontal = np.array([True, True, True, False, True, True])
    asked = {question.name: question for question in questions(truth, truth.image_ids, frontal)}
    nan = float("nan")

    def answers(name: str) -> list[float]:
        return asked[name].y.tolist()

    np.testing.assert_equal(answers("tube"), [1, 0, nan, nan, nan, 0])
    np.testing.assert_equal(answers(SPICULATED), [1, 0, 0, 1, nan, nan])
    np.testing.assert_equal(answers("Lung Lesion: left"), [1, 0, 1, nan, nan, nan])
    np.testing.assert_equal(answers("Lung Lesion: upper, not lower"), [1, nan, 0, 1, nan, nan])
    assert answers("Lung Lesion") == [1, 1, 1, 1, 0, 0]
    assert asked["Fracture"].kind == asked["Pneumonia"].kind == "invisible"
    assert asked["Scoliosis"].kind == "unreported"
    order = [KINDS.index(question.kind) for question in asked.values()]
    assert order == sorted(order)
    assert not {"age", "sex", "race", "site"} & set(asked)


def test_no_truth_and_no_twins_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no truth"):
        load_truth(tmp_path)
    with pytest.raises(ValueError, match="no twins"):
        load_twins(tmp_path)
