"""What holds for every member: gradients over workers, the folding, and that it learns."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.sae.activation import JumpReLU
from neuroconcepts_ray.sae.begin import begin
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.data import Resident
from neuroconcepts_ray.sae.family.auxk import AuxK
from neuroconcepts_ray.sae.family.batchtopk import BatchTopKObjective
from neuroconcepts_ray.sae.family.build import objective
from neuroconcepts_ray.sae.family.gated import GatedObjective
from neuroconcepts_ray.sae.family.jumprelu import JumpReLUObjective
from neuroconcepts_ray.sae.family.matryoshka import MatryoshkaObjective
from neuroconcepts_ray.sae.family.ramp import Ramp
from neuroconcepts_ray.sae.family.relu import ReLUObjective
from neuroconcepts_ray.sae.family.topk import TopKObjective
from neuroconcepts_ray.sae.fit import Member, advance
from neuroconcepts_ray.sae.fold import fold
from neuroconcepts_ray.sae.metrics import evaluate, fvu
from neuroconcepts_ray.sae.model import SAE
from neuroconcepts_ray.sae.objective import Losses, Moment, Objective, Weights
from neuroconcepts_ray.sae.peers import Peers
from neuroconcepts_ray.sae.progress import Progress
from neuroconcepts_ray.sae.step import dense_gradients
from tests.sae.peers import together
from tests.sae.test_fit import gathered, planted, sae_of, trained
from tests.sae.test_topk import B, D, K, N, inputs, weights

AUX = AuxK(4, 0.3)
MEMBERS: dict[str, Objective] = {
    "topk": TopKObjective(K, AUX),
    "batchtopk": BatchTopKObjective(K, AUX),
    "matryoshka": MatryoshkaObjective(K, AUX, prefixes=(2, 7, N)),
    "jumprelu": JumpReLUObjective(K, 0.7, 0.8),
    "gated": GatedObjective(0.05),
    "relu_l1": ReLUObjective(0.05),
}
every_member = pytest.mark.parametrize("variant", MEMBERS)


def own(made: Objective, seed: int = 0) -> Weights:
    """Weights with the member's own parameters away from where they begin."""
    w = weights(seed)
    extra = made.own(w, inputs(seed + 1))
    g = torch.Generator().manual_seed(seed + 2)
    return w | {name: value + torch.randn(N, generator=g, dtype=torch.float64) / 3 for name, value in extra.items()}


@every_member
def test_gradients_of_halves_of_a_batch_sum_to_those_of_the_whole(variant: str) -> None:
    made, x = MEMBERS[variant], inputs()
    w, dead = own(made), torch.zeros(N, dtype=torch.bool)
    dead[[0, 3, 7, 11, 19]] = True
    whole, expected = dense_gradients(made, w, x, Moment(dead, B))

    def worker(half: torch.Tensor):
        def work(peers: Peers) -> tuple[Losses, Weights]:
            return dense_gradients(made, w, half, Moment(dead, B, peers))

        return work

    halves = together([worker(x[: B // 2]), worker(x[B // 2 :])])
    for name, grad in expected.items():
        torch.testing.assert_close(sum(grads[name] for _, grads in halves), grad, rtol=0, atol=1e-10)
        assert grad.any()
    for figure in ("total", "reconstruction", "l0"):
        parts = sum(getattr(losses, figure) for losses, _ in halves)
        torch.testing.assert_close(parts, getattr(whole, figure).to(parts), rtol=0, atol=1e-10)
    for losses, _ in halves:
        assert losses.observed.keys() == whole.observed.keys()
        assert all(torch.equal(losses.observed[name], value) for name, value in whole.observed.items())


@every_member
def test_training_by_two_workers_is_training_by_one(variant: str) -> None:
    x = torch.from_numpy(planted(64)[0])
    settings = {"variant": variant, "latents": 48, "k": 4, "batch_size": 64, "dead_after": 65, "aux_k": 8}
    config = SAEConfig(**settings, prefixes=[0.25, 1.0], ema=0.5, resample_every=3, steps=12)
    start = begin(Resident(x), config)
    start.weights["b_enc"][:8] = -9.0
    tensors = start.tensors()

    def worker(part: torch.Tensor):
        def work(peers: Peers) -> Progress:
            member = Member(config, Progress.from_tensors(tensors, 0))
            for _ in range(6):
                advance(member, part, peers)
            return member.state

        return work

    (alone,) = together([worker(x)])
    # The gathered halves must be the batch, row by row, for the resampled rows to be the same.
    pair = together([worker(x[:32]), worker(x[32:])])
    for name, tensor in alone.tensors().items():
        assert torch.equal(pair[0].tensors()[name], pair[1].tensors()[name])
        torch.testing.assert_close(pair[0].tensors()[name], tensor, rtol=2e-3, atol=2e-4)


@every_member
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100))
@settings(max_examples=10)
def test_folding_scale_and_mean_into_the_weights_changes_nothing(variant: str, seed: int, scale: float) -> None:
    made, mean = MEMBERS[variant], torch.linspace(-3, 5, D, dtype=torch.float64)
    w = own(made, seed)
    buffers = {name: torch.tensor(value, dtype=torch.float64) for name, value in (("theta", 0.4), ("weight", 0.8))}
    state = Progress(
        w, {}, {}, torch.zeros(N, dtype=torch.int64), mean, torch.tensor(scale, dtype=torch.float64), 1, buffers
    )
    W_enc, b_enc, activation = made.fitted(w, buffers)
    inside = SAE(W_enc, b_enc, w["W_dec"], w["b_dec"], activation)
    sae = fold(state, made)
    x = inputs(seed + 1) * scale + mean
    z = inside.encode_dense((x - mean) / scale)
    assert z.any()
    torch.testing.assert_close(sae.encode_dense(x), scale * z, rtol=1e-9, atol=1e-9 * scale)
    torch.testing.assert_close(sae.reconstruct(x), scale * inside.decode(z) + mean, rtol=1e-9, atol=1e-9 * scale)


@every_member
def test_every_member_learns_what_was_planted(variant: str) -> None:
    x, dictionary = planted(2000)
    config = SAEConfig(variant=variant, latents=64, k=4, steps=300, batch_size=128, dead_after=2000, lr=5e-3, aux_k=16)
    sae = sae_of(trained(torch.from_numpy(x), config), config)
    held_out = evaluate(sae, planted(500, seed=1)[0], gathered(sae, x))
    assert held_out.fvu < 0.35 < 1 <= held_out.mean_fvu
    # Those with a k come near it; those with L1 are sparse beside the half of all latents that they begin with.
    assert (3 <= held_out.l0 <= 6) if config.counts else (3 <= held_out.l0 <= 16)
    assert held_out.dead_fraction < 0.6
    if variant not in ("gated", "relu_l1"):
        assert held_out.fvu < held_out.pca_fvu
        assert np.abs(dictionary @ sae.W_dec.numpy().T).max(axis=1).mean() > 0.8
    assert isinstance(sae.activation, JumpReLU) is (variant != "topk")


def test_prefixes_of_a_matryoshka_reconstruct_alone_and_those_of_batch_topk_do_not() -> None:
    x, alone = torch.from_numpy(planted(2000)[0]), {}
    held_out = planted(500, seed=1)[0]
    for variant in ("batchtopk", "matryoshka"):
        config = SAEConfig(variant=variant, latents=64, k=4, steps=250, batch_size=128, lr=5e-3, aux_k=16)
        sae = sae_of(trained(x, config), config)
        z = sae.encode_dense(torch.from_numpy(held_out))
        z[:, 16:] = 0
        alone[variant] = fvu(held_out, sae.decode(z).numpy())
    assert alone["matryoshka"] < 0.75 * alone["batchtopk"], alone


@every_member
def test_planted_dead_latents_come_back_by_resampling(variant: str) -> None:
    x = torch.from_numpy(planted(1000)[0])
    fired = {}
    for every in (0, 25):
        config = SAEConfig(variant=variant, latents=48, k=3, steps=100, batch_size=128, dead_after=500, aux_k=0)
        config = config.model_copy(update={"resample_every": every, "lr": 3e-3})
        start = begin(Resident(x), config)
        start.weights["b_enc"][:40] = -60.0
        start.idle[:40] = 10_000
        assert not gathered(sae_of(start, config), x.numpy()).fires[:40].any()
        fired[every] = int(gathered(sae_of(trained(x, config, start), config), x.numpy()).fires[:40].sum())
    assert fired[0] == 0
    assert fired[25] >= 30


@pytest.mark.parametrize("variant", ["batchtopk", "matryoshka"])
def test_planted_dead_latents_come_back_by_the_auxiliary_loss(variant: str) -> None:
    x = torch.from_numpy(planted(1000)[0])
    fired = {}
    for aux in (0, 8):
        config = SAEConfig(
            variant=variant, latents=48, k=3, steps=200, batch_size=128, lr=3e-3, dead_after=500, aux_k=aux
        )
        start = begin(Resident(x), config)
        start.weights["b_enc"][:40] = -6.0
        start.idle[:40] = 10_000
        fired[aux] = int(gathered(sae_of(trained(x, config, start), config), x.numpy()).fires[:40].sum())
    assert fired[0] == 0
    assert fired[8] >= 20


@every_member
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(variant: str) -> None:
    x = torch.from_numpy(planted(200)[0])
    config = SAEConfig(variant=variant, latents=64, k=4, steps=24, batch_size=32, dead_after=60, checkpoint_every=5)
    config = config.model_copy(
        update={"ema": 0.9, "resample_every": 6, "penalty_warmup": 9, "k_start": 8, "k_warmup": 9}
    )
    saved: list[dict[str, torch.Tensor]] = []
    whole = trained(x, config, saved=saved).tensors()
    for tensors, step in zip(saved, [5, 10, 15, 20, 24], strict=True):
        resumed = trained(x, config, Progress.from_tensors(tensors, step)).tensors()
        assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())


def test_k_and_the_penalty_warm_up_linearly() -> None:
    made = objective(SAEConfig(k=4, k_start=24, k_warmup=10), 64)
    assert [made.at(step).k for step in (0, 1, 5, 9, 10, 600)] == [24, 22, 14, 6, 4, 4]
    made = objective(SAEConfig(variant="relu_l1", penalty=2.0, penalty_warmup=4), 64)
    w, x, moment = weights(), inputs(), Moment(torch.zeros(N, dtype=torch.bool), B)
    totals = [made.at(step).losses(w, x, moment) for step in range(6)]
    penalties = torch.stack([(losses.total - losses.reconstruction).detach() for losses in totals])
    torch.testing.assert_close(penalties / penalties[-1], torch.tensor([0, 0.25, 0.5, 0.75, 1, 1], dtype=torch.float64))
    assert objective(SAEConfig(variant="jumprelu", penalty_warmup=4), 64).at(1).share == 0.25
    assert Ramp(3.0, 0).at(0, 5.0) == 5.0


def test_epochs_are_passes_over_the_rows() -> None:
    config = SAEConfig(epochs=200.0, batch_size=4096)
    assert config.resolve_steps(8010).steps == round(200 * 8010 / 4096)
    assert config.resolve_steps(100).steps == 200  # a batch is at most all rows
    assert config.resolve_steps(8010).resolve_steps(5) == config.resolve_steps(8010)
    assert SAEConfig(steps=7).resolve_steps(100).steps == 7
    with pytest.raises(ConfigError, match="k would not be reached"):
        SAEConfig(epochs=1.0, k_start=20).resolve_steps(500)
    with pytest.raises(ValueError, match="k would not be reached"):
        SAEConfig(steps=10, k_start=20)


def test_members_without_a_k_need_not_have_so_many_latents() -> None:
    for variant in ("gated", "relu_l1"):
        assert objective(SAEConfig(variant=variant, latents=4), 4)
    with pytest.raises(ConfigError, match="k exceeds the number of latents"):
        objective(SAEConfig(variant="jumprelu"), 4)
