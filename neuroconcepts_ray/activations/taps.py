"""What an entry of ``activations.taps`` means: a module of the network, and what is kept of its output."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt32

HEAD_TAPS = ("pre_logits", "logits")
"""Always mined: the float32 vector that the head takes, and the float32 logits made from it."""

KEEPS = ("mean", "max", "class", "positions", "grid", "codes", "patches")
"""What may be kept of a module's output: a pooled vector, a sample of its positions, all of them, or codes of them; or
the vector of each patch of the image."""

_MODULE = r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*"


@dataclass(frozen=True)
class Tap:
    """One entry.

    Attributes:
        name: The entry; its artifact is ``activations.<name>``.
        module: Name of the module.
        keep: One of :data:`KEEPS`; None is a vector pooled as ``reduction`` and ``tokens`` say.
    """

    name: str
    module: str
    keep: str | None = None

    @classmethod
    def parse(cls, name: str) -> "Tap":
        """Read ``<module>`` or ``<module>:<keep>``.

        Raises:
            ValueError: It is neither.
        """
        module, colon, keep = name.partition(":")
        if not re.fullmatch(_MODULE, module):
            raise ValueError(f"not a module name: {name!r}")
        if not colon:
            return cls(name, module)
        if keep not in KEEPS:
            raise ValueError(f"no such way to keep a tap: {name!r}; {', '.join(KEEPS)} are known")
        if module in HEAD_TAPS and keep != "patches":
            raise ValueError(f"{module} is one vector already: {name!r}; name the module before it, such as layer4")
        return cls(name, module, keep)


def pooling(name: str, config: Mapping[str, Any]) -> dict[str, str]:
    """``tap``, the module, and how it was pooled: ``reduction`` and ``tokens``.

    Args:
        name: The entry, of which a vector an image is kept.
        config: Of the recipe of its activations.
    """
    tap = Tap.parse(name)
    how = {"reduction": config.get("reduction", "mean"), "tokens": config.get("tokens", "mean")}
    return {"tap": tap.module} | (how if tap.keep is None else dict.fromkeys(how, tap.keep))


def sample(seed: int, image_id: str, cells: int, count: int) -> UInt32[np.ndarray, " p"]:
    """Which positions of an image are kept: ``count`` of ``cells`` without replacement, ascending.

    Each position draws 64 bits of SHAKE-256 of ``<seed>/<image_id>``, and the smallest draws win: a function of these
    alone, of no library's generator and of nothing else in the batch.

    Args:
        seed: ``activations.seed``.
        image_id: The image.
        cells: Positions of the grid.
        count: How many of them, at most ``cells``.
    """
    draws = np.frombuffer(hashlib.shake_256(f"{seed}/{image_id}".encode()).digest(8 * cells), dtype="<u8")
    return np.sort(np.argsort(draws, kind="stable")[:count]).astype(np.uint32)
