"""Linear controls against cases whose answer is known."""

import numpy as np
import pytest

from neuroconcepts_ray.phantom.scoring.controls import linear, principal_weights, random_weights, thumbnails
from neuroconcepts_ray.stats import auroc

N = 1500
ROLES = np.array(["fit", "probe", "select", "verify", "test"])[np.arange(N) % 5]


def test_pixels_tell_a_bright_film_but_not_a_pattern_of_random_sign() -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, (N, 3)).astype(float)
    pixels = rng.standard_normal((N, 16))
    pixels[:, 0] += 3 * y[:, 0]
    pixels[:, 1] += 4 * y[:, 1] * rng.choice([-1, 1], N)
    y[:, 2] = 0
    told = y[:, 0] == 1, y[:, 1] == 1
    y[rng.random((N, 3)) < 0.1] = np.nan
    score, test = linear(pixels, y, ROLES), ROLES == "test"
    assert auroc(score[test, 0], told[0][test]) > 0.95
    assert abs(auroc(score[test, 1], told[1][test]) - 0.5) < 0.12
    assert not score[:, 2].any()


def test_thumbnails_are_averages() -> None:
    film = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4) * 10, np.ones((3, 3), dtype=np.uint8))
    np.testing.assert_allclose(thumbnails([film], 4)[0] * 255, np.arange(16) * 10)


def test_directions_are_of_unit_length_and_the_principal_ones_as_an_independent_decomposition_has_them() -> None:
    x = np.random.default_rng(0).standard_normal((200, 5)) * [5, 4, 3, 2, 1]
    found, wanted = principal_weights(x), np.linalg.svd(x - x.mean(axis=0))[2].T
    np.testing.assert_allclose(np.abs(np.sum(found * wanted, axis=0)), 1, atol=1e-9)
    random = random_weights(5, 30)
    assert random.shape == (5, 30)
    assert np.linalg.norm(random, axis=0) == pytest.approx(1)
