"""Whether another seed finds the same latents, beside what two random dictionaries have in common."""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from neuroconcepts_ray.sae.controls import random_directions

SAME = 0.9
"""From this cosine on two latents count as one."""


@dataclass(frozen=True)
class Stability:
    """Two dictionaries compared.

    Attributes:
        pw_mcc: Mean |cos| of decoder rows matched one to one so that their sum is largest (Hungarian algorithm): the
            pairwise dictionary mean correlation coefficient of Song et al. (2025, arXiv:2505.20254).
        same: Share of matched pairs with |cos| ≥ 0.9.
        mean_max: Mean over rows of the first of the largest |cos| to any row of the second, not one to one: an upper
            bound of ``pw_mcc`` where both have as many rows.
        random_pw_mcc: ``pw_mcc`` of two random dictionaries of these sizes.
    """

    pw_mcc: float
    same: float
    mean_max: float
    random_pw_mcc: float

    def facts(self) -> dict[str, float]:
        """As plain data."""
        return asdict(self)


def _cosines(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    units = [w / np.maximum(np.linalg.norm(w, axis=1, keepdims=True), 1e-12) for w in (a, b)]
    cosines: Float[np.ndarray, "n m"] = np.abs(units[0] @ units[1].T)
    return cosines


def matched(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " p"]:
    """|cos| of the one-to-one pairs of rows with the largest sum, min(n, m) of them."""
    cosines = _cosines(a, b)
    pairs: Float[np.ndarray, " p"] = cosines[linear_sum_assignment(cosines, maximize=True)]
    return pairs


def stability(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> Stability:
    """Compare two decoders.

    Args:
        a: Decoder rows of one SAE.
        b: Of another over the same activations.
    """
    pairs = matched(a, b)
    control = matched(random_directions(len(a), a.shape[1], 1), random_directions(len(b), b.shape[1], 2))
    return Stability(
        pw_mcc=float(pairs.mean()),
        same=float((pairs >= SAME).mean()),
        mean_max=float(_cosines(a, b).max(axis=1).mean()),
        random_pw_mcc=float(control.mean()),
    )
