"""What `make bench-sae` trains on: fixed generators, centred and with unit variance."""

from pathlib import Path

import numpy as np

from neuroconcepts_ray.sae.data import batches

ATOMS, DIMENSION, ACTIVE, NOISE_DB = 1024, 256, 16, 20.0


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def planted(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [m, 256] and the unit atoms [1024, 256] that they are made of; the dictionary is a function of the seed.

    Per row 16 atoms, drawn by a Zipf law (popularity 1/rank) and then each followed by its partner in half of the
    cases (atoms 2j and 2j + 1, of popularity as if drawn alike), amplitudes uniform in 0.5 to 1.5, a constant mean,
    and noise 20 dB below the signal.
    """
    rng = np.random.default_rng([seed, 4])
    atoms = unit(rng.standard_normal((ATOMS, DIMENSION))).astype(np.float32)
    mean = rng.standard_normal(DIMENSION)
    popularity = 1 / (np.arange(ATOMS) // 2 * 2 + 1.0)
    rank = rng.permutation(ATOMS // 2)[:, None] * 2 + np.arange(2)  # pairs stay pairs, popularity is shuffled
    popularity = popularity[rank.ravel()]
    # Gumbel's trick: the largest of log p + noise are a draw without replacement.
    x = np.empty((rows, DIMENSION), np.float32)
    for start in range(0, rows, 8192):
        m = min(8192, rows - start)
        keys = np.log(popularity, dtype=np.float32) + rng.gumbel(size=(m, ATOMS)).astype(np.float32)
        first = np.argpartition(-keys, ACTIVE, axis=1)[:, :ACTIVE]
        follows = rng.random((m, ACTIVE // 2)) < 0.5
        first[:, ACTIVE // 2 :] = np.where(follows, first[:, : ACTIVE // 2] ^ 1, first[:, ACTIVE // 2 :])
        z = np.zeros((m, ATOMS), np.float32)
        np.put_along_axis(z, first, rng.uniform(0.5, 1.5, first.shape).astype(np.float32), axis=1)
        x[start : start + m] = z @ atoms
    power = float(np.square(x - x.mean(axis=0), dtype=np.float64).mean())
    x += (mean + rng.standard_normal(x.shape) * (power / 10 ** (NOISE_DB / 10)) ** 0.5).astype(np.float32)
    return x, atoms


def activations(rows: int, d: int, seed: int) -> np.ndarray:
    """Rows as pooled activations after a ReLU are: nonnegative, heavy-tailed, few strong directions.

    A factor model with 64 groups of rows: gamma-distributed factors with variances that fall as 1/rank, an offset for
    each group, weights of which most are small, a ReLU, and the mean of 9 positions.
    """
    fixed = np.random.default_rng([seed, 1])
    factors = d // 2
    loads = (
        fixed.standard_normal((factors, d))
        * fixed.gamma(0.5, 1.0, (factors, d))
        / np.arange(1, factors + 1)[:, None] ** 0.7
    )
    centres = fixed.standard_normal((64, factors)) * 1.5
    bias = fixed.standard_normal(d) - 1
    rng = np.random.default_rng([seed, 2])
    x = np.empty((rows, d), np.float32)
    for start in range(0, rows, 4096):
        m = min(4096, rows - start)
        core = centres[rng.integers(0, 64, m)] + rng.gamma(0.7, 1.2, (m, factors))
        total = np.zeros((m, d))
        for _ in range(9):
            total += np.maximum(0, (core + rng.standard_normal((m, factors))) @ loads + bias)
        x[start : start + m] = total / 9
    return x


def write(
    folder: Path, x: np.ndarray, held: np.ndarray, *, n: int, batch: int, steps: int, atoms: np.ndarray | None
) -> None:
    """The files of a task: rows centred and scaled as the training rows are, the order as ours, a beginning."""
    folder.mkdir(parents=True, exist_ok=True)
    mean = x.mean(axis=0, dtype=np.float64)
    scale = np.sqrt(np.square(x - mean).mean())
    np.save(folder / "train.npy", ((x - mean) / scale).astype(np.float32))
    np.save(folder / "held.npy", ((held - mean) / scale).astype(np.float32))
    order = batches(len(x), batch, 0, 0)
    np.save(folder / "order.npy", np.stack([next(order) for _ in range(steps)]).astype(np.int32))
    rng = np.random.default_rng(987_654)  # no seed of a dictionary: it would begin at the truth
    np.save(folder / "begin.npy", unit(rng.standard_normal((n, x.shape[1]))).astype(np.float32))
    if atoms is not None:
        np.save(folder / "atoms.npy", atoms)
