"""The exact decomposition of a logit, and class influence."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.neurons.influence import decompose, latent_influence, unit_influence
from neuroconcepts_ray.sae.activation import TopK
from neuroconcepts_ray.sae.model import SAE


def scene(seed: int, d: int = 64, n: int = 256, labels: int = 5) -> tuple[np.ndarray, SAE, np.ndarray, np.ndarray]:
    g = torch.Generator().manual_seed(seed)
    W_dec = torch.nn.functional.normalize(torch.randn(n, d, generator=g), dim=1)
    sae = SAE(W_dec.clone(), torch.randn(n, generator=g) / 5, W_dec, torch.randn(d, generator=g), TopK(16))
    f = torch.randn(d, generator=g).relu() * 2
    W, b = torch.randn(labels, d, generator=g) / d**0.5, torch.randn(labels, generator=g)
    return f.numpy(), sae, W.numpy(), b.numpy()


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_terms_residual_and_biases_sum_to_the_logit(seed: int) -> None:
    f, sae, W, b = scene(seed)
    z = sae.encode_dense(torch.from_numpy(f)[None])[0].numpy()
    parts = decompose(f, z, sae, W, b)
    exact = W.astype(np.float64) @ f.astype(np.float64) + b.astype(np.float64)
    np.testing.assert_allclose(parts.total, exact, atol=1e-9)
    assert parts.error < 1e-9
    deployed = torch.nn.functional.linear(torch.from_numpy(f), torch.from_numpy(W), torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(parts.total, deployed, atol=1e-5)


def test_each_part_is_what_its_name_says() -> None:
    f, sae, W, b = scene(0)
    z = sae.encode_dense(torch.from_numpy(f)[None])[0].numpy()
    parts = decompose(f, z, sae, W, b)
    assert len(parts.latents) <= 16
    for row, j in enumerate(parts.latents):
        for y in range(len(b)):
            one = sum(float(W[y, i]) * float(sae.W_dec[j, i]) for i in range(sae.d))
            assert parts.terms[row, y] == pytest.approx(float(z[j]) * one, abs=1e-12)
    f_hat = sae.decode(torch.from_numpy(z)[None])[0].double().numpy()
    np.testing.assert_allclose(parts.residual, W.astype(np.float64) @ (f - f_hat), atol=1e-5)
    np.testing.assert_allclose(parts.bias_dec, W @ sae.b_dec.numpy(), atol=1e-5)


def test_influence_is_what_one_more_of_a_neuron_adds_to_each_logit() -> None:
    f, sae, W, _ = scene(1)
    influence = latent_influence(W, sae.W_dec.numpy())
    np.testing.assert_allclose(influence[:, 7], W @ (f + sae.W_dec[7].numpy()) - W @ f, atol=1e-5)
    std = np.full(sae.d, 2.0, dtype=np.float32)
    std[3] = np.inf
    units = unit_influence(W, std)
    np.testing.assert_allclose(units[:, 0], 2 * W[:, 0], rtol=1e-6)
    assert not units[:, 3].any()


def test_a_vector_of_another_model_is_refused() -> None:
    f, sae, W, b = scene(2)
    with pytest.raises(InputError, match="do not belong"):
        decompose.__wrapped__(f[:-1], np.zeros(sae.n), sae, W, b)
