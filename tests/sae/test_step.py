"""A step of the optimiser: the same by every way that the code has to it."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from neuroconcepts_ray.sae import step
from neuroconcepts_ray.sae.compiled import Compiled
from neuroconcepts_ray.sae.engine import Slots
from neuroconcepts_ray.sae.family.topk import TopKObjective
from neuroconcepts_ray.sae.objective import Losses, Moment, Weights
from neuroconcepts_ray.sae.operators import Operators
from neuroconcepts_ray.sae.optimise import Adam, remove_parallel
from neuroconcepts_ray.sae.progress import Progress
from neuroconcepts_ray.sae.sparse import Sparse, sparse_gradients
from tests.sae.test_sparse import AUX, MEMBERS, every, inputs, members, weights

B, N, D, K = 30, 77, 19, 4


def state(dtype: torch.dtype = torch.float64) -> Progress:
    w = weights(N, D, dtype=dtype)
    m, v = ({name: tensor.abs() / scale for name, tensor in weights(N, D, 2, dtype).items()} for scale in (100, 1000))
    zero = torch.zeros(N, dtype=torch.int64)
    return Progress(w, m, v, zero, torch.zeros(D), torch.tensor(1.0), 3)


def slots(of: Progress) -> Slots:
    return Slots(of.weights, of.m, of.v, 0.01, of.step + 1)


def plain(of: Progress, objective: Sparse, x: torch.Tensor, moment: Moment) -> None:
    """Autograd, projection, Adam and normalisation, one after the other."""
    _, grads = step.dense_gradients(objective, of.weights, x, moment)
    grads["W_dec"] = remove_parallel(grads["W_dec"], of.weights["W_dec"])
    for name, grad in grads.items():
        Adam().update(of.weights[name], of.m[name], of.v[name], grad, lr=0.01, step=of.step + 1)
    of.weights["W_dec"] /= of.weights["W_dec"].norm(dim=1, keepdim=True)


def once(of: Progress, objective: Sparse, x: torch.Tensor, moment: Moment) -> None:
    step.take(of, objective, x, moment, 0.01, "float32")


def operators(of: Progress, objective: Sparse, x: torch.Tensor, moment: Moment) -> None:
    step._at_once(Operators(), slots(of), objective, x, moment, screen=False)


def summed(of: Progress, objective: Sparse, x: torch.Tensor, moment: Moment) -> None:
    """As with several workers."""
    engine = Compiled()
    _, grads = sparse_gradients(engine, objective, of.weights, x, moment, screen=False)
    step._after_sum(engine, slots(of), grads)


@dataclass(frozen=True)
class Dense:
    """A member that has its dense formula alone."""

    inner: TopKObjective

    def losses(self, w: Weights, x: torch.Tensor, moment: Moment) -> Losses:
        return self.inner.losses(w, x, moment)

    at = own = buffers = observe = fitted = losses


@members
@pytest.mark.parametrize("way", [once, operators, summed])
@pytest.mark.parametrize("dead", [False, True])
def test_a_step_is_autograd_projection_adam_and_normalisation(
    way: Callable[..., None], member: str, dead: bool
) -> None:
    objective, moment, x = MEMBERS[member](K, N), Moment(every(N, dead), B), inputs(B, D)
    expected, ours = state(), state()
    plain(expected, objective, x, moment)
    way(ours, objective, x, moment)
    for name, tensor in expected.tensors().items():
        torch.testing.assert_close(ours.tensors()[name], tensor, rtol=1e-11, atol=1e-13)


def test_a_member_with_its_dense_formula_alone_takes_the_same_step() -> None:
    moment, x = Moment(every(N, True), B), inputs(B, D)
    expected, ours = state(), state()
    plain(expected, TopKObjective(K, AUX), x, moment)
    step.take(ours, Dense(TopKObjective(K, AUX)), x, moment, 0.01, "float32")
    for name, tensor in expected.tensors().items():
        torch.testing.assert_close(ours.tensors()[name], tensor, rtol=1e-11, atol=1e-13)


@members
@pytest.mark.parametrize("dead", [False, True])
def test_gradients_used_as_they_arise_are_bitwise_those_that_workers_sum(member: str, dead: bool) -> None:
    x, moment = inputs(B, D, dtype=torch.float32), Moment(every(N, dead), B)
    one, other = state(torch.float32), state(torch.float32)
    for _ in range(3):
        once(one, MEMBERS[member](K, N), x, moment)
        summed(other, MEMBERS[member](K, N), x, moment)
    assert all(torch.equal(other.tensors()[name], tensor) for name, tensor in one.tensors().items())
