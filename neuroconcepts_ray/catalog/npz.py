"""Single values of an npz file that nobody vouches for: nothing is unpickled, and no header is believed."""

import io
import math
import zipfile
from collections.abc import Sequence

import numpy as np

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.imaging.quiet import quiet

MOST_BYTES = 1 << 20
"""Largest member that is read: a clinical note, in four bytes a character, is far smaller."""

LONGEST_HEADER = 4096
"""Longest header, in bytes, that is parsed; numpy's own are below 128."""


def read_values(data: bytes, names: Sequence[str]) -> dict[str, float | str]:
    """Numbers and texts of an npz file, by name; a vector gives its first value, what it lacks is left out.

    Args:
        data: The file's bytes.
        names: Which members, without ``.npy``.

    Raises:
        InputError: It is no npz, is damaged, or a member is an object, too large or empty.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            there = set(archive.namelist())
            return {name: _value(archive, f"{name}.npy") for name in names if f"{name}.npy" in there}
    except (InputError, MemoryError):
        raise
    except Exception:  # zipfile lets each codec's own errors pass, and numpy its parser's
        raise InputError("an npz file is damaged", where="npz") from None


def _value(archive: zipfile.ZipFile, member: str) -> float | str:
    if archive.getinfo(member).file_size > MOST_BYTES:
        raise InputError("a member of an npz file is too large", limit=f"{MOST_BYTES} bytes", where=member)
    with archive.open(member) as stream:
        # What the directory says of its size may be a lie.
        raw = io.BytesIO(stream.read(MOST_BYTES + 1))
    version = np.lib.format.read_magic(raw)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(
        version
    )
    if read_header is None:
        raise InputError("a member of an npz file has another format", where=member)
    with quiet():  # a header as Python 2 wrote it
        shape, _, dtype = read_header(raw, max_header_size=LONGEST_HEADER)
    body = raw.read()
    if dtype.hasobject or dtype.kind not in "biufUS" or len(body) != math.prod(shape) * dtype.itemsize or not body:
        raise InputError("a member of an npz file is not a number or a text", where=member)
    first = np.frombuffer(body, dtype, count=1)[0]
    if dtype.kind == "S":
        return bytes(first).decode("utf-8", "replace")
    return str(first) if dtype.kind == "U" else float(first)
