"""Rows larger than the memory budget: in one scratch file, read in windows of coming batches, in the same exact order.

The file is read by position, not mapped, so that pages of it never count as this process's memory.
"""

import errno
import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.sae.data import BLOCK, Order

NUMBERS = 48
"""Bytes beside each row of a window: its number, its place, and what sorting them takes."""

Window = tuple[Float[np.ndarray, "w d"], list[Int[np.ndarray, " b"]]]


def _no_room(free: int, needed: int, folder: str) -> EnvironmentFault:
    return EnvironmentFault(
        "the disk lacks room for the activations that do not fit in memory",
        value=f"{free / 1e9:.1f} GB free",
        limit=f"{needed / 1e9:.1f} GB",
        where=folder,
        remedy="Make room, point TMPDIR to a larger disk, or raise sae.memory",
    )


def _apart(rows: int, d: int) -> Float[np.ndarray, "rows d"]:
    """Memory straight from the system, which has it back as soon as nothing refers to it.

    Out of the heap, where a small thing that stays lands in the gap of a block that is gone, each further block would
    need memory of its own, until as much was held as there are rows.
    """
    return np.frombuffer(
        mmap.mmap(-1, rows * d * 4, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), dtype=np.float32
    ).reshape(rows, d)


class Spooled:
    """Rows on local disk, in a file without a name: the system frees it when the process ends, killed or not.

    In memory, at most: while they are written, one part; while all are looked at, two blocks of :data:`BLOCK` rows;
    while they are trained on, ``budget`` (or two batches, where those are more) and the one batch that is given out.
    :meth:`take` holds the rows asked for and two blocks. The order of an epoch, which
    :func:`neuroconcepts_ray.sae.data.batches` has, comes to another 4 bytes a row (8 while it is shuffled).

    Args:
        parts: The rows, some at a time; read once.
        rows: How many they will be, nearly: what the disk must have room for.
        d: Their dimension.
        budget: Bytes of rows held in memory: half for the batches in use, half for those read ahead.
        device: Where batches go.

    Raises:
        EnvironmentFault: The disk lacks room.
    """

    def __init__(
        self, parts: Iterable[Float[np.ndarray, "_ d"]], rows: int, d: int, budget: int, device: str = "cpu"
    ) -> None:
        self._rows, self._d, self._budget, self._device = 0, d, budget, device
        folder = tempfile.gettempdir()
        free, needed = shutil.disk_usage(folder).free, rows * d * 4
        if needed > free:
            raise _no_room(free, needed, folder)
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  lives as long as the rows
        weakref.finalize(self, self._file.close)
        for part in parts:
            left = np.ascontiguousarray(part, dtype=np.float32).reshape(-1).view(np.uint8).data
            self._rows += len(part)
            try:
                while left:
                    left = left[self._file.write(left) :]
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise _no_room(shutil.disk_usage(folder).free, needed, folder) from error

    @property
    def d(self) -> int:
        """Dimension of a row."""
        return self._d

    def __len__(self) -> int:
        """How many there are."""
        return self._rows

    def _read(self, numbers: Int[np.ndarray, " w"]) -> Float[np.ndarray, "w d"]:
        """Rows of ascending numbers; neighbours in one read."""
        x = _apart(len(numbers), self._d)
        bytes_ = x.data.cast("B")
        width = self._d * 4
        cuts = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
        for start, stop in pairwise(cuts):
            at, left = int(numbers[start]) * width, bytes_[start * width : stop * width]
            while left:
                got = os.preadv(self._file.fileno(), [left], at)
                if not got:
                    raise EnvironmentFault("the scratch file of activations ended early", value=at)
                at, left = at + got, left[got:]
        return x

    def take(self, numbers: Int[np.ndarray, " b"]) -> Float[Tensor, "b d"]:
        """These rows, on the device."""
        x = torch.empty((len(numbers), self._d), device=self._device)
        order = np.argsort(numbers, kind="stable")
        for start in range(0, len(order), BLOCK):
            places = order[start : start + BLOCK]
            ascending, inverse = np.unique(numbers[places], return_inverse=True)
            found = torch.from_numpy(self._read(ascending)[inverse])
            x[torch.from_numpy(places).to(self._device)] = found.to(self._device)
        return x

    def blocks(self) -> Iterator[Float[Tensor, "b d"]]:
        """All rows in their order."""
        for start in range(0, self._rows, BLOCK):
            yield torch.from_numpy(self._read(np.arange(start, min(start + BLOCK, self._rows)))).to(self._device)

    def _window(self, order: Order) -> Window:
        first = next(order, None)
        if first is None:
            return np.empty((0, self._d), np.float32), []
        count = max(1, self._budget // 2 // (len(first) * (self._d * 4 + NUMBERS)))
        parts = [first, *islice(order, count - 1)]
        ascending, inverse = np.unique(np.concatenate(parts), return_inverse=True)
        return self._read(ascending), np.split(inverse, np.cumsum([len(part) for part in parts])[:-1])

    def batches(self, order: Order) -> Iterator[Float[Tensor, "b d"]]:
        """The rows of each entry of ``order``; the next window is read while this one is used."""
        with ThreadPoolExecutor(1) as pool:
            x, parts = self._window(order)
            while parts:
                ahead = pool.submit(self._window, order)
                for part in parts:
                    yield torch.from_numpy(x[part]).to(self._device)
                del x
                x, parts = ahead.result()
