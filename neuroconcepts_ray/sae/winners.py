"""Which pre-activations are the largest: compiled loops over rows of their bits.

Each call does the rows ``first`` … ``last`` and holds no GIL.
"""

from typing import no_type_check

import numpy as np
from numba import njit

CHUNK = 32
"""Neighbouring pre-activations whose maximum is taken before any is looked at alone."""


@njit(cache=True, nogil=True)
@no_type_check
def _peaks(row, lowest, infinity, peak):
    """The largest of each chunk, as bits, or 0. A NaN below 0 by its sign bit is turned to one above all.

    Floats above 0 compare as their bits do, and integers vectorise; with the sign bit flipped so do those below.
    """
    t = row.dtype.type
    while True:
        worst = lowest
        for c in range(len(peak)):
            chunk = row[c * CHUNK : (c + 1) * CHUNK]
            top, bottom = t(0), lowest
            for p in range(len(chunk)):
                top = max(top, chunk[p])
                bottom = max(bottom, t(chunk[p] ^ lowest))
            peak[c] = top
            worst = max(worst, bottom)
        if worst <= infinity:
            return
        for p in range(len(row)):
            if t(row[p] ^ lowest) > infinity:
                row[p] ^= lowest


@njit(cache=True, nogil=True)
@no_type_check
def kth(bits, k, least, most):
    """The k-th largest of ``bits`` within ``least`` … ``most``, by halving; ``least`` where fewer reach it."""
    t = bits.dtype.type
    while least < most:
        middle = t(least + (np.int64(most) - least + 1) // 2)
        count = 0
        for p in range(len(bits)):
            count += bits[p] >= middle
        if count >= k:
            least = middle
        else:
            most = t(middle - 1)
    return least


@njit(cache=True, nogil=True)
@no_type_check
def _collect(row, peak, floor, latents, found):
    """Latents and bits of all that reach ``floor``, ascending; how many there are."""
    m = 0
    for c in range(len(peak)):
        if peak[c] >= floor:
            for p in range(c * CHUNK, min(len(row), (c + 1) * CHUNK)):
                latents[m] = p
                found[m] = row[p]
                m += row[p] >= floor
    return m


@njit(cache=True, nogil=True)
@no_type_check
def winners(first, last, bits, lowest, infinity, k, latents, values):
    """TopK: the k largest positive of each row, latents ascending; of equals the lowest latents. NaN is largest.

    Args (beside ``first`` and ``last``):
        bits: [rows, n], pre-activations as signed integers.
        lowest, infinity: The bits of −0 and of ∞.
        latents, values: [rows, k], what wins, values as bits; zeros of the last latent fill up.
    """
    n = bits.shape[1]
    t = bits.dtype.type
    most = np.iinfo(bits.dtype).max
    peak = np.empty((n + CHUNK - 1) // CHUNK, bits.dtype)
    places, found = np.empty(n + 1, np.int32), np.empty(n + 1, bits.dtype)
    for i in range(first, last):
        out, mine = latents[i], values[i]
        _peaks(bits[i], lowest, infinity, peak)
        m = _collect(bits[i], peak, kth(peak, k, t(1), t(most)), places, found)
        floor, ties = t(1), m
        if m > k:
            floor = kth(found[:m], k, t(1), t(most))
            ties = k
            for p in range(m):
                ties -= found[p] > floor
        at = 0
        for p in range(m):
            tie = found[p] == floor
            if found[p] > floor or (tie and ties > 0):
                ties -= tie
                out[at], mine[at] = places[p], found[p]
                at += 1
        for q in range(at, k):
            out[q], mine[q] = n - 1, t(0)


@njit(cache=True, nogil=True)
@no_type_check
def peaks(first, last, bits, lowest, infinity, peak):
    """The largest of each chunk of each row, as bits, or 0, into ``peak`` [rows, chunks]."""
    for i in range(first, last):
        _peaks(bits[i], lowest, infinity, peak[i])


@njit(cache=True, nogil=True)
@no_type_check
def reaching(first, last, bits, peak, floor, counts):
    """Latents and bits of all that reach ``floor``, row after row, and how many there are in each row."""
    n = bits.shape[1]
    places, found = np.empty(n + 1, np.int32), np.empty(n + 1, bits.dtype)
    total = 0
    for fill in range(2):
        # Counted first: an array that grows inside a loop makes all of it slow.
        latents, values = np.empty(total, np.int32), np.empty(total, bits.dtype)
        total = 0
        for i in range(first, last):
            m = _collect(bits[i], peak[i], floor, places, found)
            if fill:
                latents[total : total + m], values[total : total + m] = places[:m], found[:m]
            counts[i] = m
            total += m
    return latents, values
