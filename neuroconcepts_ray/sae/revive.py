"""Resampling: dead latents start again on inputs that the SAE reconstructs badly (Bricken et al. 2023)."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuroconcepts_ray.sae.objective import SHARED, Objective
from neuroconcepts_ray.sae.optimise import normalise
from neuroconcepts_ray.sae.peers import ALONE, Peers
from neuroconcepts_ray.sae.progress import Progress


def due(step: int, every: int, steps: int) -> bool:
    """Whether latents are resampled after so many steps; never so late that the new ones could not settle."""
    return every > 0 and step % every == 0 and step + every <= steps


def choose(loss: Float[np.ndarray, " b"], count: int, rng: np.random.Generator) -> np.ndarray:
    """Rows without replacement, each with probability in proportion to its squared loss; those without loss never.

    By the largest of log(u)/weight (Efraimidis & Spirakis 2006).
    """
    possible = np.flatnonzero(loss > 0)
    weight = np.square(loss[possible] / loss.max(initial=0.0)) if len(possible) else loss[possible]
    keys = np.log(rng.random(len(possible))) / np.maximum(weight, np.finfo(np.float64).tiny)
    return possible[np.argsort(-keys, kind="stable")[:count]]


@torch.no_grad()
def resample(
    state: Progress, objective: Objective, x: Float[Tensor, "b d"], *, dead_after: int, seed: int, peers: Peers = ALONE
) -> None:
    """Put dead latents on rows of the batch, in place: a function of the state, the batch and (seed, step) alone.

    A row is chosen in proportion to its squared loss, and by one latent at most, for two that begin alike stay alike:
    where more are dead than there are rows, the rest waits. Decoder row: the direction of what is left of the input.
    Bricken et al. take that of the input itself, at a fifth of the norm; but inputs have few strong directions in
    common, so that among the k largest latents of any input would be many that each explain nearly all of it, and x̂
    overshoots many times (pooled features of 1,553 films, k = 16: loss .03 before a resampling of this kind and up to
    10 after it; by what is left, up to .13). Encoder row: the same at the mean norm of the living. Bias and Adam's
    moments: zero. Parameters of the member's own: the mean of the living.

    Args:
        state: The state after a step.
        objective: The objective in force.
        x: This worker's rows, centred and scaled.
        dead_after: A latent is dead once it has not fired for so many samples.
        seed: Seed of the choice.
        peers: The other workers; all come to the same state.
    """
    w, dead = state.weights, (state.idle >= dead_after).nonzero().squeeze(1)
    if not len(dead):
        return
    rows = peers.gather(x)
    W_enc, b_enc, activation = objective.fitted(w, state.buffers)
    z = activation.dense((rows - w["b_dec"]) @ W_enc.T + b_enc)
    residual = rows - w["b_dec"] - z @ w["W_dec"]
    loss = residual.double().square().sum(dim=1).cpu().numpy()
    chosen = choose(loss, len(dead), np.random.default_rng([seed, 2, state.step]))
    dead, living = dead[: len(chosen)], state.idle < dead_after
    direction = normalise(residual[torch.from_numpy(chosen).to(rows.device)])
    norms = torch.linalg.vector_norm(w["W_enc"], dim=1)
    new = {
        "W_dec": direction,
        "W_enc": direction * (norms[living].mean() if living.any() else norms.mean()),
        "b_enc": torch.zeros_like(w["b_enc"][dead]),
    }
    for name in w.keys() - SHARED:
        new[name] = (w[name][living] if living.any() else w[name]).mean().expand(len(dead))
    for name, value in new.items():
        w[name][dead] = value
        state.m[name][dead] = 0
        state.v[name][dead] = 0
        if state.average:
            state.average[name][dead] = value
    state.idle[dead] = 0
