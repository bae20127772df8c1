"""What an SAE has to beat: PCA at as many bits, and a random dictionary with the best coefficients it can have."""

from math import ceil, lgamma, log

import numpy as np
from jaxtyping import Float

from neuroconcepts_ray.sae.metrics import fvu

VALUE_BITS = 8
"""Bits of one coefficient, the same for an SAE and for PCA."""

ROWS = 2048
"""Held-out images that the random dictionary is tried on, evenly spaced, where there are more."""

BLOCK = 64


def code_bits(n: int, l0: float, value_bits: int = VALUE_BITS) -> float:
    """Bits of one image's code: log₂ C(n, L0) for which latents fire, and ``value_bits`` for each value.

    The description length of an SAE's code in the sense of Ayonrinde, Pearce & Sharkey (2024, arXiv:2410.11179), with
    the uniform prior over supports of L0 of n latents and a fixed precision instead of fitted entropies; C by the
    gamma function, for L0 is a mean. The dictionary itself is not counted, neither here nor for PCA.

    Args:
        n: Number of latents.
        l0: Mean number that fire, at most n.
        value_bits: Bits of one value.
    """
    l0 = min(l0, float(n))
    support = lgamma(n + 1) - lgamma(l0 + 1) - lgamma(n - l0 + 1)
    return support / log(2) + l0 * value_bits


def components_at(bits: float, value_bits: int = VALUE_BITS) -> int:
    """Components of PCA that cost at least ``bits``: it always fires the same ones, so it pays for values only.

    Rounded up, in favour of PCA.
    """
    return ceil(bits / value_bits)


def random_directions(n: int, d: int, seed: int = 0) -> Float[np.ndarray, "n d"]:
    """Directions drawn uniformly from the unit sphere."""
    drawn = np.random.default_rng(seed).standard_normal((n, d))
    directions: Float[np.ndarray, "n d"] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return directions


def random_fvu(mean: Float[np.ndarray, " d"], x: Float[np.ndarray, "h d"], n: int, k: int, seed: int = 0) -> float:
    """FVU of n random unit directions of which k may fire, on at most :data:`ROWS` images.

    An image's support is TopK's rule: the k largest projections of x − mean. Its coefficients are then the least
    squares over that support, of any sign: better than any encoder could give for the same support, so that the control
    is no straw man.

    Args:
        mean: Of the training images.
        x: Held-out images.
        n: Directions.
        k: How many may fire; bounded by n and d.
        seed: Of the directions.
    """
    directions = random_directions(n, len(mean), seed).astype(np.float32)
    k = min(k, n, len(mean))
    x = x[np.unique(np.linspace(0, len(x) - 1, min(ROWS, len(x))).astype(np.int64))]
    centred = (x - mean).astype(np.float32)
    x_hat = np.zeros(x.shape, dtype=np.float64)
    for start in range(0, len(x) if k else 0, BLOCK):
        block = centred[start : start + BLOCK]
        products = block @ directions.T
        support = np.argpartition(products, n - k, axis=1)[:, n - k :]
        chosen = directions[support].astype(np.float64)
        gram = chosen @ chosen.transpose(0, 2, 1) + 1e-9 * np.eye(k)
        right = np.take_along_axis(products, support, axis=1).astype(np.float64)[:, :, None]
        z = np.linalg.solve(gram, right)
        x_hat[start : start + BLOCK] = (chosen * z).sum(axis=1)
    return fvu(x, mean + x_hat)
