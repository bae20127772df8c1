"""The centre of the data, the first weights, and the moving average of the later ones."""

import numpy as np
import pytest
import torch

from neuroconcepts_ray.sae.begin import begin, geometric_median, moments
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.data import Resident
from neuroconcepts_ray.sae.family.build import objective
from neuroconcepts_ray.sae.fit import Member, advance
from neuroconcepts_ray.sae.fold import fold
from neuroconcepts_ray.sae.optimise import learning_rate
from tests.sae.test_fit import planted


def median(x: torch.Tensor) -> torch.Tensor:
    return geometric_median(Resident(x), x.mean(dim=0))


def test_the_geometric_median_is_where_unit_vectors_to_all_rows_cancel() -> None:
    x = torch.from_numpy(np.random.default_rng(0).exponential(size=(9000, 5)).astype(np.float32))  # more than a block
    y = median(x)
    pull = torch.nn.functional.normalize(x.double() - y.double(), dim=1).mean(dim=0)
    assert pull.norm() < 1e-5
    assert (y - x.mean(dim=0)).norm() > 0.1  # no mean would do
    assert torch.equal(y, median(x))


def test_outliers_hardly_move_the_geometric_median() -> None:
    x = torch.randn(999, 3, generator=torch.Generator().manual_seed(0))
    spoiled = x.clone()
    spoiled[:20] += 1e4
    assert (median(spoiled) - median(x)).norm() < 0.1 < 100 < (spoiled.mean(dim=0) - x.mean(dim=0)).norm()


def test_the_geometric_median_may_lie_on_a_row() -> None:
    corners = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1], [0, 0]])  # the mean is a row, and is the median
    assert torch.equal(median(corners), torch.zeros(2))
    line = torch.tensor([[0.0], [1.0], [5.0]])  # the middle one, which the iteration nears
    assert abs(float(median(line)) - 1) < 1e-2
    assert torch.isfinite(median(torch.ones(4, 2))).all()


def test_either_centre_is_folded_back() -> None:
    x = torch.from_numpy(np.random.default_rng(0).exponential(size=(300, 12)).astype(np.float32))
    found = {}
    for bias in ("mean", "geometric_median"):
        config = SAEConfig(bias=bias, latents=24, k=4, batch_size=300)
        state = begin(Resident(x), config)
        found[bias] = state.mean
        torch.testing.assert_close(((x - state.mean) / state.scale).square().mean(), torch.tensor(1.0))
        sae = fold(state, objective(config, 24))
        assert torch.equal(sae.b_dec, state.mean)
    torch.testing.assert_close(found["mean"], x.mean(dim=0))
    torch.testing.assert_close(found["geometric_median"], median(x))
    assert torch.equal(moments(Resident(x), "tap")[0], found["mean"])
    with pytest.raises(ValueError, match="standard inputs"):
        SAEConfig(bias="geometric_median", inputs="raw")


def test_weights_at_random_are_those_of_a_linear_layer_and_a_unit_decoder() -> None:
    x = torch.from_numpy(planted(100)[0])
    w = begin(Resident(x), SAEConfig(init="random", latents=200, k=4)).weights
    bound = 1 / x.shape[1] ** 0.5
    for name in ("W_enc", "b_enc"):
        assert 0.9 * bound < w[name].abs().max() <= bound
        assert abs(w[name].mean()) < 0.1 * bound
    torch.testing.assert_close(w["W_dec"].norm(dim=1), torch.ones(200))
    cosine = torch.cosine_similarity(w["W_enc"], w["W_dec"], dim=1)
    assert cosine.abs().mean() < 0.3
    assert torch.equal(w["W_dec"], begin(Resident(x), SAEConfig(init="random", latents=200, k=4)).weights["W_dec"])


def test_the_average_weighs_steps_exponentially_and_forgets_where_training_began() -> None:
    x = torch.from_numpy(planted(64)[0])
    config = SAEConfig(variant="batchtopk", latents=40, k=4, steps=20, batch_size=64, ema=0.7, lr=0.05, warmup=0)
    member = Member(config, begin(Resident(x), config))
    seen: list[dict[str, torch.Tensor]] = []
    for _ in range(6):
        advance(member, x)
        state = member.state
        seen.append({name: t.clone() for name, t in (state.weights | state.buffers).items()})
    weight = 0.7 ** torch.arange(5, -1, -1.0)
    expected = {
        name: sum(p * one[name] for p, one in zip(weight / weight.sum(), seen, strict=True)) for name in seen[0]
    }
    assert state.average.keys() == expected.keys() > {"theta"}
    for name, value in expected.items():
        torch.testing.assert_close(state.average[name], value)
    sae = fold(state, objective(config, 40).at(state.step))
    torch.testing.assert_close(sae.W_enc, expected["W_enc"])
    torch.testing.assert_close(sae.b_dec, state.mean + state.scale * expected["b_dec"])
    torch.testing.assert_close(sae.activation.theta[0], state.scale * expected["theta"] / expected["weight"])
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(40))
    assert (expected["W_dec"].norm(dim=1) < 0.999).any()  # an average of unit rows is shorter
    assert not torch.allclose(sae.W_enc, state.weights["W_enc"])


def test_the_learning_rate_may_fall_as_a_line() -> None:
    rates = [learning_rate(s, peak=2.0, warmup=10, steps=110, schedule="linear") for s in range(111)]
    assert rates[9] == rates[10] == 2.0
    assert rates[60] == pytest.approx(1.0)
    assert rates[85] == pytest.approx(0.5)
    assert rates[110] == 0
