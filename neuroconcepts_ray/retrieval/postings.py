"""Postings: inverted list j holds the images where neuron j fires, with its activation. All of FAISS is in here.

The index is ``IndexIVFFlat(d=1, nlist=n)`` filled with given assignments, so one FAISS file answers concept queries and
exact nearest images alike; nothing is trained and nothing is approximate. FAISS reads the file's head and says what it
is; the lists are then read where they lie, in the mapped file, by :mod:`kernels`.
"""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64, UInt8, UInt32
from scipy import sparse

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.retrieval import faiss_guard
from neuroconcepts_ray.retrieval.kernels import BLOCK

_LIMITS = threading.Lock()
"""FAISS's limits on what a file may make it allocate are global and not thread-safe."""

REDO = "Run `index` again"

_ENTRY = 12
"""Bytes of one posting: an activation of four, a row of eight."""

MAX_ROWS = 2**31 - 1
"""Rows of a segment: the kernels read the low word of a row."""


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
    # Named, all three: `add_preassigned` lets go of its arguments before FAISS has read them.
    ids = np.repeat(np.arange(rows, dtype=np.int64), np.diff(codes.indptr))
    lists = codes.indices.astype(np.int64)
    payload = np.ascontiguousarray(codes.data, np.float32)[:, None]
    if len(ids):
        faiss.contrib.ivf_tools.add_preassigned(index, payload, lists, ids)
    data: bytes = faiss.serialize_index(index).tobytes()
    return data


@dataclass(frozen=True)
class Postings:
    """Opened postings.

    Attributes:
        words: The file's lists as words.
        values: The same words as float32.
        starts: Word at which each list begins.
        sizes: Postings of each list.
        rows: Number of images.
    """

    words: UInt32[np.ndarray, " w"]
    values: Float32[np.ndarray, " w"]
    starts: Int64[np.ndarray, " n"]
    sizes: Int64[np.ndarray, " n"]
    rows: int

    @property
    def n(self) -> int:
        """Number of neurons."""
        return len(self.sizes)

    @property
    def lists(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What the kernels take."""
        return self.words, self.values, self.starts, self.sizes

    @classmethod
    def open(cls, source: bytes | Path, *, rows: int, sizes: Int64[np.ndarray, " n"]) -> "Postings":
        """Open a file whose digest has been checked; a path is mapped, not read.

        Args:
            source: What :func:`build` made, or the file that holds it.
            rows: Images that it must be about.
            sizes: Postings that each neuron must have.

        Raises:
            InputError: The bytes are no such postings, or those of another archive or space.
        """
        data = (
            np.frombuffer(source, np.uint8)
            if isinstance(source, bytes)
            else np.asarray(np.memmap(source, np.uint8, "r"))
        )
        faiss = faiss_guard.load()
        index = read_faiss(source, data, faiss.IO_FLAG_MMAP)
        if not isinstance(index, faiss.IndexIVFFlat) or index.d != 1 or index.code_size != 4:
            raise InputError("this FAISS index holds no postings", value=type(index).__name__, remedy=REDO)
        if index.nlist != len(sizes):
            raise InputError(
                "the postings are of another space", value=f"{index.nlist} neurons", limit=len(sizes), remedy=REDO
            )
        total = int(sizes.sum())
        # The lists close the file, each as its activations and then its rows.
        head = len(data) - total * _ENTRY
        last = np.flatnonzero(sizes)[-1:].tolist()
        if index.ntotal != total or head < 0 or any(index.invlists.list_size(j) != sizes[j] for j in last):
            raise InputError("the postings are not those of these codes", value=index.ntotal, limit=total, remedy=REDO)
        words = data[head:].view(np.uint32)
        offsets = np.concatenate([[0], np.cumsum(sizes[:-1])]) if len(sizes) else np.zeros(0)
        starts = (offsets * (_ENTRY // 4)).astype(np.int64)
        return cls(words, words.view(np.float32), starts, sizes, rows)

    def check(self, cuts: UInt32[np.ndarray, "n b"]) -> None:
        """Read every posting once: what a digest cannot tell of a file that was made wrongly.

        Args:
            cuts: Entries of each list before the end of each block of rows but the last, as the forward codes have it.

        Raises:
            InputError: A list names an image that there is not, or not in ascending order; or it is cut elsewhere.
        """
        edges = BLOCK * np.arange(1, cuts.shape[1] + 1)
        for j in range(self.n):
            ids, _ = self.posting(j)
            if len(ids) and not (ids[0] >= 0 and ids[-1] < self.rows and np.all(ids[1:] > ids[:-1])):
                raise InputError("the postings name images that the index does not have", where=f"list {j}")
            if not np.array_equal(np.searchsorted(ids, edges), cuts[j]):
                raise InputError("the postings are not those of these codes", where=f"list {j}", remedy=REDO)

    def posting(self, j: int) -> tuple[Int64[np.ndarray, " p"], Float32[np.ndarray, " p"]]:
        """Image rows (ascending) where neuron j fires, and its activations: views into the index, not copies."""
        start, size = int(self.starts[j]), int(self.sizes[j])
        ids = self.words[start + size : start + 3 * size].view(np.int64)
        return ids, self.values[start : start + size]


def read_faiss(source: bytes | Path, data: UInt8[np.ndarray, " b"], mapping: int) -> Any:
    """The index that a file holds.

    Args:
        source: The bytes, or the file that holds them.
        data: The same as an array.
        mapping: FAISS's flag by which a file of this kind is mapped, not read.

    Raises:
        InputError: The bytes are no FAISS index.
    """
    faiss = faiss_guard.load()
    with _LIMITS:
        before = faiss.get_deserialization_loop_limit(), faiss.get_deserialization_vector_byte_limit()
        # No honest count or vector is larger than the file that it stands in.
        faiss.set_deserialization_loop_limit(max(len(data), 1))
        faiss.set_deserialization_vector_byte_limit(max(len(data), 1))
        try:
            if isinstance(source, bytes):
                return faiss.deserialize_index(data)
            return faiss.read_index(str(source), mapping | faiss.IO_FLAG_READ_ONLY)
        except (RuntimeError, MemoryError, AssertionError) as error:
            raise InputError("this is not a FAISS index", value=f"{len(data)} bytes", remedy=REDO) from error
        finally:
            faiss.set_deserialization_loop_limit(before[0])
            faiss.set_deserialization_vector_byte_limit(before[1])
