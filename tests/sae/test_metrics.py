"""FVU, PCA and their company against closed forms."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.sae.activation import TopK
from neuroconcepts_ray.sae.metrics import evaluate, fvu, pca_fvu
from neuroconcepts_ray.sae.model import SAE
from neuroconcepts_ray.sae.rows import has_role
from tests.sae.test_fit import gathered


def data(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, 8)) * np.arange(1, 9) + 100).astype(np.float32)


def test_fvu_of_the_mean_is_one_of_the_truth_zero_and_an_offset_cannot_flatter_it() -> None:
    x = data(200)
    assert fvu(x, np.broadcast_to(x.mean(axis=0, dtype=np.float64), x.shape)) == pytest.approx(1, abs=1e-12)
    assert fvu(x, x) == 0
    noisy = x + data(200, 1) - 100
    assert fvu(x, noisy) == pytest.approx(fvu(x - 90, noisy - 90), rel=1e-5)


def test_fvu_weighs_dimensions_by_their_variance() -> None:
    x = data(200).astype(np.float64)
    x_hat = x + np.random.default_rng(2).standard_normal(x.shape)
    assert fvu(x, x_hat) == pytest.approx(1 - r2_score(x, x_hat, multioutput="variance_weighted"), rel=1e-9)


@pytest.mark.parametrize("components", [0, 1, 3, 8, 20])
def test_pca_is_sklearns_pca(components: int) -> None:
    fitted, x = data(300), data(100, 1)
    if components == 0:
        expected = fvu(x, np.broadcast_to(fitted.mean(axis=0, dtype=np.float64), x.shape))
    else:
        pca = PCA(min(components, 8), svd_solver="full").fit(fitted.astype(np.float64))
        expected = fvu(x, pca.inverse_transform(pca.transform(x.astype(np.float64))))
    assert pca_fvu(gathered(identity(3), fitted), x, components) == pytest.approx(expected, abs=1e-9)


def identity(k: int) -> SAE:
    """Each dimension is a latent; two more latents can never fire."""
    eye = torch.cat([torch.eye(8), torch.eye(8)[:2]])
    bias = torch.cat([torch.zeros(8), torch.full((2,), -1e6)])
    return SAE(eye, bias, eye, torch.zeros(8), TopK(k))


def test_l0_and_dead_latents_are_counted() -> None:
    x = np.abs(data(50))
    metrics = evaluate(identity(8), x, gathered(identity(8), x))
    assert metrics.l0 == 8
    assert metrics.fvu == pytest.approx(0, abs=1e-9)
    assert metrics.dead_fraction == pytest.approx(0.2)
    assert gathered(identity(8), x).fires.tolist() == [True] * 8 + [False] * 2
    assert evaluate(identity(3), x, gathered(identity(3), x)).l0 == 3


def test_no_held_out_image_is_an_error() -> None:
    with pytest.raises(InputError, match="too few held-out images"):
        evaluate(identity(3), data(0), gathered(identity(3), data(10)))


def test_held_out_images_that_are_all_alike_are_an_error() -> None:
    with pytest.raises(InputError, match="do not vary"):
        evaluate(identity(3), np.repeat(data(1), 4, axis=0), gathered(identity(3), data(10)))


def test_roles_are_joined_by_image_and_strangers_refused() -> None:
    known, roles = np.array(["c", "a", "b"]), np.array(["test", "fit", "probe"])
    assert has_role(np.array(["b", "c", "a", "b"]), known, roles, ("fit", "probe")).tolist() == [
        True,
        False,
        True,
        True,
    ]
    with pytest.raises(InputError, match="not in the catalog"):
        has_role(np.array(["a", "z"]), known, roles, ("fit",))
