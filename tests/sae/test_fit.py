"""The training loop: resumption, order, recovery of what was planted, and clear refusals."""

import threading
from itertools import islice

import numpy as np
import pytest
import torch

from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.sae.begin import begin
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.data import Resident, batches
from neuroconcepts_ray.sae.family.build import objective
from neuroconcepts_ray.sae.fit import Member, fit
from neuroconcepts_ray.sae.fold import fold
from neuroconcepts_ray.sae.metrics import Gathered, evaluate, gather
from neuroconcepts_ray.sae.model import SAE
from neuroconcepts_ray.sae.progress import Progress
from tests.sae.peers import Threads, together


def planted(
    rows: int, *, d: int = 24, atoms: int = 32, active: int = 3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Sparse non-negative mixtures of unit atoms, a little noise, and an offset."""
    rng = np.random.default_rng(seed)
    dictionary = np.random.default_rng(99).standard_normal((atoms, d))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    z = np.zeros((rows, atoms))
    for row in z:
        row[rng.choice(atoms, active, replace=False)] = rng.uniform(1, 3, active)
    x = z @ dictionary + 0.01 * rng.standard_normal((rows, d)) + 5
    return x.astype(np.float32), dictionary


def trained(
    x: torch.Tensor,
    config: SAEConfig,
    state: Progress | None = None,
    saved: list[dict[str, torch.Tensor]] | None = None,
) -> Progress:
    """The state after the last step; copies of those saved go into ``saved``."""
    rows = Resident(x)
    member = Member(config, state or begin(rows, config))

    def save(step: int, _: list[dict[str, float]]) -> None:
        assert step == member.state.step
        if saved is not None:
            saved.append({name: tensor.clone() for name, tensor in member.state.tensors().items()})

    fit(rows, [member], save)
    return member.state


def gathered(sae: SAE, x: np.ndarray) -> Gathered:
    return gather(sae, Resident(torch.from_numpy(x)))


def sae_of(state: Progress, config: SAEConfig) -> SAE:
    return fold(state, objective(config, len(state.idle)).at(state.step))


def test_a_resumed_run_is_bitwise_the_uninterrupted_one() -> None:
    x = torch.from_numpy(planted(300)[0])
    config = SAEConfig(latents=64, k=4, steps=40, batch_size=32, dead_after=100, aux_k=8, warmup=5, checkpoint_every=7)
    saved: list[dict[str, torch.Tensor]] = []
    whole = trained(x, config, saved=saved)
    steps = [7, 14, 21, 28, 35, 40]
    for tensors, step in zip(saved, steps, strict=True):
        resumed = trained(x, config, Progress.from_tensors(tensors, step)).tensors()
        assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.tensors().items())


def test_checkpointing_oftener_changes_no_bit() -> None:
    x = torch.from_numpy(planted(100)[0])
    runs = [
        trained(x, SAEConfig(latents=40, k=4, steps=20, batch_size=32, checkpoint_every=every)).tensors()
        for every in (1, 20)
    ]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


@pytest.mark.parametrize(("rows", "size"), [(10, 3), (10, 10), (4, 100)])
def test_order_is_a_function_of_seed_and_step_and_an_epoch_repeats_no_row(rows: int, size: int) -> None:
    steps = list(islice(batches(rows, size, 7, 0), 12))
    for start in range(12):
        later = list(islice(batches(rows, size, 7, start), 12 - start))
        assert all(np.array_equal(a, b) for a, b in zip(steps[start:], later, strict=True))
    per_epoch = rows // min(size, rows)
    epoch = np.concatenate(steps[:per_epoch])
    assert len(set(epoch.tolist())) == len(epoch)
    assert not np.array_equal(steps[0], next(batches(rows, size, 8, 0)))


def test_a_planted_dictionary_is_found() -> None:
    x, dictionary = planted(3000)
    config = SAEConfig(latents=64, k=3, steps=800, batch_size=128, lr=3e-3, dead_after=2000, aux_k=16)
    sae = sae_of(trained(torch.from_numpy(x), config), config)
    best = np.abs(dictionary @ sae.W_dec.numpy().T).max(axis=1)
    assert best.mean() > 0.9
    held_out = evaluate(sae, planted(1000, seed=1)[0], gathered(sae, x))
    assert held_out.fvu < 0.2
    assert held_out.fvu < held_out.pca_fvu < 1 <= held_out.mean_fvu < 1.1
    assert held_out.l0 <= config.k


def test_latents_that_died_are_revived_by_the_auxiliary_loss() -> None:
    x = torch.from_numpy(planted(1000)[0])
    fired = {}
    for aux in (0, 8):
        config = SAEConfig(latents=48, k=3, steps=300, batch_size=128, lr=3e-3, dead_after=500, aux_k=aux)
        start = begin(Resident(x), config)
        start.weights["b_enc"][:40] = -6.0  # below every input: no pre-activation is positive
        start.idle[:40] = 10_000
        assert not gathered(sae_of(start, config), x.numpy()).fires[:40].any()
        sae = sae_of(trained(x, config, start), config)
        fired[aux] = int(gathered(sae, x.numpy()).fires[:40].sum())
    assert fired[0] == 0
    assert fired[8] >= 20


def test_what_cannot_be_fitted_is_refused_clearly() -> None:
    x = torch.randn(10, 4)
    with pytest.raises(ConfigError, match="k exceeds the number of latents"):
        trained(x, SAEConfig(expansion=2, k=9))
    with pytest.raises(ValueError, match="exceeds latents"):
        SAEConfig(latents=4, k=5)
    with pytest.raises(InputError, match="too few images"):
        trained(x[:1], SAEConfig(k=2))
    with pytest.raises(InputError, match="not finite"):
        trained(torch.full((5, 4), torch.nan), SAEConfig(k=2))
    with pytest.raises(InputError, match="do not vary"):
        trained(torch.ones(5, 4), SAEConfig(k=2))


def test_a_latent_of_one_dimension_has_a_direction() -> None:
    x = torch.from_numpy(planted(40, d=1)[0])
    state = trained(x, SAEConfig(latents=16, k=2, steps=2, warmup=1))
    assert torch.equal(state.weights["W_dec"].abs(), torch.ones(16, 1))


def test_workers_share_a_batch_that_the_rows_bound_evenly() -> None:
    x = torch.from_numpy(planted(7)[0])
    config = SAEConfig(variant="batchtopk", latents=20, k=2, steps=3, batch_size=16, workers=2, precision="float32")

    def work(peers: Threads) -> Progress:
        member = Member(config, begin(Resident(x), config))
        fit(Resident(x), [member], lambda *_: None, peers)
        return member.state

    one, other = together([work, work])
    alone = trained(x, config.model_copy(update={"batch_size": 6, "workers": 1}))
    for name, tensor in alone.tensors().items():
        assert torch.equal(one.tensors()[name], other.tensors()[name]), name
        torch.testing.assert_close(one.tensors()[name], tensor, rtol=1e-3, atol=1e-5)
    few = Resident(x[:2])
    with pytest.raises(InputError, match="fewer images to fit an SAE on than workers"):
        fit(few, [Member(config, begin(few, config))], lambda *_: None, Threads(0, 3, [], threading.Barrier(3)))
