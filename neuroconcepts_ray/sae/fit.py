"""The training loop over one stream of batches, for any number of members at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.data import Rows, batches
from neuroconcepts_ray.sae.family.build import objective
from neuroconcepts_ray.sae.objective import Losses, Moment
from neuroconcepts_ray.sae.optimise import learning_rate
from neuroconcepts_ray.sae.peers import ALONE, Peers
from neuroconcepts_ray.sae.progress import Progress
from neuroconcepts_ray.sae.revive import due, resample
from neuroconcepts_ray.sae.step import take


@dataclass
class Member:
    """One SAE of a training: its config, and its state and history, which change.

    Attributes:
        config: The config.
        state: The state.
        history: ``steps``, ``loss``, ``l0`` and ``dead`` at about 100 steps, whatever ``checkpoint_every`` is.
    """

    config: SAEConfig
    state: Progress
    history: dict[str, list[int | float]] = field(
        default_factory=lambda: {name: [] for name in ("steps", "loss", "l0", "dead")}
    )


def advance(member: Member, x: Float[Tensor, "b d"], peers: Peers = ALONE) -> Losses:
    """One optimiser step in place.

    Args:
        member: The member, whose state changes.
        x: This worker's rows of the batch, as they come.
        peers: The other workers, each with as many rows.
    """
    config, state = member.config, member.state
    made = objective(config, len(state.idle)).at(state.step)
    rows = len(x) * peers.size
    moment = Moment(dead=state.idle >= config.dead_after, rows=rows, peers=peers)
    lr = learning_rate(
        state.step, peak=config.peak_lr(x.shape[1]), warmup=config.warmup, steps=config.steps, schedule=config.schedule
    )
    x = (x - state.mean).div_(state.scale)
    losses = take(state, made, x, moment, lr, config.precision)
    made.observe(state.buffers, losses)
    state.step += 1
    state.idle.add_(rows).masked_fill_(peers.max(losses.fired.to(torch.uint8)).bool(), 0)
    if config.ema is not None:
        # Its weights sum to one from the first step on, so that nothing of the untrained SAE stays in it.
        rate = (1 - config.ema) / (1 - config.ema**state.step)
        now = state.weights | state.buffers
        for name, average in state.average.items():
            average.lerp_(now[name], rate)
    if due(state.step, config.resample_every, config.steps):
        resample(state, made, x, dead_after=config.dead_after, seed=config.seed, peers=peers)
    return losses


def report(member: Member, losses: Losses, peers: Peers = ALONE) -> dict[str, float]:
    """What is told of a step: loss (share of the scaled inputs' mean square), L0, dead share.

    Raises:
        InputError: The training diverged.
    """
    loss, l0 = peers.sum(torch.stack([losses.reconstruction.double(), losses.l0.double()])).tolist()
    if not np.isfinite(loss):
        raise InputError("training diverged", value=loss, where=f"sae, step {member.state.step}", remedy="Lower sae.lr")
    dead = float((member.state.idle >= member.config.dead_after).float().mean())
    return {"loss": loss, "l0": l0, "dead": dead}


def saves(config: SAEConfig, done: int) -> list[int]:
    """The steps after which :func:`fit` saves, of a training that has ``done`` some."""
    steps = [step for step in range(done + 1, config.steps) if step % config.checkpoint_every == 0]
    return [*steps, config.steps]


def fit(
    rows: Rows,
    members: Sequence[Member],
    save: Callable[[int, list[dict[str, float]]], None],
    peers: Peers = ALONE,
) -> None:
    """Train all members to the last step over one stream, saving every ``checkpoint_every`` steps and at the end.

    Args:
        rows: All training rows.
        members: The members; their configs agree in what decides the stream (data_seed, batch_size, steps,
            checkpoint_every), their states in the step that they have done.
        save: Called with the step and the metrics of each member.
        peers: The other workers of a data-parallel training; each has as many rows of a batch.

    Raises:
        InputError: Fewer rows than workers, or the training diverged.
    """
    config = members[0].config
    step = members[0].state.step
    if step == config.steps:
        save(step, [{} for _ in members])
        return
    # A batch is bounded by the rows, which the workers need not divide.
    size = min(config.batch_size, len(rows)) // peers.size * peers.size
    if not size:
        raise InputError(
            "fewer images to fit an SAE on than workers", value=len(rows), limit=f"≥ {peers.size}", where="sae.workers"
        )
    order = batches(len(rows), size, config.data_seed, step)
    mine = (numbers[peers.rank :: peers.size] for numbers in order)
    for x in rows.batches(mine):
        losses = [advance(member, x, peers) for member in members]
        step += 1
        last = step == config.steps
        record, keep = last or step % max(1, config.steps // 100) == 0, last or step % config.checkpoint_every == 0
        if record or keep:
            told = [report(member, one, peers) for member, one in zip(members, losses, strict=True)]
            if record:
                for member, one in zip(members, told, strict=True):
                    for name, value in ({"steps": step} | one).items():
                        member.history[name].append(value)
            if keep:
                save(step, told)
        if step == config.steps:
            return
