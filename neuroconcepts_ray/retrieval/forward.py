"""Forward codes: each image's code as it is, for scoring again, for explaining, and for queries by image."""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int64, Integer, Shaped, UInt32
from safetensors.numpy import save
from scipy import sparse

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.retrieval import kernels
from neuroconcepts_ray.retrieval.kernels import BLOCK
from neuroconcepts_ray.retrieval.postings import REDO

_DTYPES = {"U16": np.uint16, "U32": np.uint32, "I64": np.int64, "F32": np.float32, "F64": np.float64}

_FIELDS = ("cuts", "indptr", "neurons", "norms", "sizes", "values")


def build(codes: sparse.csr_array) -> bytes:
    """The bytes of a safetensors file over the codes; equal codes, equal bytes.

    It holds ``indptr`` [m + 1], ``neurons`` (uint16 below 65,536 neurons, else uint32; ascending in each row),
    ``values``, ``norms`` ‖z_i‖ [m] in float64, ``sizes`` [n], how many images each neuron fires in, and ``cuts``
    [n, blocks − 1], in how many of them before the end of each block of rows but the last.

    Args:
        codes: [m, n].
    """
    codes = sparse.csr_array(codes, copy=True)
    codes.sort_indices()
    codes.eliminate_zeros()
    wide = codes.data.astype(np.float64)
    # One row at a time, so that a norm's rounding does not depend on the rows before it.
    rows = np.repeat(np.arange(codes.shape[0]), np.diff(codes.indptr))
    norms = np.sqrt(np.bincount(rows, wide * wide, minlength=codes.shape[0]))
    m, n = codes.shape
    edges = codes.indptr[np.arange(0, m + 1, BLOCK)]
    inside = [np.bincount(codes.indices[a:b], minlength=n) for a, b in itertools.pairwise(edges)]
    cuts = np.cumsum(np.array(inside[: blocks(m) - 1], np.int64).reshape(-1, n), axis=0).T
    return save(
        {
            "cuts": np.ascontiguousarray(cuts, np.uint32),
            "indptr": codes.indptr.astype(np.int64),
            "neurons": codes.indices.astype(np.uint16 if codes.shape[1] <= 1 << 16 else np.uint32),
            "values": codes.data.astype(np.float32),
            "norms": norms,
            "sizes": np.bincount(codes.indices, minlength=codes.shape[1]).astype(np.int64),
        }
    )


def blocks(rows: int) -> int:
    """Blocks of rows that a pass goes through, at least one."""
    return max(1, -(-rows // BLOCK))


@dataclass(frozen=True)
class Forward:
    """Opened forward codes.

    Attributes:
        indptr: Where each row begins.
        neurons: Neurons that fire, ascending in each row.
        values: Their activations.
        norms: ‖z_i‖.
        sizes: Images that each neuron fires in.
        cuts: Those of them before the end of each block of rows but the last.
    """

    indptr: Int64[np.ndarray, " m1"]
    neurons: Integer[np.ndarray, " z"]
    values: Float32[np.ndarray, " z"]
    norms: Float64[np.ndarray, " m"]
    sizes: Int64[np.ndarray, " n"]
    cuts: UInt32[np.ndarray, "n b"]

    @classmethod
    def open(cls, source: bytes | Path, *, n: int) -> "Forward":
        """Open a file whose digest has been checked; a path is mapped, not read.

        Args:
            source: What :func:`build` made, or the file that holds it.
            n: Neurons that it must be about.

        Raises:
            InputError: The bytes are no forward codes, or those of another space.
        """
        data = np.frombuffer(source, np.uint8) if isinstance(source, bytes) else np.asarray(np.memmap(source, mode="r"))
        try:
            found = _tensors(data)
            rows, size = len(found["norms"]), len(found["sizes"])
            found["cuts"] = found["cuts"].reshape(size, blocks(rows) - 1)
            opened = cls(*(found[name] for name in ("indptr", "neurons", "values", "norms", "sizes", "cuts")))
        except (ValueError, KeyError, TypeError) as error:  # of hostile headers, undecodable text among them
            raise InputError("these are no forward codes", value=f"{len(data)} bytes", remedy=REDO) from error
        if len(opened.sizes) != n:
            raise InputError(
                "the forward codes are of another space", value=f"{len(opened.sizes)} neurons", limit=n, remedy=REDO
            )
        entries = {len(opened.neurons), len(opened.values), int(opened.sizes.sum())}
        if len(opened.indptr) != len(opened.norms) + 1 or len(entries) > 1 or opened.indptr[-1] != len(opened.neurons):
            raise InputError("the forward codes contradict themselves", remedy=REDO)
        return opened

    def check(self) -> None:
        """Read every code once: what a digest cannot tell of a file that was made wrongly.

        Raises:
            InputError: Rows that overlap, or neurons that there are not, or other counts than the file says.
        """
        n = len(self.sizes)
        sound = self.indptr[0] == 0 and bool(np.all(np.diff(self.indptr) >= 0)) and bool(np.all(self.neurons < n))
        if not sound or not np.array_equal(np.bincount(self.neurons, minlength=n), self.sizes):
            raise InputError("the forward codes contradict themselves", remedy=REDO)

    def __len__(self) -> int:
        return len(self.norms)

    def code(self, row: int) -> tuple[Int64[np.ndarray, " k"], Float32[np.ndarray, " k"]]:
        """The neurons that fire in a row, ascending, and their activations."""
        span = slice(int(self.indptr[row]), int(self.indptr[row + 1]))
        return self.neurons[span].astype(np.int64), np.array(self.values[span])

    def codes(self, rows: Int64[np.ndarray, " r"]) -> list[tuple[Int64[np.ndarray, " _"], Float64[np.ndarray, " _"]]]:
        """:meth:`code` of some rows, with activations as float64."""
        total = int((self.indptr[rows + 1] - self.indptr[rows]).sum())
        neurons, values = np.empty(total, np.int64), np.empty(total)
        ends = np.zeros(len(rows) + 1, np.int64)
        kernels.gather(rows, self.indptr, self.neurons, self.values, ends, neurons, values)
        return [(neurons[a:b], values[a:b]) for a, b in itertools.pairwise(ends.tolist())]

    def matrix(self) -> sparse.csr_array:
        """All codes, [m, n]."""
        shape = (len(self), len(self.sizes))
        return sparse.csr_array((self.values, self.neurons.astype(np.int64), self.indptr), shape=shape)


def _tensors(data: Shaped[np.ndarray, " b"]) -> dict[str, Shaped[np.ndarray, " _"]]:
    """The tensors of a safetensors file as views: the library copies, and a mapped index must not."""
    length = int.from_bytes(bytes(data[:8]), "little")
    if length > len(data) - 8:
        raise ValueError("the header is longer than the file")
    header = json.loads(bytes(data[8 : 8 + length]))
    body = data[8 + length :]
    found = {}
    for name in _FIELDS:
        begin, end = header[name]["data_offsets"]
        if not 0 <= begin <= end <= len(body):
            raise ValueError("a tensor lies outside the file")
        found[name] = body[begin:end].view(_DTYPES[header[name]["dtype"]])
    return found
