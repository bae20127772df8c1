"""The films that training needs, decoded or read from packed pixels, once, into one array of bytes."""

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Shaped, UInt8

from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.decode import Undecodable
from neuroconcepts_ray.imaging.load import load_pixels
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.pixels.packed import Packed, cause_of, read_part

MEMORY_BYTES = 2 * 1024**3
"""Above this the pixels live in a temporary file that the system pages in and out."""


def room(count: int, pixels: PixelConfig, limit: int = MEMORY_BYTES) -> UInt8[np.ndarray, "n c h w"]:
    """An array of zeros for so many films: in memory, or over a nameless temporary file where it is large."""
    shape = (count, pixels.channels, pixels.size, pixels.size)
    if int(np.prod(shape)) <= limit:
        return np.zeros(shape, dtype=np.uint8)
    with tempfile.TemporaryFile() as file:  # the mapping keeps it alive; nothing is left behind, whoever dies
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)


def load_films(
    read: Callable[[int], bytes], rows: Sequence[int], pixels: PixelConfig, threads: int
) -> tuple[UInt8[np.ndarray, "n c h w"], dict[int, str]]:
    """Read and decode films by a few threads (Pillow lets go of the interpreter while it decodes).

    Args:
        read: The bytes of a film by its row in the catalog.
        rows: The rows that are wanted.
        pixels: Size, channels, fit.
        threads: How many at a time.

    Returns:
        The films in the order of ``rows``, zeros where one will never decode, and the cause of each of those by its
        place in ``rows``.

    Raises:
        EnvironmentFault: A read failed; that says nothing about the film.
    """
    films = room(len(rows), pixels)

    def one(number: int) -> str | None:
        try:
            films[number] = load_pixels(read(rows[number]), pixels)
        except Undecodable as bad:
            return bad.cause
        except EnvironmentFault:
            raise
        except OSError as error:
            raise EnvironmentFault(
                f"a film could not be read: {error.strerror or type(error).__name__}",
                where="catalog.root",
                remedy="Run the same command again once the archive answers",
            ) from None
        return None

    with ThreadPoolExecutor(threads) as pool:
        causes = list(pool.map(one, range(len(rows))))
    return films, {number: cause for number, cause in enumerate(causes) if cause is not None}


def load_packed_films(
    lake: Lake,
    packed: Packed,
    image_ids: Shaped[np.ndarray, " m"],
    rows: Sequence[int],
    pixels: PixelConfig,
    threads: int,
) -> tuple[UInt8[np.ndarray, "n c h w"], dict[int, str]]:
    """The same from packed pixels: each part that holds one of the films is read once.

    Args:
        lake: The lake.
        packed: What fits the classifier.
        image_ids: Of the catalog.
        rows: The rows that are wanted.
        pixels: Size, channels, fit.
        threads: How many parts at a time.

    Returns:
        See :func:`load_films`.
    """
    films = room(len(rows), pixels)
    causes = packed.causes
    wanted: dict[int, list[tuple[int, str]]] = {}
    for place, row in enumerate(rows):
        (number,) = packed.within(row, row + 1)
        wanted.setdefault(number, []).append((place, str(image_ids[row])))

    def one(number: int) -> dict[int, str]:
        there, found, _ = read_part(lake, packed.manifest.parts[number])
        at = {image_id: row for row, image_id in enumerate(there)}
        bad = {}
        for place, image_id in wanted[number]:
            if image_id in at:
                films[place] = found[at[image_id]]
            else:
                bad[place] = cause_of(causes, image_id)
        return bad

    with ThreadPoolExecutor(threads) as pool:
        return films, dict(sorted(item for bad in pool.map(one, sorted(wanted)) for item in bad.items()))
