"""The inner loops of the sparse step, compiled by numba: over rows of the batch, then over latents.

Codes are CSR: the entries of row i of the batch are ``start[i]`` … ``start[i + 1]``, each a latent and its value,
latents ascending. An entry of value zero fills up where fewer fire.

Each call does the rows or latents ``first`` … ``last`` and holds no GIL. Whatever is summed is summed within one call
in one order, so that no result depends on how many threads share the calls. Of fast arithmetic only what keeps NaN
and infinity is allowed: a training that diverges must show it.
"""

from typing import no_type_check

import numpy as np
from numba import njit

FAST = {"reassoc", "contract", "nsz"}
"""Sums in vector registers, and multiply-add in one rounding. Beside it goes numba's error_model="numpy": the check for
a division by zero keeps a loop out of vector registers."""


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
@no_type_check
def _combine(out, rows, index, stride, offset, weight, sign, first, last):
    """Out += sign Σ_e weight_e rows[index_e · stride + offset]: four rows at a time, which wait for memory together."""
    final = last - 1
    for e in range(first, last, 4):
        f, g, h = min(e + 1, final), min(e + 2, final), min(e + 3, final)
        zero = out.dtype.type(0)
        p = sign * weight[e]
        q = sign * weight[f] if f == e + 1 else zero
        r = sign * weight[g] if g == e + 2 else zero
        s = sign * weight[h] if h == e + 3 else zero
        a, b = rows[index[e] * stride + offset], rows[index[f] * stride + offset]
        c, d = rows[index[g] * stride + offset], rows[index[h] * stride + offset]
        for t in range(len(out)):
            out[t] += (p * a[t] + q * b[t]) + (r * c[t] + s * d[t])


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
@no_type_check
def _products(x, rows, index, first, last, out):
    """out[e] = x · rows[index_e], four at a time."""
    final = last - 1
    for e in range(first, last, 4):
        f, g, h = min(e + 1, final), min(e + 2, final), min(e + 3, final)
        a, b, c, d = rows[index[e]], rows[index[f]], rows[index[g]], rows[index[h]]
        p = q = r = s = x.dtype.type(0)
        for t in range(len(x)):
            p += x[t] * a[t]
            q += x[t] * b[t]
            r += x[t] * c[t]
            s += x[t] * d[t]
        out[e], out[f], out[g], out[h] = p, q, r, s


@njit(cache=True, nogil=True)
@no_type_check
def rescore(first, last, start, latents, x, W_enc, b_enc, values):
    """ReLU(x · W_enc + b_enc) of the latents chosen, into ``values``."""
    for i in range(first, last):
        _products(x[i], W_enc, latents, start[i], start[i + 1], values)
        for e in range(start[i], start[i + 1]):
            pre = values[e] + b_enc[latents[e]]
            values[e] = x.dtype.type(0) if pre <= 0 else pre


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
@no_type_check
def decode(first, last, piece, start, latents, values, x, W_dec, ends, scale, residual, squares, slopes, total):
    """Residuals after each prefix of latents, their squares, and the gradient by each value.

    Args (beside ``first``, ``last`` and the codes):
        piece: Which row of ``total`` is this call's.
        x: [b, d], inputs less b_dec.
        ends: [P], prefixes of latents, rising, the last of them n.
        scale: −2 / (P · rows · d): of the loss (1/P) Σ_p ‖r_p‖² / (rows · d).
        residual: [b, P, d], becomes Σ_{q ≥ p} r_q: what a latent of prefix p has its gradients of.
        squares: [b, P], becomes ‖r_p‖².
        slopes: Becomes scale · Σ_{q ≥ p} r_q · W_dec of each entry, 0 where the value is.
        total: [pieces, d], becomes the sum of residual[:, 0] over this call's rows.
    """
    P = len(ends)
    sums = total[piece]
    sums[:] = 0
    for i in range(first, last):
        e = start[i]
        for p in range(P):
            r = residual[i, p]
            before = x[i] if p == 0 else residual[i, p - 1]
            for t in range(len(r)):
                r[t] = before[t]
            stop = e
            while stop < start[i + 1] and latents[stop] < ends[p]:
                stop += 1
            _combine(r, W_dec, latents, 1, 0, values, x.dtype.type(-1), e, stop)
            square = x.dtype.type(0)
            for t in range(len(r)):
                square += r[t] * r[t]
            squares[i, p] = square
            e = stop
        for p in range(P - 2, -1, -1):
            r, later = residual[i, p], residual[i, p + 1]
            for t in range(len(r)):
                r[t] += later[t]
        e = start[i]
        for p in range(P):
            stop = e
            while stop < start[i + 1] and latents[stop] < ends[p]:
                stop += 1
            _products(residual[i, p], W_dec, latents, e, stop, slopes)
            e = stop
        for e in range(start[i], start[i + 1]):
            slopes[e] = scale * slopes[e] if values[e] != 0 else x.dtype.type(0)
        r = residual[i, 0]
        for t in range(len(r)):
            sums[t] += r[t]


@njit(cache=True, nogil=True)
@no_type_check
def group(start, latents, values, slopes, begin, rows, by_value, by_slope, bias):
    """The entries that fire by latent, rows ascending: begin [n + 1], rows, values and slopes; bias [n] = Σ slopes."""
    begin[:] = 0
    bias[:] = 0
    for e in range(len(latents)):
        if values[e] != 0:
            begin[latents[e] + 1] += 1
    for j in range(len(begin) - 1):
        begin[j + 1] += begin[j]
    at = begin[:-1].copy()
    for i in range(len(start) - 1):
        for e in range(start[i], start[i + 1]):
            if values[e] != 0:
                j = latents[e]
                rows[at[j]], by_value[at[j]], by_slope[at[j]] = i, values[e], slopes[e]
                bias[j] += slopes[e]
                at[j] += 1


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
@no_type_check
def _adam(w, m, v, grad, constants):
    beta1, beta2, size, epsilon = constants
    one = w.dtype.type(1)
    for t in range(len(w)):
        g = grad[t]
        a = m[t] + (one - beta1) * (g - m[t])
        b = beta2 * v[t] + (one - beta2) * g * g
        m[t] = a
        v[t] = b
        w[t] -= size * a / (np.sqrt(b) + epsilon)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
@no_type_check
def update(first, last, piece, make, apply, entries, extra, x, residual, scale, grads, pull, enc, dec, constants):
    """Gradients of both matrices, latent after latent, and Adam on them: at once, or one half now and one later.

    Args (beside ``first`` and ``last``):
        piece: Which row of ``pull``, and of ``grads`` where nothing is kept, is this call's.
        make: Compute the gradients; else ``grads`` has them.
        apply: Take the step; else leave them in ``grads``.
        entries: begin, rows, values, slopes as :func:`group` leaves them, and which prefix each latent belongs to.
        extra: Gradients of the auxiliary loss: at [n], which of their rows is a latent's, or −1; both matrices' rows.
        x: [b, d], inputs less b_dec.
        residual: [b · P, d] and P.
        scale: As in :func:`decode`.
        grads: [n, d] of W_enc and W_dec; [pieces, d] where the step is taken at once.
        pull: [pieces, d], becomes Σ_j ∂L/∂b_enc,j W_enc,j over these latents, before the step.
        enc, dec: Weights and both moments of Adam, [n, d] each. Rows of W_dec have unit norm, before and after.
        constants: β₁, β₂, and size and ε of :meth:`neuroconcepts_ray.sae.optimise.Adam.constants`.
    """
    begin, rows, values, slopes, level = entries
    at, extra_enc, extra_dec = extra
    R, P = residual
    one, zero = x.dtype.type(1), x.dtype.type(0)
    sums = pull[piece]
    if make:
        sums[:] = 0
    for j in range(first, last):
        row = piece if make and apply else j
        g, h = grads[0][row], grads[1][row]
        w_enc, w = enc[0][j], dec[0][j]
        if make:
            g[:] = 0
            h[:] = 0
            _combine(g, x, rows, 1, 0, slopes, one, begin[j], begin[j + 1])
            _combine(h, R, rows, P, level[j], values, scale, begin[j], begin[j + 1])
            slope = zero
            for e in range(begin[j], begin[j + 1]):
                slope += slopes[e]
            if slope != 0:
                for t in range(len(g)):
                    sums[t] += slope * w_enc[t]
            if at[j] >= 0:
                a, b = extra_enc[at[j]], extra_dec[at[j]]
                for t in range(len(g)):
                    g[t] += a[t]
                    h[t] += b[t]
        if apply:
            _adam(w_enc, enc[1][j], enc[2][j], g, constants)
            # Length is no freedom of the decoder: the gradient along a row is taken off, and the row scaled back.
            along = zero
            for t in range(len(w)):
                along += h[t] * w[t]
            for t in range(len(w)):
                h[t] -= along * w[t]
            _adam(w, dec[1][j], dec[2][j], h, constants)
            norm = zero
            for t in range(len(w)):
                norm += w[t] * w[t]
            norm = one / np.sqrt(norm)
            for t in range(len(w)):
                w[t] *= norm
