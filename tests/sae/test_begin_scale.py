"""The first weights: the first reconstruction is as close as any of its length."""

import numpy as np
import torch

from neuroconcepts_ray.sae.begin import begin
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.data import Resident
from neuroconcepts_ray.sae.family.build import objective
from neuroconcepts_ray.sae.fold import fold
from neuroconcepts_ray.sae.metrics import fvu


def test_another_scale_of_the_encoder_reconstructs_worse_before_the_first_step() -> None:
    rng = np.random.default_rng(0)
    x = (rng.gamma(1.0, 1.0, (1000, 12)) @ rng.standard_normal((12, 24))).astype(np.float32)
    config = SAEConfig(latents=48, k=8)
    left = {}
    for factor in (0.9, 1.0, 1.1):
        state = begin(Resident(torch.from_numpy(x)), config)
        state.weights["W_enc"] *= factor
        sae = fold(state, objective(config, 48))
        left[factor] = fvu(x, sae.reconstruct(torch.from_numpy(x)).numpy())
    assert left[1.0] < min(left[0.9], left[1.1])
    assert left[1.0] < 1  # unit rows overshoot: worse than the mean
    state = begin(Resident(torch.from_numpy(x)), config)
    state.weights["W_enc"] = state.weights["W_dec"].clone()
    assert fvu(x, fold(state, objective(config, 48)).reconstruct(torch.from_numpy(x)).numpy()) > 1
