"""What is kept of a module's output, one batch at a time: vectors, a sample of positions, grids, or codes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt32
from torch import Tensor

from neuroconcepts_ray.activations.config import ActivationsConfig
from neuroconcepts_ray.activations.taps import Tap, sample
from neuroconcepts_ray.classifier.outputs import class_token, grid, pool
from neuroconcepts_ray.errors import ConfigError

Columns = dict[str, Shaped[np.ndarray, "b ..."]]
"""What is kept of some images, by column of the artifact's table."""

Coder = Callable[
    [Float[Tensor, "p d"], int],
    tuple[UInt32[np.ndarray, " k"], Float[np.ndarray, " k"], UInt32[np.ndarray, " k"]],
]
"""Codes of an image from its positions, given how many neurons at most: neurons, values, places."""


@dataclass
class Pooled:
    """One float32 vector an image.

    Attributes:
        tap: The entry.
        reduction: ``mean`` or ``max`` over the positions of a map.
        tokens: ``mean``, ``max`` or ``class`` of tokens.
        prefix: Tokens before those of the patches.
        about: Empty.
    """

    tap: Tap
    reduction: str
    tokens: str
    prefix: int
    about: dict[str, int] = field(default_factory=dict)

    def __call__(self, output: object, image_ids: Sequence[str]) -> Columns:  # noqa: ARG002
        """The columns of a batch."""
        if self.tap.keep == "class":
            found = class_token(output, self.tap.name, self.prefix)
        else:
            found = pool(output, self.tap.module, reduction=self.reduction, tokens=self.tokens, prefix=self.prefix)
        return {"activation": found.float().cpu().numpy()}


@dataclass
class Positions:
    """Vectors [p, d] at a sample of an image's positions, and which these are.

    Attributes:
        tap: The entry.
        prefix: Tokens before those of the patches.
        count: p.
        seed: Of the sample.
        stored: ``float16`` or ``float32``.
        about: The grid's ``h`` and ``w``.
    """

    tap: Tap
    prefix: int
    count: int
    seed: int
    stored: str
    about: dict[str, int] = field(default_factory=dict)

    def __call__(self, output: object, image_ids: Sequence[str]) -> Columns:
        """The columns of a batch.

        Raises:
            ConfigError: The grid has fewer positions.
        """
        cells = grid(output, self.tap.name, self.prefix)
        _, h, w, _ = cells.shape
        if self.count > h * w:
            raise ConfigError(
                f"{self.tap.name} has fewer positions than are to be kept",
                value=self.count,
                limit=f"{h}×{w} = {h * w}",
                where="activations.positions",
            )
        self.about |= {"h": h, "w": w}
        chosen = np.stack([sample(self.seed, image_id, h * w, self.count) for image_id in image_ids])
        at = torch.from_numpy(chosen.astype(np.int64)).to(cells.device)
        rows = torch.arange(len(cells), device=cells.device)[:, None]
        kept = cells[rows, at // w, at % w]
        return {"position": chosen, "activation": _stored(kept, self.stored)}


@dataclass
class Grid:
    """The whole map [h, w, d].

    Attributes:
        tap: The entry.
        prefix: Tokens before those of the patches.
        stored: ``float16`` or ``float32``.
        about: The grid's ``h`` and ``w``.
    """

    tap: Tap
    prefix: int
    stored: str
    about: dict[str, int] = field(default_factory=dict)

    def __call__(self, output: object, image_ids: Sequence[str]) -> Columns:  # noqa: ARG002
        """The columns of a batch."""
        cells = grid(output, self.tap.name, self.prefix)
        self.about |= {"h": cells.shape[1], "w": cells.shape[2]}
        return {"activation": _stored(cells, self.stored)}


@dataclass
class Codes:
    """The neurons that fire most anywhere in an image, how much, and where first.

    Attributes:
        tap: The entry.
        prefix: Tokens before those of the patches.
        top: Neurons of an image.
        coder: Codes of one image.
        about: The grid's ``h`` and ``w``, and the number of neurons ``n``.
    """

    tap: Tap
    prefix: int
    top: int
    coder: Coder
    about: dict[str, int] = field(default_factory=dict)

    def __call__(self, output: object, image_ids: Sequence[str]) -> Columns:  # noqa: ARG002
        """The columns of a batch; rows are filled up with values of 0."""
        cells = grid(output, self.tap.name, self.prefix)
        self.about |= {"h": cells.shape[1], "w": cells.shape[2]}
        kinds = {"neurons": np.uint32, "values": np.float32, "places": np.uint32}
        found: Columns = {name: np.zeros((len(cells), self.top), dtype=kind) for name, kind in kinds.items()}
        with torch.autocast(cells.device.type, enabled=False):
            for row, one in enumerate(cells):
                for name, values in zip(kinds, self.coder(one.flatten(0, 1).float(), self.top), strict=True):
                    found[name][row, : len(values)] = values
        return found


Keep = Pooled | Positions | Grid | Codes
"""Takes what it wants of an output at once; ``about``, complete after a call, is what readers must know beside it."""


def _stored(values: Float[Tensor, "b *shape d"], dtype: str) -> Shaped[np.ndarray, "b *shape d"]:
    # A copy in any case, for a later in-place operation may overwrite the output.
    kind = torch.float16 if dtype == "float16" else torch.float32
    copied = torch.empty(values.shape, dtype=kind, device=values.device).copy_(values)
    found: Shaped[np.ndarray, "b *shape d"] = copied.cpu().numpy()
    return found


def keeper(tap: Tap, config: ActivationsConfig, prefix: int, coder: Coder | None = None, n: int = 0) -> Keep:
    """What keeps an entry.

    Args:
        tap: The entry.
        config: How.
        prefix: Tokens before those of the patches.
        coder: Of taps ``:codes``.
        n: Of how many neurons these are.
    """
    if tap.keep == "positions":
        return Positions(tap, prefix, config.positions, config.seed, config.stored)
    if tap.keep == "grid":
        return Grid(tap, prefix, config.stored)
    if tap.keep == "codes":
        assert coder is not None  # noqa: S101 - the config demands an SAE
        return Codes(tap, prefix, config.top, coder, {"n": n})
    if tap.keep in (None, "patches"):
        return Pooled(tap, config.reduction, config.tokens, prefix)
    return Pooled(tap, tap.keep, tap.keep, prefix)


Hook = Callable[[object], None]


def hooks(
    keeps: Mapping[str, tuple[Tap, Keep]], image_ids: Sequence[str], found: dict[str, Columns]
) -> dict[str, Hook]:
    """One hook a module, which gives its output to all that keep something of it.

    Args:
        keeps: By entry.
        image_ids: The batch.
        found: Where what is kept goes, by entry; a module that is called twice leaves its last output.
    """
    by_module: dict[str, list[str]] = {}
    for name, (tap, _) in keeps.items():
        by_module.setdefault(tap.module, []).append(name)

    def hook(names: list[str], output: object) -> None:
        for name in names:
            found[name] = keeps[name][1](output, image_ids)

    return {module: partial(hook, names) for module, names in by_module.items()}
