"""TopK, AuxK, the step and the folding, against naive independent implementations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.sae.activation import TopK
from neuroconcepts_ray.sae.begin import begin
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.data import Resident
from neuroconcepts_ray.sae.family.auxk import AuxK
from neuroconcepts_ray.sae.family.topk import TopKObjective
from neuroconcepts_ray.sae.fit import Member, advance
from neuroconcepts_ray.sae.fold import fold
from neuroconcepts_ray.sae.model import DESCRIPTION, SAE, WEIGHTS, read_sae, save_sae
from neuroconcepts_ray.sae.objective import Moment
from neuroconcepts_ray.sae.optimise import Adam, learning_rate, normalise, remove_parallel
from neuroconcepts_ray.sae.progress import Progress
from neuroconcepts_ray.sae.step import dense_gradients

B, D, N, K = 16, 6, 20, 3


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    return {"W_enc": normal(N, D), "b_enc": normal(N) / 4, "W_dec": normalise(normal(N, D)), "b_dec": normal(D) / 4}


def inputs(seed: int = 1) -> torch.Tensor:
    return torch.randn(B, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_code(w: dict[str, np.ndarray], x: np.ndarray, k: int, only: set[int] | None = None) -> np.ndarray:
    """Latent by latent and input by input, as the formula reads; without the ReLU for the dead."""
    z = np.zeros((len(x), len(w["W_enc"])))
    for i, row in enumerate(x):
        pre = {
            j: float((row - w["b_dec"]) @ w["W_enc"][j] + w["b_enc"][j])
            for j in range(len(w["W_enc"]))
            if only is None or j in only
        }
        for j in sorted(pre, key=lambda j: -pre[j])[:k]:
            z[i, j] = pre[j] if only is not None else max(0.0, pre[j])
    return z


def naive_loss(w: dict[str, np.ndarray], x: np.ndarray, dead: set[int], aux: AuxK, target: np.ndarray | None) -> float:
    e = x - naive_code(w, x, K) @ w["W_dec"] - w["b_dec"]
    total = float((e**2).mean())
    if dead:
        fixed = e if target is None else target  # the target of the auxiliary loss is a constant
        e_hat = naive_code(w, x, min(aux.k, len(dead)), dead) @ w["W_dec"]
        total += aux.coefficient * min(1, len(dead) / aux.k) * ((fixed - e_hat) ** 2).sum() / (fixed**2).sum()
    return total


@pytest.mark.parametrize("dead", [(), (0, 3, 7, 11, 19)])
def test_loss_and_all_gradients_are_those_of_the_formula(dead: tuple[int, ...]) -> None:
    w, x, aux = weights(), inputs(), AuxK(k=4, coefficient=0.3)
    mask = torch.zeros(N, dtype=torch.bool)
    mask[list(dead)] = True
    result, grads = dense_gradients(TopKObjective(K, aux), w, x, Moment(mask, B))
    plain = {name: tensor.numpy() for name, tensor in w.items()}
    target = x.numpy() - naive_code(plain, x.numpy(), K) @ plain["W_dec"] - plain["b_dec"]
    assert result.total.item() == pytest.approx(naive_loss(plain, x.numpy(), set(dead), aux, None), rel=1e-12)
    for name, grad in grads.items():
        numeric = np.zeros_like(plain[name])
        for at in np.ndindex(*numeric.shape):
            up, down = ({k: v.copy() for k, v in plain.items()} for _ in range(2))
            up[name][at] += 1e-6
            down[name][at] -= 1e-6
            values = [naive_loss(v, x.numpy(), set(dead), aux, target) for v in (up, down)]
            numeric[at] = (values[0] - values[1]) / 2e-6
        np.testing.assert_allclose(grad.numpy(), numeric, atol=1e-7)


def test_the_auxiliary_gradient_reaches_encoder_rows_that_are_negative_for_every_input() -> None:
    w, x = weights(), inputs()
    w["b_enc"][5] = -100.0
    dead = torch.zeros(N, dtype=torch.bool)
    dead[5] = True
    for aux, moves in ((AuxK(4, 0.3), True), (AuxK(4, 0.0), False), (AuxK(0, 0.3), False)):
        result, grads = dense_gradients(TopKObjective(K, aux), w, x, Moment(dead, B))
        assert not result.fired[5]
        assert bool(grads["W_enc"][5].any()) is moves
        assert bool(grads["b_enc"][5] < 0) is moves  # descending, the bias rises


@given(st.integers(0, 10_000), st.floats(0.01, 100))
@settings(max_examples=25, deadline=None)
def test_folding_scale_and_mean_into_the_weights_changes_nothing(seed: int, scale: float) -> None:
    w, mean = weights(seed), torch.linspace(-3, 5, D, dtype=torch.float64)
    zero = torch.zeros(N, dtype=torch.int64)
    state = Progress(w, {}, {}, zero, mean, torch.tensor(scale, dtype=torch.float64), 1)
    inside = SAE(**w, activation=TopK(K))
    sae = fold(state, TopKObjective(K, AuxK(0, 0.0)))
    x = inputs(seed + 1) * scale + mean
    z = inside.encode_dense((x - mean) / scale)
    torch.testing.assert_close(sae.encode_dense(x), scale * z, rtol=1e-9, atol=1e-9 * scale)
    torch.testing.assert_close(sae.reconstruct(x), scale * inside.decode(z) + mean, rtol=1e-9, atol=1e-9 * scale)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(N, dtype=torch.float64))


def test_at_most_k_latents_fire_and_sparse_equals_dense() -> None:
    w, x = weights(), inputs()
    w["b_enc"] -= 3
    sae = SAE(**w, activation=TopK(K))
    values, indices = TopK(K).sparse(sae.pre(x))
    dense = sae.encode_dense(x)
    np.testing.assert_allclose(dense.numpy(), naive_code({k: v.numpy() for k, v in w.items()}, x.numpy(), K))
    assert (dense >= 0).all()
    assert ((dense > 0).sum(1) <= K).all()
    assert ((dense > 0).sum(1) < K).any()
    torch.testing.assert_close(dense.gather(1, indices), values)


def test_a_step_keeps_decoder_rows_at_unit_norm_and_moves_them_only_sideways() -> None:
    w = weights()
    sideways = remove_parallel(inputs(3)[:1].expand(N, D), w["W_dec"])
    assert ((sideways * w["W_dec"]).sum(1).abs() < 1e-12).all()
    x = torch.randn(64, D, generator=torch.Generator().manual_seed(0)) * 4 + 7
    config = SAEConfig(latents=N, k=K, batch_size=64)
    state = begin(Resident(x), config)
    advance(Member(config, state), x)
    torch.testing.assert_close(state.weights["W_dec"].norm(dim=1), torch.ones(N))


def test_inputs_are_scaled_to_a_mean_squared_norm_of_d() -> None:
    x = torch.randn(500, D, generator=torch.Generator().manual_seed(0)) * 4 + 7
    state = begin(Resident(x), SAEConfig(latents=N, k=K))
    assert float(((x - state.mean) / state.scale).square().sum(1).mean()) == pytest.approx(D, rel=1e-5)


def test_adam_is_torchs_adam() -> None:
    ours, theirs = torch.ones(5), torch.ones(5, requires_grad=True)
    m, v = torch.zeros(5), torch.zeros(5)
    reference = torch.optim.Adam([theirs], lr=0.01)
    for step in range(1, 20):
        grad = torch.sin(torch.arange(5) + step)
        Adam().update(ours, m, v, grad, lr=0.01, step=step)
        theirs.grad = grad.clone()
        reference.step()
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    rates = [learning_rate(s, peak=2.0, warmup=10, steps=100, schedule="cosine") for s in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[9] == rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0)


def test_an_sae_survives_its_files_and_refuses_transposed_ones() -> None:
    sae = SAE(**{name: tensor.float() for name, tensor in weights().items()}, activation=TopK(K))
    files = save_sae(sae, "layer4", "topk")
    again = read_sae(files[WEIGHTS], files[DESCRIPTION])
    assert again.activation == sae.activation
    assert torch.equal(again.reconstruct(inputs().float()), sae.reconstruct(inputs().float()))
    tensors = load(files[WEIGHTS])
    wrong = {name: tensor.T.contiguous() if tensor.ndim == 2 else tensor for name, tensor in tensors.items()}
    with pytest.raises(InputError, match="not the weights"):
        read_sae(save(wrong), files[DESCRIPTION])
