"""What logits mean: multi-label, multi-class and binary; losses that pass over masked labels."""

from typing import cast, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from neuroconcepts_ray.classifier.card import Task
from neuroconcepts_ray.errors import InputError


def as_task(name: str) -> Task:
    """A task by its name, as a catalog gives it.

    Raises:
        InputError: No such task.
    """
    if name not in get_args(Task):
        raise InputError("the catalog has an unknown task", value=name, limit=", ".join(get_args(Task)))
    return cast(Task, name)


def known(y: Float[Tensor, "b l"], task: Task) -> Bool[Tensor, "b l"]:
    """What enters the loss: each label that is not masked (NaN); of multi-class rows all or nothing."""
    there = ~torch.isnan(y)
    return there.all(dim=1, keepdim=True).expand_as(there) if task == "multiclass" else there


def terms(y: Float[Tensor, "b l"], task: Task) -> Float[Tensor, ""]:
    """How many terms the loss sums: labels that are not masked, or rows where classes exclude each other."""
    there = known(y, task)
    return (there[:, 0] if task == "multiclass" else there).sum().to(torch.float32)


def loss_sum(
    logits: Float[Tensor, "b l"], y: Float[Tensor, "b l"], task: Task, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Sum of cross-entropies over what is not masked; divide by :func:`terms` for the mean.

    Multi-label and binary: Σ −y log σ(s) − (1−y) log(1−σ(s)), with y(1−ε) + ε/2 for smoothing ε.
    Multi-class: Σ −log softmax(s)_y, the target mixed with ε/l of the uniform distribution.
    """
    there = known(y, task)
    target = torch.where(there, y, torch.zeros_like(y))
    if task == "multiclass":
        target = target * (1 - smoothing) + smoothing / y.shape[1]
        losses = -target * F.log_softmax(logits.float(), dim=1)
    else:
        target = target * (1 - smoothing) + smoothing / 2
        losses = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return torch.where(there, losses, torch.zeros_like(losses)).sum()


def probabilities(logits: Float[Tensor, "b l"], task: Task) -> Float[Tensor, "b l"]:
    """σ(s) of each label, or softmax over classes that exclude each other."""
    return torch.softmax(logits.float(), dim=1) if task == "multiclass" else torch.sigmoid(logits.float())
