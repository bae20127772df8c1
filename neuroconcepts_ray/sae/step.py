"""One training step: losses, gradients by every weight, Adam, unit decoder rows."""

import torch
from jaxtyping import Float
from torch import Tensor

from neuroconcepts_ray.sae.engine import Engine, Slots
from neuroconcepts_ray.sae.objective import Losses, Moment, Objective, Weights
from neuroconcepts_ray.sae.optimise import Adam
from neuroconcepts_ray.sae.progress import Progress
from neuroconcepts_ray.sae.sparse import Sparse, engine_for, forward, sparse_gradients


def dense_gradients(
    objective: Objective, w: Weights, x: Float[Tensor, "b d"], moment: Moment
) -> tuple[Losses, Weights]:
    """Losses of a batch and the gradient of their total by each weight, by autograd over the dense formula."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in w.items()}
    result = objective.losses(leaves, x, moment)
    grads = torch.autograd.grad(result.total, list(leaves.values()), materialize_grads=True)
    return result, dict(zip(leaves, grads, strict=True))


def take(
    state: Progress, objective: Objective, x: Float[Tensor, "b d"], moment: Moment, lr: float, precision: str
) -> Losses:
    """One step of the optimiser, in place.

    Args:
        state: The state; its weights and moments change, its counters do not.
        objective: The objective in force at this step.
        x: This worker's rows, centred and scaled.
        moment: What the step knows beside them.
        lr: The learning rate.
        precision: "bfloat16" where a product in it chooses which latents fire; their values are float32 in any case.
    """
    slots = Slots(state.weights, state.m, state.v, lr, state.step + 1)
    engine = engine_for(x.device)
    if isinstance(objective, Sparse) and moment.peers.size == 1:
        return _at_once(engine, slots, objective, x, moment, screen=precision == "bfloat16")
    if isinstance(objective, Sparse):
        losses, grads = sparse_gradients(engine, objective, slots.w, x, moment, screen=precision == "bfloat16")
    else:
        losses, grads = dense_gradients(objective, slots.w, x, moment)
    _after_sum(engine, slots, {name: moment.peers.sum(grad) for name, grad in grads.items()})
    return losses


def _at_once(
    engine: Engine, slots: Slots, objective: Sparse, x: Float[Tensor, "b d"], moment: Moment, *, screen: bool
) -> Losses:
    """The step of one worker: gradients of both matrices are used as they arise, and kept nowhere."""
    made = forward(engine, objective, slots.w, x, moment, screen=screen)
    pull = engine.gradients_and_step(slots, made.backward)
    _vectors(slots, {"b_enc": made.b_enc, "b_dec": made.b_dec - pull})
    return made.losses


def _after_sum(engine: Engine, slots: Slots, grads: Weights) -> None:
    """The step by gradients that are summed over all workers."""
    engine.step(slots, {name: grads[name] for name in ("W_enc", "W_dec")})
    _vectors(slots, {name: grad for name, grad in grads.items() if name not in ("W_enc", "W_dec")})


def _vectors(slots: Slots, grads: Weights) -> None:
    """Adam on all but both matrices."""
    for name, grad in grads.items():
        Adam().update(slots.w[name], slots.m[name], slots.v[name], grad, lr=slots.lr, step=slots.step)
