"""Sparse activations over studies, and their ranks, without ever being made dense."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse


def study_maxima(codes: sparse.csr_array, study: Int[np.ndarray, " m"], studies: int) -> sparse.csr_array:
    """The maximum of each neuron over the films of each study: [studies, n].

    Args:
        codes: Activations of m films, [m, n]; what is not stored is 0.
        study: Row of each film's study, −1 for films to leave out.
        studies: Number of studies.
    """
    table = codes.tocoo()
    kept = study[table.row] >= 0
    n = codes.shape[1]
    key = study[table.row[kept]].astype(np.int64) * n + table.col[kept]
    order = np.argsort(key, kind="stable")
    key, value = key[order], table.data[kept][order].astype(np.float64)
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.zeros(0, np.int64)
    top = np.maximum.reduceat(value, starts) if len(key) else value
    stored = np.diff(np.r_[starts, len(key)])
    row, column = np.divmod(key[starts], n)
    films = np.bincount(study[study >= 0], minlength=studies)
    top = np.where(stored < films[row], np.maximum(top, 0.0), top)
    result = sparse.csr_array((top, (row, column)), shape=(studies, n))
    result.eliminate_zeros()
    return result


@dataclass(frozen=True)
class Ranks:
    """Mid-ranks of sparse columns, kept sparse: twice the rank, less twice the rank of zero, an integer.

    Products of integers are exact in float64, so results do not depend on the order of summation.
    """

    doubled: sparse.csc_array
    zero: Float[np.ndarray, " n"]
    ties: Float[np.ndarray, " n"]
    fires: sparse.csc_array
    firing: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, values: sparse.csr_array) -> "Ranks":
        """Rank each column of [s, n] among its s entries, unstored zeros included.

        ``ties`` is Σ(t³ − t) over the groups of equal values.
        """
        s, n = values.shape
        table = values.tocsc()
        table.sort_indices()
        column = np.repeat(np.arange(n), np.diff(table.indptr))
        order = np.lexsort((table.data, column))
        value, col = table.data[order], column[order]
        fresh = np.r_[True, (value[1:] != value[:-1]) | (col[1:] != col[:-1])] if len(value) else np.zeros(0, bool)
        run = np.cumsum(fresh) - 1
        first = np.flatnonzero(fresh)
        size = np.diff(np.r_[first, len(value)])
        zeros = s - np.diff(table.indptr)
        below = np.bincount(column, weights=table.data < 0, minlength=n)
        place = np.arange(len(value)) - table.indptr[col]
        middle = (2 * place[first] + size + 1)[run]  # twice the mid-rank among the stored values
        rank2 = middle + np.where(value > 0, 2 * zeros[col], 0)
        zero2 = (2 * below + zeros + 1).astype(np.float64)
        centred = np.empty(len(value))
        centred[order] = rank2 - zero2[col]
        ties = zeros.astype(np.float64) ** 3 - zeros
        ties += np.bincount(col[first], weights=(size**3 - size).astype(np.float64), minlength=n)
        fires = sparse.csc_array(((table.data > 0).astype(np.float64), table.indices, table.indptr), shape=(s, n))
        firing = np.bincount(column, weights=table.data > 0, minlength=n).astype(np.int64)
        return cls(sparse.csc_array((centred, table.indices, table.indptr), shape=(s, n)), zero2, ties, fires, firing)
