"""The gated SAE: its three losses, and that JumpReLU encodes as it does."""

import numpy as np
import pytest
import torch

from neuroconcepts_ray.sae.family.gated import GatedObjective
from neuroconcepts_ray.sae.objective import Moment, Weights
from neuroconcepts_ray.sae.step import dense_gradients
from tests.sae.test_topk import B, D, N, inputs, weights

NONE = torch.zeros(N, dtype=torch.bool)


def gated(seed: int = 0) -> Weights:
    g = torch.Generator().manual_seed(seed + 9)
    extra = {name: torch.randn(N, generator=g, dtype=torch.float64) / 3 for name in ("r_mag", "b_mag")}
    return weights(seed) | extra


def code(v: dict[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z of both paths, and π."""
    gate = (x - v["b_dec"]) @ v["W_enc"].T + v["b_enc"]
    magnitude = (x - v["b_dec"]) @ (np.exp(v["r_mag"])[:, None] * v["W_enc"]).T + v["b_mag"]
    return (gate > 0) * np.maximum(magnitude, 0), gate


def test_loss_and_all_gradients_are_those_of_the_formula() -> None:
    w, x = gated(), inputs()
    result, grads = dense_gradients(GatedObjective(0.05), w, x, Moment(NONE, B))
    plain = {name: tensor.numpy() for name, tensor in w.items()}

    def naive(v: dict[str, np.ndarray]) -> float:
        z, gate = code(v, x.numpy())
        on = np.maximum(gate, 0)
        error = ((x.numpy() - z @ v["W_dec"] - v["b_dec"]) ** 2).mean()
        by_gate = ((x.numpy() - on @ plain["W_dec"] - plain["b_dec"]) ** 2).mean()  # through a frozen decoder
        return float(error + 0.05 * on.sum(1).mean() + by_gate)

    assert result.total.item() == pytest.approx(naive(plain), rel=1e-12)
    assert grads.keys() == plain.keys()
    for name, grad in grads.items():
        numeric = np.zeros_like(plain[name])
        for at in np.ndindex(*numeric.shape):
            up, down = ({n: v.copy() for n, v in plain.items()} for _ in range(2))
            up[name][at] += 1e-7
            down[name][at] -= 1e-7
            numeric[at] = (naive(up) - naive(down)) / 2e-7
        np.testing.assert_allclose(grad.numpy(), numeric, atol=2e-6)


def test_as_jumprelu_it_encodes_the_same() -> None:
    for seed in range(20):
        w = gated(seed)
        W_enc, b_enc, activation = GatedObjective(None).fitted(w, {})
        x = inputs(seed + 1)
        z = activation.dense((x - w["b_dec"]) @ W_enc.T + b_enc)
        expected, _ = code({name: tensor.numpy() for name, tensor in w.items()}, x.numpy())
        np.testing.assert_allclose(z.numpy(), expected, atol=1e-12)
        assert (activation.theta == 0).any()
        assert (activation.theta > 0).any()


def test_as_jumprelu_it_encodes_the_same_where_a_path_is_exactly_zero() -> None:
    # Whole numbers, so that sums are exact: π and the magnitude take the value 0 often.
    rng = np.random.default_rng(0)
    w = {
        name: torch.from_numpy(rng.integers(-2, 3, tensor.shape).astype(np.float64)) for name, tensor in gated().items()
    }
    w["r_mag"] = torch.zeros(N, dtype=torch.float64)
    x = torch.from_numpy(rng.integers(-2, 3, (400, D)).astype(np.float64))
    W_enc, b_enc, activation = GatedObjective(None).fitted(w, {})
    magnitude = (x - w["b_dec"]) @ W_enc.T + b_enc
    expected, gate = code({name: tensor.numpy() for name, tensor in w.items()}, x.numpy())
    assert ((gate == 0) & (magnitude.numpy() > 0)).any()  # at its threshold: does not fire
    assert ((gate > 0) & (magnitude.numpy() <= 0)).any()  # the gate is open, the magnitude is not: θ is clamped
    assert np.array_equal(activation.dense(magnitude).numpy(), expected)
