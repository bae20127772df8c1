"""JumpReLU's loss and its pseudo-gradients, written out as the paper has them."""

import numpy as np
import pytest
import torch

from neuroconcepts_ray.sae.family.jumprelu import JumpReLUObjective, above, jump, rectangle
from neuroconcepts_ray.sae.objective import Moment
from neuroconcepts_ray.sae.step import dense_gradients
from tests.sae.test_topk import B, D, N, inputs, weights

NONE = torch.zeros(N, dtype=torch.bool)


def test_the_kernel_is_a_difference_of_steps() -> None:
    u = torch.tensor([[-0.6, -0.5, -0.4, 0.0, 0.5, 0.6]])
    assert rectangle(u).tolist() == [[0, 0, 1, 1, 1, 0]]


def test_pseudo_derivatives_are_those_of_the_paper() -> None:
    pre = torch.tensor([[0.5, 1.0, 1.1, 1.9], [0.9, 3.0, 0.2, 2.2]], dtype=torch.float64, requires_grad=True)
    theta = torch.tensor([1.0, 1.0, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    grad = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]], dtype=torch.float64)
    z = jump(pre, theta, 0.4)
    assert z.tolist() == [[0, 0, 1.1, 0], [0, 3.0, 0, 2.2]]  # a value equal to its threshold does not fire
    by_pre, by_theta = torch.autograd.grad(z, [pre, theta], grad)
    assert by_pre.tolist() == [[0, 0, 3, 0], [0, 6, 0, 8]]
    # −(θ/ε) K: of each column the values within 0.2 of its threshold, 2.2 itself by K(½) = 1 but for rounding.
    near = np.abs((pre - theta).detach().numpy()) < 0.2 - 1e-9
    near[1, 3] = bool(rectangle((pre - theta).detach() / 0.4)[1, 3])
    expected = -(theta.detach().numpy() / 0.4) * (near * grad.numpy()).sum(axis=0)
    np.testing.assert_allclose(by_theta.numpy(), expected)
    fires = above(pre, theta, 0.4)
    assert torch.equal(fires, (z > 0).double())
    by_pre, by_theta = torch.autograd.grad(fires, [pre, theta], grad, materialize_grads=True)
    assert not by_pre.any()
    np.testing.assert_allclose(by_theta.numpy(), -(near * grad.numpy()).sum(axis=0) / 0.4)


@pytest.mark.parametrize("k", [2, 5])
def test_loss_and_all_gradients_are_those_written_out(k: int) -> None:
    made, x = JumpReLUObjective(k, 0.7, 0.8), inputs().numpy()
    w = weights()
    w["log_theta"] = torch.linspace(-1, 1, N, dtype=torch.float64)
    result, grads = dense_gradients(made, w, torch.from_numpy(x), Moment(NONE, B))
    v = {name: tensor.numpy() for name, tensor in w.items()}
    theta, pre = np.exp(v["log_theta"]), (x - v["b_dec"]) @ v["W_enc"].T + v["b_enc"]
    fires = pre > theta
    residual = x - (pre * fires) @ v["W_dec"] - v["b_dec"]
    l0 = fires.sum() / B
    assert result.total.item() == pytest.approx((residual**2).mean() + 0.7 * (l0 / k - 1) ** 2)
    assert result.l0.item() == pytest.approx(l0)
    by_x_hat = -2 * residual / (B * D)
    by_z = by_x_hat @ v["W_dec"].T
    by_pre = by_z * fires
    kernel = np.abs((pre - theta) / 0.8) < 0.5
    assert kernel.any(axis=0).sum() > 10
    by_theta = (-(theta / 0.8) * kernel * by_z).sum(0) + 0.7 * 2 * (l0 / k - 1) / k * (-kernel.sum(0) / 0.8) / B
    expected = {
        "W_enc": by_pre.T @ (x - v["b_dec"]),
        "b_enc": by_pre.sum(0),
        "W_dec": (pre * fires).T @ by_x_hat,
        "b_dec": by_x_hat.sum(0) - (by_pre @ v["W_enc"]).sum(0),
        "log_theta": theta * by_theta,
    }
    assert grads.keys() == expected.keys()
    for name, grad in grads.items():
        np.testing.assert_allclose(grad.numpy(), expected[name], atol=1e-12)


def test_thresholds_begin_where_k_fire_on_average() -> None:
    w, x = weights(), inputs()
    made = JumpReLUObjective(3, 1.0, 0.1)
    theta = made.own(w, x)["log_theta"].exp()
    assert torch.equal(theta, theta[:1].expand(N))
    pre = (x - w["b_dec"]) @ w["W_enc"].T + w["b_enc"]
    assert (pre > theta * (1 - 1e-9)).sum() == 3 * B
    assert (pre > theta * (1 + 1e-9)).sum() == 3 * B - 1
    w["b_enc"] -= 1000
    assert made.own(w, x)["log_theta"].tolist() == [0] * N
