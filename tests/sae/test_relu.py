"""ReLU+L1, and the recipe of Concepts from Neurons against an implementation of its own with torch's Adam."""

import pytest
import torch

from neuroconcepts_ray.sae.begin import begin
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.data import Resident
from neuroconcepts_ray.sae.family.build import objective
from neuroconcepts_ray.sae.family.relu import CONCEPTS_FROM_NEURONS, ReLUObjective
from neuroconcepts_ray.sae.fit import Member, advance
from neuroconcepts_ray.sae.fold import fold
from neuroconcepts_ray.sae.objective import Moment
from tests.sae.test_topk import B, D, N, inputs, weights

NONE = torch.zeros(N, dtype=torch.bool)


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
def test_the_recipe_of_concepts_from_neurons_is_theirs_step_by_step(kind: torch.dtype, tolerance: float) -> None:
    config = SAEConfig(**CONCEPTS_FROM_NEURONS)
    x = torch.rand(40, D, generator=torch.Generator().manual_seed(0)) + 2
    rows = Resident(x)
    config = config.resolve_steps(len(rows))
    state = begin(rows, config)
    assert config.steps == 200
    assert len(state.idle) == 8 * D
    assert not state.mean.any()
    assert not state.weights["b_dec"].any()
    assert state.scale == 1
    for group in (state.weights, state.m, state.v):
        group |= {name: tensor.to(kind) for name, tensor in group.items()}
    state.mean, state.scale, x = state.mean.to(kind), state.scale.to(kind), x.to(kind)

    # z = ReLU(W_e (x − b) + b_e), x̂ = W_d z + b; the columns of W_d have unit norm.
    w_e, b_e, w_d, b = (
        torch.nn.Parameter(
            state.weights[name].clone().T.contiguous() if name == "W_dec" else state.weights[name].clone()
        )
        for name in ("W_enc", "b_enc", "W_dec", "b_dec")
    )
    w_d.register_hook(lambda grad: grad - (grad * w_d).sum(dim=0) * w_d.detach())
    adam = torch.optim.Adam([w_e, b_e, w_d, b], lr=5e-4)
    member = Member(config, state)
    for step in range(25):
        batch = x[step % 2 :: 2]
        adam.zero_grad()
        z = torch.nn.functional.linear(batch - b, w_e, b_e).relu()
        x_hat = torch.nn.functional.linear(z, w_d) + b
        loss = ((batch - x_hat) ** 2).mean(dim=1) + 3e-5 * z.abs().sum(dim=1)
        loss.mean().backward()
        adam.step()
        with torch.no_grad():
            w_d /= w_d.norm(dim=0)
        advance(member, batch)
    theirs = {"W_enc": w_e, "b_enc": b_e, "W_dec": w_d.T, "b_dec": b}
    for name, value in theirs.items():
        torch.testing.assert_close(state.weights[name], value.detach(), rtol=0, atol=tolerance)
        assert (value.detach() - begin(rows, config).weights[name]).abs().max() > 100 * tolerance
    sae = fold(state, objective(config, 8 * D).at(state.step))
    with torch.no_grad():
        z = torch.nn.functional.linear(x - b, w_e, b_e).relu()
    torch.testing.assert_close(sae.encode_dense(x), z, rtol=0, atol=100 * tolerance)


def test_the_penalty_is_the_mean_over_inputs_of_the_sum_of_codes() -> None:
    w, x = weights(), inputs()
    z = ((x - w["b_dec"]) @ w["W_enc"].T + w["b_enc"]).relu()
    for penalty, coefficient in ((0.3, 0.3), (None, 2 / D)):
        result = ReLUObjective(penalty).losses(w, x, Moment(NONE, B))
        torch.testing.assert_close(result.total - result.reconstruction, coefficient * z.sum(dim=1).mean())
