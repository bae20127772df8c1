"""The scores against cases whose answer is known."""

import numpy as np
import pytest
from neuroconcepts_ray.phantom.score import (
    GivenName,
    load_truth,
    names_right,
    pixel_linear_auroc,
    recovery,
    thumbnails,
)

ROLES = np.array(["fit", "probe", "select", "verify", "test"])[np.arange(1500) % 5]


@pytest.fixture
def there() -> np.ndarray:
    return np.random.default_rng(0).random(1500) < 0.4


def test_a_neuron_that_is_the_finding_recovers_all_that_a_probe_can(there: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    scores = rng.standard_normal((1500, 6))
    scores[:, 4] = there
    found = recovery(scores, scores, {"Edema": there}, ROLES)["Edema"]
    assert found is not None
    assert (found.neuron, found.auroc, found.probe, found.share) == (4, 1.0, 1.0, 1.0)
    assert (found.n, found.positives) == (300, there[ROLES == "test"].sum())


def test_a_neuron_that_fires_where_the_finding_is_not_recovers_nothing(there: np.ndarray) -> None:
    scores = np.stack([1.0 - there, np.zeros(1500)], axis=1)
    found = recovery(scores, scores, {"Edema": there}, ROLES)["Edema"]
    assert found is not None
    assert found.neuron == 1
    assert found.share == 0.0


def test_the_neuron_is_chosen_on_select_and_scored_on_test(there: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    lucky = np.where(ROLES == "select", there, rng.random(1500))
    honest = there + rng.normal(0, 0.5, 1500)
    found = recovery(np.stack([honest, lucky], axis=1), honest[:, None], {"Edema": there}, ROLES)["Edema"]
    assert found is not None
    assert found.neuron == 1
    assert abs(found.auroc - 0.5) < 0.1
    assert found.probe > 0.85


def test_the_probe_never_sees_select_verify_or_test(there: np.ndarray) -> None:
    # One-hot rows: a probe that was fitted on a row would know it by heart.
    activations = np.eye(1500)
    found = recovery(activations[:, :3], activations, {"Edema": there}, ROLES)["Edema"]
    assert found is not None
    assert found.probe == pytest.approx(0.5)


def test_too_few_positives_are_not_evaluable() -> None:
    rare = np.zeros(1500, dtype=bool)
    rare[:30] = True
    scores = np.random.default_rng(0).random((1500, 2))
    assert recovery(scores, scores, {"Fracture": rare}, ROLES)["Fracture"] is None


def test_pixels_tell_a_bright_film_but_not_a_pattern_of_random_sign() -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, (1500, 3)).astype(float)
    pixels = rng.standard_normal((1500, 16))
    pixels[:, 0] += 3 * y[:, 0]
    pixels[:, 1] += 4 * y[:, 1] * rng.choice([-1, 1], 1500)
    y[:, 2] = 0
    y[rng.random((1500, 3)) < 0.1] = np.nan
    macro, table = pixel_linear_auroc(pixels, y, ["bright", "pattern", "never"], ROLES)
    assert table["never"] is None
    assert table["bright"] is not None
    assert table["pattern"] is not None
    assert table["bright"] > 0.95
    assert abs(table["pattern"] - 0.5) < 0.12
    assert macro == pytest.approx((table["bright"] + table["pattern"]) / 2)


def test_thumbnails_are_averages() -> None:
    film = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4) * 10, np.ones((3, 3), dtype=np.uint8))
    np.testing.assert_allclose(thumbnails([film], 4)[0] * 255, np.arange(16) * 10)


def test_names_are_right_only_with_words_direction_and_held_out_auroc(there: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    other = rng.random(1500) < 0.5
    scores = np.stack([there, ~there, rng.random(1500)], axis=1).astype(float)
    names = [
        (GivenName(0, "pleural effusion", "present"), True),
        (GivenName(0, "blunting costophrenic angle", "present"), True),
        (GivenName(1, "pleural effusion", "absent"), True),
        (GivenName(1, "pleural effusion", "present"), False),
        (GivenName(0, "pneumothorax", "present"), False),
        (GivenName(2, "pleural effusion", "present"), False),
        (GivenName(0, "bony thorax", "present"), False),
        (GivenName(0, "effusion pneumothorax", "present"), False),
    ]
    planted = {"Pleural Effusion": there, "Pneumothorax": other}
    for name, right in names:
        result = names_right([name], scores, planted, ROLES)
        assert (result.given, result.right) == (1, int(right)), name
    everything = names_right([name for name, _ in names], scores, planted, ROLES)
    assert (everything.given, everything.right) == (8, 3)


def test_a_clear_lung_is_a_film_without_findings_but_devices(there: np.ndarray) -> None:
    devices = np.random.default_rng(5).random(1500) < 0.5
    name = GivenName(0, "lungs clear", "present")
    scores = (~there).astype(float)[:, None]
    process = GivenName(0, "acute cardiopulmonary process", "absent")
    assert names_right([process], scores, {"Edema": there, "Support Devices": devices}, ROLES).right == 1
    assert names_right([name], scores, {"Edema": there, "Support Devices": devices}, ROLES).right == 1


def test_no_truth_is_a_clear_error(tmp_path) -> None:
    with pytest.raises(ValueError, match="no truth"):
        load_truth(tmp_path)
