"""The inner loops of search, compiled by numba: one pass over postings, one over the accumulators, nothing allocated.

Postings arrive as ``words``: the FAISS file's lists as 32-bit words. List j begins at word ``starts[j]`` with its
``sizes[j]`` float32 activations, followed by as many int64 rows, of which the low word is read (rows < 2³¹).

The accumulators are float32, for the pass is bound by memory; what they select is scored again in float64 from the
forward codes, so that float32 decides only who is looked at, never who wins (:func:`select` keeps all within ε).
"""

from typing import no_type_check

import numpy as np
from numba import njit

CHUNK = 256
"""Accumulators whose maximum is taken together, in vector registers, before any is looked at alone."""

BLOCK = 1 << 16
"""Rows whose accumulators a pass fills before it goes on: 256 KB of float32, which stay in the second-level cache."""


@njit(cache=True, nogil=True)
@no_type_check
def _add(words, values, start, size, first, last, w, score):
    """score[i] += w z_i over the entries ``first`` … ``last`` of one list."""
    v = values[start + first : start + last]
    r = words[start + size + 2 * first : start + size + 2 * last]
    m = last - first
    whole = m - m % 8
    # Eight at a time: a list never names a row twice, which the compiler cannot know.
    for p in range(0, whole, 8):
        a, b, c, d = r[2 * p], r[2 * p + 2], r[2 * p + 4], r[2 * p + 6]
        e, f, g, h = r[2 * p + 8], r[2 * p + 10], r[2 * p + 12], r[2 * p + 14]
        sa, sb = score[a] + w * v[p], score[b] + w * v[p + 1]
        sc, sd = score[c] + w * v[p + 2], score[d] + w * v[p + 3]
        se, sf = score[e] + w * v[p + 4], score[f] + w * v[p + 5]
        sg, sh = score[g] + w * v[p + 6], score[h] + w * v[p + 7]
        score[a], score[b], score[c], score[d] = sa, sb, sc, sd
        score[e], score[f], score[g], score[h] = se, sf, sg, sh
    for p in range(whole, m):
        score[r[2 * p]] += w * v[p]


@njit(cache=True, nogil=True)
@no_type_check
def _peaks(bits, first, last, peak):
    """The largest score of each chunk of rows, or 0: floats above 0 compare as their bits, and integers vectorise."""
    for c in range(first // CHUNK, last // CHUNK):
        chunk = bits[c * CHUNK : (c + 1) * CHUNK]
        top = bits.dtype.type(0)
        for i in range(CHUNK):
            top = max(top, chunk[i])
        peak[c] = top


@njit(cache=True, nogil=True)
@no_type_check
def sweep(words, values, starts, sizes, cuts, neurons, weights, ends, score, bits, peak):
    """score[q, i] = Σ_j w_qj z_ij over the lists of each query's neurons, in their order; and the peaks of each chunk.

    A block of rows after the other, all queries in each: what is added to stays in cache, and so do the popular lists
    that queries share.

    Args (those that are not the postings' own):
        cuts: [n, blocks − 1], entries of each list below the end of each block but the last.
        neurons, weights: Of all queries, one after the other.
        ends: [queries + 1], where each query's neurons begin and end.
        score: [queries, rows padded to whole chunks]; need not be clear.
        bits: The same memory as signed integers.
        peak: [queries, chunks], signed integers.
    """
    blocks = cuts.shape[1] + 1
    for b in range(blocks):
        low, high = b * BLOCK, min((b + 1) * BLOCK, score.shape[1])
        for q in range(len(ends) - 1):
            line = score[q]
            line[low:high] = 0
            for t in range(ends[q], ends[q + 1]):
                j = neurons[t]
                first = 0 if b == 0 else np.int64(cuts[j, b - 1])
                last = sizes[j] if b == blocks - 1 else np.int64(cuts[j, b])
                _add(words, values, starts[j], sizes[j], first, last, weights[t], line)
            _peaks(bits[q], low, high, peak[q])


@njit(cache=True, nogil=True)
@no_type_check
def accumulate(words, values, starts, sizes, neurons, weights, score):
    """score[i] += Σ_j w_j z_ij over the lists of ``neurons``, in their order: equal for equal lists."""
    for t in range(len(neurons)):
        j = neurons[t]
        _add(words, values, starts[j], sizes[j], 0, sizes[j], weights[t], score)


@njit(cache=True, nogil=True)
@no_type_check
def sweep_bm25(words, values, starts, sizes, neurons, weights, length, k1, score, bits, peak):
    """score[i] = Σ_j w_j z_ij (k₁ + 1) / (z_ij + K_i), with ``length`` K_i = k₁ (1 − b + b |d_i| / mean |d|)."""
    score[:] = 0
    for t in range(len(neurons)):
        first = starts[neurons[t]]
        m = sizes[neurons[t]]
        v = values[first : first + m]
        r = words[first + m : first + 3 * m]
        for p in range(m):
            row = r[2 * p]
            z = v[p]
            score[row] += weights[t] * z * (k1 + 1) / (z + length[row])
    _peaks(bits, 0, len(score), peak)


@njit(cache=True, nogil=True)
@no_type_check
def _insert(best, count, x):
    """Put x among the ``count`` largest so far, descending; the least falls out of a full ``best``."""
    at = count
    if count == len(best):
        at -= 1
        if x <= best[at]:
            return
    while at > 0 and best[at - 1] < x:
        best[at] = best[at - 1]
        at -= 1
    best[at] = x


@njit(cache=True, nogil=True)
@no_type_check
def select(score, gate, peak, ceiling, top, epsilon, best):
    """Rows whose gated score could be among the ``top`` largest, given that each may be off by ε; ascending.

    Gates are 0 where a filter bars a row. A chunk is looked at where its peak times its largest gate, rounded as each
    product is, does not rule it out. Returns fewer than ``top`` where fewer are above 0.

    Args:
        score: [rows padded to whole chunks].
        gate: [rows].
        peak: [chunks], the largest score of each, or 0; overwritten by what its gated scores cannot exceed.
        ceiling: [chunks], the largest gate of each.
        top: Rows that are wanted.
        epsilon: ε.
        best: Scratch for ``top`` scores.
    """
    zero = score.dtype.type(0)
    count = 0
    for c in range(len(peak)):
        peak[c] *= ceiling[c]
        _insert(best, count, peak[c])
        count = min(count + 1, len(best))
    # Most often the best rows lie in as many chunks, and their scores are the chunks' peaks: a threshold to begin with.
    guess = score.dtype.type(0.99998) * best[top - 1] if count == top else zero
    threshold = guess
    for attempt in range(2):
        if attempt == 1:
            if count == top or guess == zero:
                break
            threshold = zero
        count = 0
        for c in range(len(peak)):
            if peak[c] > threshold:
                these, open_to = score[c * CHUNK : (c + 1) * CHUNK], gate[c * CHUNK : (c + 1) * CHUNK]
                for i in range(len(open_to)):
                    x = these[i] * open_to[i]
                    if x > threshold:
                        _insert(best, count, x)
                        count = min(count + 1, top)
                        if count == top:
                            threshold = best[top - 1]
    if count < top:
        threshold = zero
    floor = max(threshold - 2 * epsilon, score.dtype.type(0))
    # Counted first: an array that grows inside a loop makes all of it ten times slower.
    found = 0
    for fill in range(2):
        rows = np.empty(found, np.int64)
        found = 0
        for c in range(len(peak)):
            if peak[c] > floor or (peak[c] == floor and floor > 0):
                these, open_to = score[c * CHUNK : (c + 1) * CHUNK], gate[c * CHUNK : (c + 1) * CHUNK]
                for i in range(len(open_to)):
                    x = these[i] * open_to[i]
                    if x > floor or (x == floor and floor > 0):
                        if fill == 1:
                            rows[found] = c * CHUNK + i
                        found += 1
    return rows


@njit(cache=True, nogil=True)
@no_type_check
def gather(rows, indptr, forward_neurons, forward_values, ends, neurons, values):
    """The forward codes of ``rows``, one after the other; row r ends at ``ends[r + 1]``."""
    at = 0
    for r in range(len(rows)):
        for p in range(indptr[rows[r]], indptr[rows[r] + 1]):
            neurons[at] = forward_neurons[p]
            values[at] = forward_values[p]
            at += 1
        ends[r + 1] = at


@njit(cache=True, nogil=True)
@no_type_check
def rescore(rows, indptr, forward_neurons, forward_values, query, out):
    """out[r] = Σ_j q_j z_ij in float64, in ascending order of neurons, from the forward codes of ``rows``."""
    for r in range(len(rows)):
        total = 0.0
        for p in range(indptr[rows[r]], indptr[rows[r] + 1]):
            total += query[forward_neurons[p]] * np.float64(forward_values[p])
        out[r] = total


@njit(cache=True, nogil=True)
@no_type_check
def rescore_bm25(rows, indptr, forward_neurons, forward_values, query, length, k1, out):
    """:func:`sweep_bm25` in float64 for ``rows``."""
    for r in range(len(rows)):
        total = 0.0
        for p in range(indptr[rows[r]], indptr[rows[r] + 1]):
            z = np.float64(forward_values[p])
            weight = query[forward_neurons[p]]
            if weight != 0:
                total += weight * z * (k1 + 1) / (z + length[rows[r]])
        out[r] = total


@njit(cache=True, nogil=True)
@no_type_check
def weighted_norms(indptr, forward_neurons, forward_values, weights, out):
    """out[i] = ‖ω ∘ z_i‖ in float64."""
    for i in range(len(out)):
        total = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            x = weights[forward_neurons[p]] * np.float64(forward_values[p])
            total += x * x
        out[i] = np.sqrt(total)


@njit(cache=True, nogil=True)
@no_type_check
def strongest(words, values, start, size, gate, top, best):
    """Rows of one list, ascending, that could be among its ``top`` largest activations where the gate is open.

    All that tie with the last place are returned. ``best`` is scratch for ``top`` floats.
    """
    count = 0
    threshold = np.float32(-np.inf)
    v = values[start : start + size]
    r = words[start + size : start + 3 * size]
    for p in range(size):
        x = v[p]
        if x > threshold and gate[r[2 * p]] > 0:
            at = count if count < top else top - 1
            count = min(count + 1, top)
            while at > 0 and best[at - 1] < x:
                best[at] = best[at - 1]
                at -= 1
            best[at] = x
            if count == top:
                threshold = best[top - 1]
    found = 0
    for p in range(size):
        if v[p] >= threshold and gate[r[2 * p]] > 0:
            found += 1
    rows = np.empty(found, np.int64)
    found = 0
    for p in range(size):
        if v[p] >= threshold and gate[r[2 * p]] > 0:
            rows[found] = r[2 * p]
            found += 1
    return rows


@njit(cache=True, nogil=True)
@no_type_check
def tally(words, values, starts, sizes, wanted, least, barred, below, marks):
    """marks[i] += 1 for each ``wanted`` list that fires in row i with its ``least``; += 100 for each ``barred`` one."""
    for t in range(len(wanted) + len(barred)):
        j = wanted[t] if t < len(wanted) else barred[t - len(wanted)]
        bound = least[t] if t < len(wanted) else below[t - len(wanted)]
        step = np.uint16(1 if t < len(wanted) else 100)
        first = starts[j]
        m = sizes[j]
        v = values[first : first + m]
        r = words[first + m : first + 3 * m]
        for p in range(m):
            marks[r[2 * p]] += step if v[p] >= bound else np.uint16(0)


@njit(cache=True, nogil=True)
@no_type_check
def strongest_together(words, start, size, marks, want, score, gate, top, epsilon, best):
    """Rows of one list with exactly ``want`` marks whose score could be among the ``top`` largest, each within ε."""
    r = words[start + size : start + 3 * size]
    count = 0
    threshold = score.dtype.type(-np.inf)
    for p in range(size):
        row = r[2 * p]
        x = score[row]
        if marks[row] == want and x > threshold and gate[row] > 0:
            at = count if count < top else top - 1
            count = min(count + 1, top)
            while at > 0 and best[at - 1] < x:
                best[at] = best[at - 1]
                at -= 1
            best[at] = x
            if count == top:
                threshold = best[top - 1]
    threshold -= 2 * epsilon
    rows = np.empty(size, np.int64)
    found = 0
    for p in range(size):
        row = r[2 * p]
        if marks[row] == want and score[row] >= threshold and gate[row] > 0:
            rows[found] = row
            found += 1
    return rows[:found]


@njit(cache=True, nogil=True)
@no_type_check
def _at_or_after(words, rows_at, first, size, row):
    """The first entry of a list, from ``first`` on, whose row is not below ``row``: galloping, then halving."""
    step = 1
    high = first
    while high < size and words[rows_at + 2 * high] < row:
        first = high + 1
        high += step
        step *= 2
    high = min(high, size)
    while first < high:
        middle = (first + high) // 2
        if words[rows_at + 2 * middle] < row:
            first = middle + 1
        else:
            high = middle
    return first


@njit(cache=True, nogil=True)
@no_type_check
def matching(words, values, starts, sizes, wanted, least, barred, below, gate):
    """Rows that fire in every ``wanted`` list with its ``least`` or more, and in no ``barred`` one with its ``below``.

    The shortest wanted list leads, the others are galloped through. Rows come ascending; only open gates count.
    """
    lead = wanted[0]
    for t in range(1, len(wanted)):
        if sizes[wanted[t]] < sizes[lead]:
            lead = wanted[t]
    lists = np.concatenate((wanted, barred))
    bounds = np.concatenate((least, below))
    place = np.zeros(len(lists), np.int64)
    found = np.empty(sizes[lead], np.int64)
    count = 0
    for p in range(sizes[lead]):
        row = words[starts[lead] + sizes[lead] + 2 * p]
        if gate[row] <= 0:
            continue
        kept = True
        for t in range(len(lists)):
            j = lists[t]
            rows_at = starts[j] + sizes[j]
            at = _at_or_after(words, rows_at, place[t], sizes[j], row)
            place[t] = at
            fires = at < sizes[j] and words[rows_at + 2 * at] == row and values[starts[j] + at] >= bounds[t]
            if fires != (t < len(wanted)):
                kept = False
                break
        if kept:
            found[count] = row
            count += 1
    return found[:count]
