"""The training loop: films in memory, AdamW with a cosine, early stop on select; resumed, it is bitwise the same."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from neuroconcepts_ray.classifier.augment import augment, derived_seed, generator
from neuroconcepts_ray.classifier.config import ClassifierConfig
from neuroconcepts_ray.classifier.evaluate import macro_auroc
from neuroconcepts_ray.classifier.heads import loss_sum, terms
from neuroconcepts_ray.classifier.model import Classifier
from neuroconcepts_ray.distributed.train import Save, State, World
from neuroconcepts_ray.errors import ConfigError, InputError

INFER_BATCH = 64
"""Films of a forward pass when scores are computed; fixed, so that scores do not depend on batch_size."""


@dataclass(frozen=True)
class Films:
    """What one rank trains and scores with: its share of the films, and the labels of all of role select.

    Attributes:
        fit_x: This rank's films of role fit.
        fit_y: Their labels, NaN where masked.
        least: The smallest number of films of role fit that any rank has.
        select_x: This rank's films of role select.
        select_at: Their rows in ``select_y``.
        select_y: Labels of role select, all ranks.
    """

    fit_x: UInt8[np.ndarray, "n c h w"]
    fit_y: Float[np.ndarray, "n l"]
    least: int
    select_x: UInt8[np.ndarray, "m c h w"]
    select_at: Int[np.ndarray, " m"]
    select_y: Float[np.ndarray, "s l"]


def learning_rate(step: int, total: int, config: ClassifierConfig) -> float:
    """The rate of a step: linear up to ``lr`` over the warm-up, then a half cosine down to zero."""
    warm = int(config.warmup * total)
    if step < warm:
        return config.lr * (step + 1) / warm
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def make_optimiser(model: Classifier, config: ClassifierConfig) -> torch.optim.AdamW:
    """AdamW; vectors (norms, biases) are not decayed."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr)


def _moments(optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor, str]]:
    """Name, parameter and key of all that AdamW remembers."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for number, parameter in enumerate(parameters):
        for key in ("exp_avg", "exp_avg_sq", "step"):
            yield f"optimiser.{number}.{key}", parameter, key


def _tensors(model: Classifier, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {f"model.{name}": value for name, value in model.timm_state().items()}
    for name, parameter, key in _moments(optimiser):
        if key in optimiser.state.get(parameter, {}):
            tensors[name] = optimiser.state[parameter][key]
    return tensors


def _take(state: State, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): v for name, v in state.tensors.items() if name.startswith(prefix)}


def _restore(state: State, model: Classifier, optimiser: torch.optim.Optimizer) -> None:
    model.load_timm_state(_take(state, "model."))
    for name, parameter, key in _moments(optimiser):
        if name in state.tensors:
            saved = state.tensors[name]
            # Saved contiguous; the moments take the parameter's own layout back.
            like = saved.clone() if key == "step" else torch.empty_like(parameter).copy_(saved)
            optimiser.state[parameter][key] = like


def _sum(tensors: list[Tensor], world: World) -> None:
    """Replace tensors by their sums over ranks."""
    if world.size == 1 or not tensors:
        return
    flat = torch.cat([t.reshape(-1) for t in tensors])
    dist.all_reduce(flat)
    start = 0
    for tensor in tensors:
        tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()


def gather_json(value: Any, world: World, device: torch.device) -> list[Any]:
    """Plain data of every rank, in their order, without pickles."""
    if world.size == 1:
        return [value]
    data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(device)
    size = torch.tensor([len(data)], device=device)
    sizes = [torch.zeros_like(size) for _ in range(world.size)]
    dist.all_gather(sizes, size)
    longest = max(int(s) for s in sizes)
    padded = torch.zeros(longest, dtype=torch.uint8, device=device)
    padded[: len(data)] = data
    everybody = [torch.zeros_like(padded) for _ in range(world.size)]
    dist.all_gather(everybody, padded)
    return [json.loads(bytes(t[: int(s)].cpu().numpy())) for t, s in zip(everybody, sizes, strict=True)]


def infer(model: Classifier, x: UInt8[np.ndarray, "m c h w"], device: torch.device, dtype: str) -> Float[Tensor, "m l"]:
    """Logits of films, by fixed batches, on the CPU."""
    model.eval()
    logits = [torch.zeros(0, len(model.labels))]
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
        for start in range(0, len(x), INFER_BATCH):
            batch = torch.from_numpy(np.array(x[start : start + INFER_BATCH])).to(device)
            logits.append(model(batch).float().cpu())
    return torch.cat(logits)


def score_select(
    model: Classifier, films: Films, world: World, device: torch.device, dtype: str
) -> tuple[Float[Tensor, "s l"], dict[str, float | None]]:
    """Logits of role select from all ranks, with their loss and macro AUROC where these exist."""
    logits = torch.zeros(films.select_y.shape)
    logits[torch.from_numpy(films.select_at)] = infer(model, films.select_x, device, dtype)
    if world.size > 1:
        shared = logits.to(device)
        _sum([shared], world)
        logits = shared.cpu()
    y = torch.from_numpy(films.select_y)
    count = float(terms(y, model.task))
    loss = float(loss_sum(logits, y, model.task)) / count if count else None
    return logits, {"select_loss": loss, "select_macro_auroc": macro_auroc(logits.numpy(), films.select_y, model.task)}


def _epoch(
    model: Classifier,
    optimiser: torch.optim.Optimizer,
    films: Films,
    config: ClassifierConfig,
    world: World,
    device: torch.device,
    epoch: int,
) -> float:
    """One pass over this rank's films; the mean loss."""
    batch = min(config.batch_size // world.size, films.least)
    steps = films.least // batch
    order = torch.randperm(len(films.fit_x), generator=generator(config.seed, "order", epoch, world.rank)).numpy()
    model.train()
    total = torch.zeros((), device=device)
    for number in range(steps):
        step = epoch * steps + number
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, config.epochs * steps, config)
        # Dropout and stochastic depth draw from torch's global state: seed it, so that a resumed run draws the same.
        torch.manual_seed(derived_seed(config.seed, "layers", epoch, number, world.rank))
        rows = order[number * batch : (number + 1) * batch]
        x = torch.from_numpy(films.fit_x[rows]).to(device).float() / 255
        y = torch.from_numpy(films.fit_y[rows]).to(device)
        x = augment(x, config.augment, generator(config.seed, "augment", epoch, number, world.rank))
        count = terms(y, model.task)
        _sum([count], world)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.dtype == "bfloat16"):
            f = model.pre_logits(model.normalise(x))
        loss = loss_sum(model.logits(f), y, model.task, config.label_smoothing) / count.clamp(min=1)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        _sum([p.grad for p in model.parameters() if p.grad is not None], world)
        optimiser.step()
        total += loss.detach()
    _sum([total], world)
    # Running means of batch norm saw this rank's films only; the model that is kept is one for all ranks.
    floats = [b for b in model.buffers() if b.is_floating_point()]
    if world.size > 1:
        _sum(floats, world)
        for value in floats:
            value /= world.size
    return float(total) / steps


def fit(
    model: Classifier,
    films: Films,
    config: ClassifierConfig,
    world: World,
    resume: State | None,
    save: Save,
    meta: dict[str, Any],
) -> None:
    """Train until the epochs are over or ``patience`` runs out; saves its whole state after every epoch.

    Args:
        model: With fresh weights, the same on every rank.
        films: This rank's films.
        config: How.
        world: Which rank this is.
        resume: The last saved state.
        save: Called once an epoch, on every rank.
        meta: Plain data that every state shall carry.

    Raises:
        InputError: There is nothing to train on.
        ConfigError: The loss is no longer finite.
    """
    if films.least < 1:
        raise InputError("no film of role fit has a label", remedy="Check the catalog's roles and labels")
    device = next(model.parameters()).device
    torch.backends.cudnn.deterministic = True
    model.to(memory_format=torch.channels_last)
    optimiser = make_optimiser(model, config)
    progress: dict[str, Any] = {"epoch": 0, "best_epoch": 0, "best": None, "history": [], "done": False}
    best: dict[str, Tensor] = {}
    if resume is not None:
        progress = {key: resume.meta[key] for key in progress}
        _restore(resume, model, optimiser)
        best = {name: v for name, v in resume.tensors.items() if name.startswith("best.")}
    steps = films.least // min(config.batch_size // world.size, films.least)
    with torch.random.fork_rng():
        while not progress["done"]:
            epoch = progress["epoch"]
            loss = _epoch(model, optimiser, films, config, world, device, epoch)
            if not math.isfinite(loss):
                raise ConfigError(
                    "the training loss is no longer finite",
                    value=f"epoch {epoch + 1}",
                    where="classifier.lr",
                    remedy="Lower classifier.lr or raise classifier.warmup",
                )
            logits, figures = score_select(model, films, world, device, config.dtype)
            figure = figures["select_macro_auroc"]
            if figure is None and figures["select_loss"] is not None:
                figure = -figures["select_loss"]
            history = [*progress["history"], {"epoch": epoch + 1, "loss": loss, **figures}]
            progress = {**progress, "epoch": epoch + 1, "history": history}
            # Without any film to choose by, the last epoch counts.
            if figure is None or progress["best"] is None or figure > progress["best"]:
                progress.update(best=figure, best_epoch=epoch + 1)
                best = {f"best.model.{name}": value.clone() for name, value in model.timm_state().items()}
                best["best.logits"] = logits
            waited = progress["epoch"] - progress["best_epoch"]
            progress["done"] = progress["epoch"] >= config.epochs or waited >= config.patience
            metrics = {"step": float(progress["epoch"] * steps), "loss": loss}
            save(State({**_tensors(model, optimiser), **best}, {**meta, **progress}), metrics)


def score_only(model: Classifier, films: Films, world: World, save: Save, meta: dict[str, Any]) -> None:
    """What :func:`fit` leaves behind, for weights that were brought along: nothing is trained."""
    logits, figures = score_select(model, films, world, next(model.parameters()).device, "float32")
    best = {f"best.model.{name}": value for name, value in model.timm_state().items()} | {"best.logits": logits}
    progress = {"epoch": 0, "best_epoch": 0, "history": [{"epoch": 0, **figures}], "done": True}
    save(State(best, {**meta, **progress}), {"step": 1.0})
