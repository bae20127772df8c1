"""Batch TopK and Matryoshka against naive sums, and the threshold that they end with."""

import numpy as np
import pytest
import torch

from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.family.auxk import AuxK
from neuroconcepts_ray.sae.family.batchtopk import BatchTopKObjective
from neuroconcepts_ray.sae.family.build import objective
from neuroconcepts_ray.sae.family.matryoshka import MatryoshkaObjective
from neuroconcepts_ray.sae.objective import Losses, Moment
from neuroconcepts_ray.sae.step import dense_gradients
from tests.sae.test_topk import B, N, inputs, weights

NONE = torch.zeros(N, dtype=torch.bool)
OFF = AuxK(0, 0.0)


def naive_code(w: dict[str, np.ndarray], x: np.ndarray, k: int) -> np.ndarray:
    """The rows·k largest of all positive pre-activations, by sorting them."""
    pre = (x - w["b_dec"]) @ w["W_enc"].T + w["b_enc"]
    best = sorted(((v, at) for at, v in np.ndenumerate(pre) if v > 0), reverse=True)[: len(x) * k]
    z = np.zeros_like(pre)
    for value, at in best:
        z[at] = value
    return z


@pytest.mark.parametrize("prefixes", [(N,), (2, 7, N)])
def test_loss_and_gradients_are_those_of_the_formula(prefixes: tuple[int, ...]) -> None:
    w, x, k = weights(), inputs(), 3
    made = MatryoshkaObjective(k, OFF, prefixes=prefixes)
    result, grads = dense_gradients(made, w, x, Moment(NONE, B))

    def naive(v: dict[str, np.ndarray]) -> float:
        z = naive_code(v, x.numpy(), k)
        errors = [((x.numpy() - z[:, :m] @ v["W_dec"][:m] - v["b_dec"]) ** 2).mean() for m in prefixes]
        return float(np.mean(errors))

    plain = {name: tensor.numpy() for name, tensor in w.items()}
    z = naive_code(plain, x.numpy(), k)
    assert result.total.item() == pytest.approx(naive(plain), rel=1e-12)
    assert result.l0.item() == pytest.approx((z > 0).sum() / B)
    assert result.observed["smallest"].item() == z[z > 0].min()
    assert np.array_equal(result.fired.numpy(), (z > 0).any(axis=0))
    for name, grad in grads.items():
        numeric = np.zeros_like(plain[name])
        for at in np.ndindex(*numeric.shape):
            up, down = ({n: v.copy() for n, v in plain.items()} for _ in range(2))
            up[name][at] += 1e-6
            down[name][at] -= 1e-6
            numeric[at] = (naive(up) - naive(down)) / 2e-6
        np.testing.assert_allclose(grad.numpy(), numeric, atol=1e-7)
    if prefixes == (N,):  # one prefix of all latents is Batch TopK
        same, theirs = dense_gradients(BatchTopKObjective(k, OFF), w, x, Moment(NONE, B))
        torch.testing.assert_close(same.total, result.total)
        torch.testing.assert_close(theirs, grads)


def test_where_fewer_are_positive_than_may_fire_all_of_them_do() -> None:
    w, x = weights(), inputs()
    w["b_enc"] -= 6
    positive = (x - w["b_dec"]) @ w["W_enc"].T + w["b_enc"] > 0
    assert 0 < positive.sum() < B * 3
    result = BatchTopKObjective(3, OFF).losses(w, x, Moment(NONE, B))
    assert result.l0 * B == pytest.approx(float(positive.sum()))
    w["b_enc"] -= 100
    result = BatchTopKObjective(3, OFF).losses(w, x, Moment(NONE, B))
    assert result.l0 == 0
    assert torch.isinf(result.observed["smallest"])


def test_the_threshold_is_the_mean_of_the_smallest_values_weighted_towards_the_last() -> None:
    made, zero = BatchTopKObjective(3, OFF, decay=0.9), torch.zeros(())
    buffers = made.buffers(N, torch.device("cpu"))
    seen = [1.0, 3.0, float("inf"), 2.0]
    for value in seen:
        made.observe(buffers, Losses(zero, zero, zero, NONE, {"smallest": torch.tensor(value)}))
    _, _, activation = made.fitted(weights(), buffers)
    expected = np.average([1.0, 3.0, 2.0], weights=[0.81, 0.9, 1.0])  # a batch in which nothing fired has no say
    torch.testing.assert_close(activation.theta, torch.full((N,), float(expected)))


def test_prefixes_that_do_not_fit_are_refused() -> None:
    assert objective(SAEConfig(variant="matryoshka", k=4), 64).prefixes == (2, 4, 8, 16, 32, 64)
    with pytest.raises(ConfigError, match="too few latents for these prefixes"):
        objective(SAEConfig(variant="matryoshka", k=2), 8)
    for wrong in ([0.5, 0.25, 1.0], [0.5], [0.0, 1.0], [1.0, 2.0]):
        with pytest.raises(ValueError, match="do not rise from above 0 to 1"):
            SAEConfig(prefixes=wrong)
    with pytest.raises(ConfigError, match="k_start exceeds the number of latents"):
        objective(SAEConfig(k=4, k_start=65), 64)
