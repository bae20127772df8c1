"""From the state of a training to the SAE that reads activations as they come."""

from neuroconcepts_ray.sae.model import SAE
from neuroconcepts_ray.sae.objective import Objective
from neuroconcepts_ray.sae.optimise import normalise
from neuroconcepts_ray.sae.progress import Progress


def fold(state: Progress, objective: Objective) -> SAE:
    """The SAE that reads activations as they come, of the averages where they were kept.

    With x̃ = (x − μ)/s, z̃ = a((x̃ − b̃) Wᵀ + c̃) for TopK or JumpReLU a, and s > 0: s·z̃ = aₛ((x − μ − s b̃) Wᵀ + s c̃)
    with thresholds s θ̃, hence b_dec = μ + s b̃, b_enc = s c̃, both matrices unchanged, and x̂ = s x̂̃ + μ exactly.

    Args:
        state: The state after the last step.
        objective: The objective in force at the last step.
    """
    w = state.average or state.weights
    W_enc, b_enc, activation = objective.fitted(w, state.average or state.buffers)
    return SAE(
        W_enc=W_enc.clone(),
        b_enc=state.scale * b_enc,
        W_dec=normalise(w["W_dec"]),
        b_dec=state.mean + state.scale * w["b_dec"],
        activation=activation.scaled(state.scale),
    )
