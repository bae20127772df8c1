"""Postings: inverted list j holds the images where neuron j fires, with its activation. All of FAISS is in here.

The index is ``IndexIVFFlat(d=1, nlist=n)`` filled with given assignments, so one FAISS file answers concept queries and
exact nearest images alike; nothing is trained and nothing is approximate.
"""

import threading
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import sparse

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.retrieval import faiss_guard

_LIMITS = threading.Lock()
"""FAISS's limits on what a file may make it allocate are global and not thread-safe."""


def build(codes: sparse.csr_array) -> bytes:
    """The bytes of a FAISS file over the codes; equal codes, equal bytes.

    Args:
        codes: [m, n]; the row number is the id, the column the list, the value the payload. Lists are ascending in id.
    """
    faiss = faiss_guard.load()
    codes = sparse.csr_array(codes, copy=True)
    codes.sort_indices()
    codes.eliminate_zeros()
    rows, n = codes.shape
    # The quantizer is never asked; FAISS only wants it to know as many centroids as there are lists.
    quantizer = faiss.IndexFlatIP(1)
    quantizer.add(np.zeros((n, 1), np.float32))
    index = faiss.IndexIVFFlat(quantizer, 1, n, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    ids = np.repeat(np.arange(rows, dtype=np.int64), np.diff(codes.indptr))
    if len(ids):
        payload = np.ascontiguousarray(codes.data, np.float32)[:, None]
        faiss.contrib.ivf_tools.add_preassigned(index, payload, codes.indices.astype(np.int64), ids)
    data: bytes = faiss.serialize_index(index).tobytes()
    return data


class Postings:
    """Opened postings.

    Args:
        index: The FAISS index.
        rows: Number of images.
    """

    def __init__(self, index: Any, rows: int) -> None:
        self._index = index
        self.rows = rows
        self.n = int(index.nlist)

    @classmethod
    def open(cls, data: bytes, *, rows: int, n: int) -> "Postings":
        """Read a file whose digest has been checked.

        Args:
            data: What :func:`build` made.
            rows: Images that it must be about.
            n: Neurons that it must be about.

        Raises:
            InputError: The bytes are no such postings, or those of another archive or space.
        """
        faiss = faiss_guard.load()
        with _LIMITS:
            before = faiss.get_deserialization_loop_limit(), faiss.get_deserialization_vector_byte_limit()
            # No honest count or vector is larger than the file that it stands in.
            faiss.set_deserialization_loop_limit(max(len(data), 1))
            faiss.set_deserialization_vector_byte_limit(max(len(data), 1))
            try:
                index = faiss.deserialize_index(np.frombuffer(data, np.uint8))
            except (RuntimeError, MemoryError, AssertionError) as error:
                raise InputError("this is not a FAISS index", value=f"{len(data)} bytes", remedy=_REDO) from error
            finally:
                faiss.set_deserialization_loop_limit(before[0])
                faiss.set_deserialization_vector_byte_limit(before[1])
        if not isinstance(index, faiss.IndexIVFFlat) or index.d != 1 or index.code_size != 4:
            raise InputError("this FAISS index holds no postings", value=type(index).__name__, remedy=_REDO)
        if index.nlist != n:
            raise InputError("the postings are of another space", value=f"{index.nlist} neurons", limit=n, remedy=_REDO)
        postings = cls(index, rows)
        for j in range(n):
            ids, _ = postings.posting(j)
            if len(ids) and not (ids[0] >= 0 and ids[-1] < rows and np.all(ids[1:] > ids[:-1])):
                raise InputError("the postings name images that the index does not have", where=f"list {j}")
        return postings

    def posting(self, j: int) -> tuple[Int[np.ndarray, " p"], Float[np.ndarray, " p"]]:
        """Image rows (ascending) where neuron j fires, and its activations: views into the index, not copies."""
        faiss = faiss_guard.load()
        lists = self._index.invlists
        size = lists.list_size(j)
        if size == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        ids: Int[np.ndarray, " p"] = faiss.rev_swig_ptr(lists.get_ids(j), size)
        values: Float[np.ndarray, " p"] = faiss.rev_swig_ptr(lists.get_codes(j), size * 4).view(np.float32)
        return ids, values

    def codes(self) -> sparse.csr_array:
        """All postings turned back into codes, [rows, n]: what a query by image starts from."""
        pairs = [self.posting(j) for j in range(self.n)]
        indptr = np.concatenate([[0], np.cumsum([len(ids) for ids, _ in pairs])])
        ids = np.concatenate([ids for ids, _ in pairs]) if pairs else np.zeros(0, np.int64)
        values = np.concatenate([values for _, values in pairs]) if pairs else np.zeros(0, np.float32)
        return sparse.csc_array((values, ids, indptr), shape=(self.rows, self.n)).tocsr()

    def strongest(
        self, j: int, top: int, allowed: Bool[np.ndarray, " m"] | None = None
    ) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """The allowed images with the largest activation of neuron j, ties in row order."""
        ids, values = self.posting(j)
        if allowed is not None:
            kept = allowed[ids]
            ids, values = ids[kept], values[kept]
        return _best(ids, values, top)

    def nearest(
        self,
        neurons: Int[np.ndarray, " k"],
        values: Float[np.ndarray, " k"],
        norms: Float[np.ndarray, " m"],
        top: int,
        allowed: Bool[np.ndarray, " m"] | None = None,
    ) -> tuple[Int[np.ndarray, " h"], Float[np.ndarray, " h"]]:
        """The allowed images of largest cosine with the query, exactly: Σ_j q_j z_ij / (‖q‖ ‖z_i‖), in float64.

        Only images that share a neuron with the query are candidates: the rest have cosine 0 and nothing to show.

        Args:
            neurons: Where the query fires, ascending (the order of summation).
            values: Its activations.
            norms: ‖z_i‖ of every image.
            top: Most hits.
            allowed: Images that may be hits; filters hold before anything is ranked.

        Returns:
            Rows and cosines, best first, ties in row order.
        """
        score = np.zeros(self.rows)
        for j, value in zip(neurons.tolist(), values.astype(np.float64).tolist(), strict=True):
            ids, payload = self.posting(j)
            score[ids] += value * payload.astype(np.float64)
        candidate = score != 0
        if allowed is not None:
            candidate &= allowed
        rows = np.flatnonzero(candidate)
        length = np.sqrt(np.square(values.astype(np.float64)).sum())
        return _best(rows, score[rows] / (length * norms[rows]), top)


_REDO = "Run `index` again"


def _best(
    rows: Int[np.ndarray, " p"], scores: Shaped[np.ndarray, " p"], top: int
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """The ``top`` largest scores, ties in row order (rows come ascending)."""
    if top < len(rows):
        # All that tie with the last place stay in, so that the row order decides among them.
        kept = scores >= np.partition(scores, len(scores) - top)[len(scores) - top]
        rows, scores = rows[kept], scores[kept]
    order = np.lexsort((rows, -scores))[:top]
    return rows[order].copy(), scores[order].astype(np.float64)
