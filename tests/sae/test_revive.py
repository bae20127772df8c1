"""Resampling: which rows are chosen, and what a latent that starts again is."""

import numpy as np
import torch

from neuroconcepts_ray.sae.begin import begin
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.data import Resident
from neuroconcepts_ray.sae.family.build import objective
from neuroconcepts_ray.sae.fit import Member, advance
from neuroconcepts_ray.sae.progress import Progress
from neuroconcepts_ray.sae.revive import choose, due, resample
from tests.sae.test_fit import planted

DEAD = [1, 5, 6]


def test_rows_are_chosen_in_proportion_to_their_squared_loss() -> None:
    loss = np.array([1.0, 2.0, 0.0, 3.0])
    first = np.array([choose(loss, 1, np.random.default_rng(seed))[0] for seed in range(4000)])
    shares = np.bincount(first, minlength=4) / 4000
    np.testing.assert_allclose(shares, np.array([1, 4, 0, 9]) / 14, atol=0.03)
    assert sorted(choose(loss, 9, np.random.default_rng(0))) == [0, 1, 3]  # each once, and none without loss
    assert len(choose(np.zeros(3), 2, np.random.default_rng(0))) == 0
    assert sorted(choose(np.array([1e-200, 1e200]), 2, np.random.default_rng(0))) == [0, 1]


def test_it_is_due_at_multiples_but_not_shortly_before_the_end() -> None:
    assert [step for step in range(1, 101) if due(step, 30, 100)] == [30, 60]
    assert not any(due(step, 0, 100) for step in range(101))


def state_of(variant: str) -> tuple[SAEConfig, Progress, torch.Tensor]:
    x = torch.from_numpy(planted(200)[0])
    config = SAEConfig(variant=variant, latents=40, k=4, steps=100, batch_size=100, dead_after=10_000, ema=0.5)
    member = Member(config, begin(Resident(x), config))
    for _ in range(5):
        advance(member, x[:100])
    member.state.idle[DEAD] = 20_000
    return config, member.state, (x[100:] - member.state.mean) / member.state.scale


def test_dead_latents_start_again_on_what_is_left_of_inputs_and_the_living_stay_as_they_are() -> None:
    for variant in ("topk", "jumprelu", "gated"):
        config, state, x = state_of(variant)
        before = {name: tensor.clone() for name, tensor in state.tensors().items()}
        resample(state, objective(config, 40), x, dead_after=10_000, seed=3)
        living = [j for j in range(40) if j not in DEAD]
        for name, tensor in state.tensors().items():
            same = slice(None) if name in ("mean", "scale", "w.b_dec", "m.b_dec", "v.b_dec", "a.b_dec") else living
            assert torch.equal(tensor[same], before[name][same]) if tensor.ndim else torch.equal(tensor, before[name])
        assert state.idle[DEAD].tolist() == [0, 0, 0]
        w = state.weights
        W_enc, b_enc, activation = objective(config, 40).fitted(
            {name: before[f"w.{name}"] for name in w}, state.buffers
        )
        z = activation.dense((x - w["b_dec"]) @ W_enc.T + b_enc)
        away = torch.nn.functional.normalize(x - w["b_dec"] - z @ before["w.W_dec"], dim=1)
        cosine = w["W_dec"][DEAD] @ away.T
        torch.testing.assert_close(cosine.amax(dim=1), torch.ones(3))
        assert len(set(cosine.argmax(dim=1).tolist())) == 3
        norm = before["w.W_enc"][living].norm(dim=1).mean()
        torch.testing.assert_close(w["W_enc"][DEAD], norm * w["W_dec"][DEAD])
        assert not w["b_enc"][DEAD].any()
        for moments in (state.m, state.v):
            assert not any(moments[name][DEAD].any() for name in w if name != "b_dec")
        assert all(torch.equal(state.average[name][DEAD], w[name][DEAD]) for name in w if name != "b_dec")
        if variant == "jumprelu":
            expected = before["w.log_theta"][living].mean()
            torch.testing.assert_close(w["log_theta"][DEAD], expected.expand(3))


def test_the_choice_is_a_function_of_seed_and_step() -> None:
    found = []
    for seed, step in ((3, 5), (3, 5), (4, 5), (3, 6)):
        config, state, x = state_of("topk")
        state.step = step
        resample(state, objective(config, 40), x, dead_after=10_000, seed=seed)
        found.append(state.weights["W_dec"][DEAD])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[3])


def test_where_all_are_dead_or_more_than_there_are_rows_it_still_works() -> None:
    config, state, x = state_of("topk")
    state.idle.fill_(20_000)
    resample(state, objective(config, 40), x[:7], dead_after=10_000, seed=0)
    assert (state.idle == 0).sum() == 7  # the others wait: two latents that begin alike would stay alike
    assert all(torch.isfinite(tensor).all() for tensor in state.tensors().values())
    before = state.weights["W_enc"].clone()
    state.idle.zero_()
    resample(state, objective(config, 40), x, dead_after=10_000, seed=0)
    assert torch.equal(state.weights["W_enc"], before)


def test_resampling_does_not_destroy_what_was_learnt_where_inputs_have_a_strong_direction_in_common() -> None:
    rng = np.random.default_rng(0)
    strong = 6 * rng.standard_normal((400, 1)) * np.ones((1, 16))
    x = torch.from_numpy((strong + planted(400)[0][:, :16]).astype(np.float32))
    config = SAEConfig(latents=64, k=4, steps=200, batch_size=100, dead_after=300, aux_k=0)
    member = Member(config, begin(Resident(x), config))
    for step in range(100):
        advance(member, x[step % 4 * 100 :][:100])
    before = float(advance(member, x[:100]).reconstruction)
    state = member.state
    state.idle[::2] = 300
    resample(state, objective(config, 64), (x[:100] - state.mean) / state.scale, dead_after=300, seed=0)
    after = float(advance(member, x[:100]).reconstruction)
    assert before < 0.02
    assert after < 0.3  # .54 where they begin as the directions of whole inputs
