"""The films that training needs, decoded once into one array of bytes."""

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import UInt8

from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.decode import Undecodable
from neuroconcepts_ray.imaging.load import load_pixels

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
