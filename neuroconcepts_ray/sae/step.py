"""One training step: losses, gradients by every weight, Adam, unit decoder rows."""

import torch
from jaxtyping import Float
from torch import Tensor

from neuroconcepts_ray.sae.objective import Losses, Moment, Objective, Weights
from neuroconcepts_ray.sae.optimise import Adam, remove_parallel
from neuroconcepts_ray.sae.progress import Progress


def dense_gradients(
    objective: Objective, w: Weights, x: Float[Tensor, "b d"], moment: Moment
) -> tuple[Losses, Weights]:
    """Losses of a batch and the gradient of their total by each weight, by autograd over the dense formula."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in w.items()}
    result = objective.losses(leaves, x, moment)
    grads = torch.autograd.grad(result.total, list(leaves.values()), materialize_grads=True)
    return result, dict(zip(leaves, grads, strict=True))


def take(state: Progress, objective: Objective, x: Float[Tensor, "b d"], moment: Moment, lr: float) -> Losses:
    """One step of the optimiser, in place.

    Args:
        state: The state; its weights and moments change, its counters do not.
        objective: The objective in force at this step.
        x: This worker's rows, centred and scaled.
        moment: What the step knows beside them.
        lr: The learning rate.
    """
    result, grads = dense_gradients(objective, state.weights, x, moment)
    grads = {name: moment.peers.sum(grad) for name, grad in grads.items()}
    grads["W_dec"] = remove_parallel(grads["W_dec"], state.weights["W_dec"])
    adam = Adam()
    for name, weight in state.weights.items():
        adam.update(weight, state.m[name], state.v[name], grads[name], lr=lr, step=state.step + 1)
    W_dec = state.weights["W_dec"]
    W_dec.div_(torch.linalg.vector_norm(W_dec, dim=1, keepdim=True))
    return result
