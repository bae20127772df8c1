"""Names against a truth that is known."""

import numpy as np
import pytest

from neuroconcepts_ray.phantom.scoring.names import GivenName, names_right

N = 1500
ROLES = np.array(["fit", "probe", "select", "verify", "test"])[np.arange(N) % 5]


@pytest.fixture
def there() -> np.ndarray:
    return np.random.default_rng(0).random(N) < 0.4


def test_names_are_right_only_with_words_direction_and_held_out_auroc(there: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    other = rng.random(N) < 0.5
    scores = np.stack([there, ~there, rng.random(N)], axis=1).astype(float)
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
    devices = np.random.default_rng(5).random(N) < 0.5
    name = GivenName(0, "lungs clear", "present")
    scores = (~there).astype(float)[:, None]
    process = GivenName(0, "acute cardiopulmonary process", "absent")
    assert names_right([process], scores, {"Edema": there, "Support Devices": devices}, ROLES).right == 1
    assert names_right([name], scores, {"Edema": there, "Support Devices": devices}, ROLES).right == 1
