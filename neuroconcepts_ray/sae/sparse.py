"""The sparse step: one product with the encoder says who wins; all else touches the winners alone.

Dense, a step is six products of b·n·d; here it is one, which may be in bfloat16, for it only chooses: values come from
float32 rows. What does not fire adds exactly zero to loss and gradients, so this must equal the dense ``losses`` of
each member, gradients and all.
"""

import threading
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuroconcepts_ray.sae.compiled import Compiled
from neuroconcepts_ray.sae.engine import Backward, Code, Engine, Extra, Prefixes
from neuroconcepts_ray.sae.family.auxk import AuxK
from neuroconcepts_ray.sae.family.batchtopk import BatchTopKObjective
from neuroconcepts_ray.sae.family.matryoshka import MatryoshkaObjective
from neuroconcepts_ray.sae.family.topk import TopKObjective
from neuroconcepts_ray.sae.objective import Losses, Moment, Weights
from neuroconcepts_ray.sae.operators import Operators

Sparse = TopKObjective | BatchTopKObjective | MatryoshkaObjective
"""Members of which a batch needs no pre-activation but those that fire, and those of the dead."""

_local = threading.local()


def engine_for(device: torch.device) -> Engine:
    """The engine of a device; one for each thread, as it keeps memory for one step."""
    if device.type != "cpu":
        return Operators()
    if not hasattr(_local, "compiled"):
        _local.compiled = Compiled()
    compiled: Compiled = _local.compiled
    return compiled


@dataclass(frozen=True)
class Pass:
    """Losses, and what the gradients follow from.

    Attributes:
        losses: The losses.
        backward: What the gradients of W_enc and W_dec are made of.
        b_enc: Its gradient.
        b_dec: Its gradient, but for what reaches it through the encoder without the auxiliary loss.
    """

    losses: Losses
    backward: Backward
    b_enc: Float[Tensor, " n"]
    b_dec: Float[Tensor, " d"]


def smallest_of(values: Float[Tensor, " m"], most: int, size: int, moment: Moment) -> Float[Tensor, ""]:
    """The ``most``-th largest value over all workers, or the least where there are fewer; ∞ where there is none.

    Args:
        values: This worker's values above zero.
        most: How many may fire.
        size: How many values a worker could have at most: the same on all.
        moment: For the other workers.
    """
    if moment.peers.size > 1:
        # No worker can hold more of the largest than all of them together.
        padded = values.new_zeros(min(most, size))
        kept = min(len(padded), len(values))
        padded[:kept] = values.topk(kept, sorted=False).values
        values = moment.peers.gather(padded)
        values = values[values != 0]
    if not len(values):
        return values.new_full((), torch.inf)
    # Not the topk of so many, which sorts.
    return values.min() if len(values) <= most else values.kthvalue(len(values) - most + 1).values


def at_least(code: Code, smallest: Float[Tensor, ""]) -> Code:
    """The entries that reach a value; what is not a number stays."""
    kept = ~(code.values < smallest)
    ends = torch.cat([kept.new_zeros(1, dtype=torch.int64), kept.cumsum(0)])
    return Code(ends[code.start], code.latents[kept], code.values[kept])


def batch_topk(
    engine: Engine, w: Weights, x: Float[Tensor, "b d"], k: int, moment: Moment, *, screen: bool
) -> tuple[Code, Float[Tensor, ""]]:
    """As :func:`neuroconcepts_ray.sae.family.batchtopk.batch_topk`: the code, and the smallest value that fires."""
    most, size = moment.rows * k, len(x) * len(w["b_enc"])
    code = engine.candidates(w, x, most, screen)
    smallest = smallest_of(code.values, most, size, moment)
    code = at_least(code, smallest)
    if screen:
        code = engine.rescore(w, x, code)
        smallest = smallest_of(code.values[code.values != 0], most, size, moment)
        code = at_least(code, smallest)
    return code, smallest


def auxiliary(
    aux: AuxK, w: Weights, x: Float[Tensor, "b d"], residual: Float[Tensor, "b d"], moment: Moment
) -> tuple[Float[Tensor, ""], Extra, Weights]:
    """The auxiliary loss, its gradients of dead rows, and those of b_enc and b_dec: dense, but over dead rows alone."""
    rows = moment.dead.nonzero().squeeze(1)
    biases = {"b_enc": torch.zeros_like(w["b_enc"]), "b_dec": torch.zeros_like(w["b_dec"])}
    if not len(rows) or not aux.k or not aux.coefficient:
        return x.new_zeros(()), Extra.none(w["W_enc"]), biases
    W_enc = w["W_enc"][rows]
    with torch.enable_grad():
        pre = torch.addmm(w["b_enc"][rows], x, W_enc.T).requires_grad_()
        W_dec = w["W_dec"][rows].requires_grad_()
        loss = aux.loss(pre, residual, W_dec, torch.ones_like(rows, dtype=torch.bool), moment.peers)
        by_pre, by_dec = torch.autograd.grad(loss, (pre, W_dec))
    biases["b_enc"][rows] = by_pre.sum(dim=0)
    biases["b_dec"] -= biases["b_enc"][rows] @ W_enc
    at = torch.full_like(moment.dead, -1, dtype=torch.int64)
    at[rows] = torch.arange(len(rows), device=rows.device)
    return loss.detach(), Extra(at, by_pre.T @ x, by_dec), biases


def forward(
    engine: Engine, objective: Sparse, w: Weights, x: Float[Tensor, "b d"], moment: Moment, *, screen: bool
) -> Pass:
    """Losses of a batch and what their gradients follow from.

    Args:
        engine: The engine.
        objective: The member.
        w: The weights.
        x: This worker's rows, centred and scaled.
        moment: What the step knows beside them.
        screen: Whether a product in bfloat16 chooses.
    """
    n, d = w["W_enc"].shape
    x = engine.inputs(w, x)
    observed: dict[str, Tensor] = {}
    if isinstance(objective, TopKObjective):
        code = engine.topk(w, x, objective.k, screen)
    else:
        code, observed["smallest"] = batch_topk(engine, w, x, objective.k, moment, screen=screen)
    ends = objective.prefixes if isinstance(objective, MatryoshkaObjective) else (n,)
    prefixes = Prefixes.of(ends, x, moment.rows)
    decoded = engine.decode(w, x, code, prefixes)
    grouped = engine.group(code, decoded, n)
    aux, extra, biases = auxiliary(objective.aux, w, x, decoded.residual[:, -1], moment)
    errors = decoded.squares.sum(dim=0) / (moment.rows * d)
    losses = Losses(
        total=errors.mean() + aux,
        reconstruction=errors[-1],
        l0=grouped.begin[-1] / moment.rows,
        fired=grouped.fired,
        observed=observed,
    )
    backward = Backward(x, decoded, grouped, prefixes, extra)
    return Pass(losses, backward, grouped.bias + biases["b_enc"], prefixes.scale * decoded.total + biases["b_dec"])


def sparse_gradients(
    engine: Engine, objective: Sparse, w: Weights, x: Float[Tensor, "b d"], moment: Moment, *, screen: bool
) -> tuple[Losses, Weights]:
    """Losses of a batch and the gradient of their total by each weight; arguments as :func:`forward` has them."""
    made = forward(engine, objective, w, x, moment, screen=screen)
    grads, pull = engine.gradients(w, made.backward)
    return made.losses, {**grads, "b_enc": made.b_enc, "b_dec": made.b_dec - pull}
