"""Twins: films that look alike whoever they are filed under, found among all pairs and confirmed one by one.

All pairs are compared, in blocks of machine words: the hashes of one archive's chests are so alike, and a cropped or
relabelled copy so many bits away (up to 48 of 256), that an index over bands of bits would visit as many pairs.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Int, Int64, UInt8, UInt64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from neuroconcepts_ray.catalog.looks import details, likeness

NEAR = 48
"""Bits of 256 by which the hashes of two films may differ for their thumbnails to be compared."""

ALIKE = 0.94
"""Likeness of their details from which on two films are twins."""

CROWD = 64
"""Most candidates of a film, the nearest: films that all look alike are joined through these."""

_ROWS, _COLUMNS = 32, 8192

Block = tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"], Int[np.ndarray, " m"]]


def near(
    a: UInt64[np.ndarray, "m 4"], b: UInt64[np.ndarray, "n 4"], most: int = NEAR, crowd: int = CROWD
) -> Int64[np.ndarray, "p 3"]:
    """Every pair of hashes within a distance.

    3 ns a pair and thread on an idle core, 8 on a crowded one: 377,110 films among themselves take four to nine minutes
    of one core once, 300 new films against them under a second; 12 MB of hashes, 3 MB a thread.

    Args:
        a: Hashes of some films.
        b: Hashes of others.
        most: Largest distance, in bits.
        crowd: Most partners of a row of ``a``, the nearest.

    Returns:
        Row of a, row of b, distance; in this order.
    """
    columns = np.ascontiguousarray(b.T)

    def some(start: int) -> list[Block]:
        rows = a[start : start + _ROWS]
        found = []
        differing = np.empty((len(rows), _COLUMNS), np.uint64)
        ones, distance = (np.empty((len(rows), _COLUMNS), np.uint8) for _ in range(2))
        for left in range(0, len(b), _COLUMNS):
            width = min(_COLUMNS, len(b) - left)
            x, c, d = differing[:, :width], ones[:, :width], distance[:, :width]
            for word in range(4):
                np.bitwise_xor(rows[:, word, None], columns[word, None, left : left + width], out=x)
                np.bitwise_count(x, out=d if word == 0 else c)
                if word:  # 256 wraps to 0: a film and its negative become candidates, and are not confirmed
                    np.add(d, c, out=d)
            i, j = np.nonzero(d <= most)
            found.append((i + start, j + left, d[i, j].astype(np.int64)))
        return found

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        blocks = [block for some_blocks in pool.map(some, range(0, len(a), _ROWS)) for block in some_blocks]
    if not blocks:
        return np.empty((0, 3), np.int64)
    i, j, d = (np.concatenate(parts).astype(np.int64) for parts in zip(*blocks, strict=True))
    order = np.lexsort((j, d, i))
    i, j, d = i[order], j[order], d[order]
    first = np.searchsorted(i, i)
    kept = np.arange(len(i)) - first < crowd
    pairs = np.stack([i, j, d], axis=1)[kept]
    return np.asarray(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))])


def confirm(
    pairs: Int64[np.ndarray, "p 3"],
    thumbs: Callable[[Sequence[int]], UInt8[np.ndarray, "k 64 64"]],
    advance: Callable[[int], None] = lambda _: None,
) -> list[tuple[int, int, int, float]]:
    """Those candidates whose details are alike.

    Args:
        pairs: Two films and their distance, by numbers that ``thumbs`` knows.
        thumbs: The thumbnails of films.
        advance: Told how many pairs were done.

    Returns:
        Film, film, distance, likeness (to three places: the rest is the machine's rounding).
    """
    found = []
    for start in range(0, len(pairs), 4096):
        some = pairs[start : start + 4096]
        films = np.unique(some[:, :2])
        fine = dict(zip(films.tolist(), map(details, thumbs(films.tolist())), strict=True))
        for a, b, distance in some.tolist():
            alike = likeness(fine[a], fine[b], enough=ALIKE)
            if alike >= ALIKE:
                found.append((a, b, distance, round(alike, 3)))
        advance(len(some))
    return found


def clusters(n: int, pairs: Iterable[tuple[int, int]]) -> Int[np.ndarray, " n"]:
    """The connected component of each of ``n`` films over pairs, numbered from 0."""
    edges = np.array(list(pairs), np.int64).reshape(-1, 2)
    if not n:
        return np.empty(0, np.int64)
    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1])
