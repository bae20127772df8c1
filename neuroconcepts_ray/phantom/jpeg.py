"""A film as a JPEG whose size and header tell nothing of what is on it.

A busy film makes a longer JPEG than a plain one: edema could be read from the size of its file. So every file of an
archive is filled up to one length. The filling lies behind the picture, in comment segments before the end marker,
where no decoder looks for the picture: what stands before the picture is the same in all files.
"""

import hashlib
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_LONGEST = 65_535
"""A segment's longest length, the two bytes of that length included."""
_RATE = ((128, 224, 512, 700, 1024, 2048, 2544), (0.66, 0.60, 0.52, 0.50, 0.43, 0.295, 0.256))
"""Short side → bytes a pixel at quality 95; about a fifth above the longest of the films measured."""
_GROWTH = ((50, 75, 90, 95, 98, 100), (0.32, 0.48, 0.78, 1.0, 1.4, 2.2))
"""Quality → bytes, in those at quality 95."""
_HEADER = 1_024


def encode(image: UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"], quality: int, key: tuple[int, ...]) -> bytes:
    """A film, grey or in colour, as a baseline JPEG of the one length of all of its height, width and quality.

    A picture that is longer than that, which no film should be, makes a file of the next multiple.

    Args:
        image: The film.
        quality: Pillow's quality, from 50 to 100.
        key: What the bytes of the filling are drawn from.
    """
    height, width = image.shape[:2]
    quantum = size_class(height, width, quality)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    data = buffer.getvalue()
    missing = -len(data) % quantum
    if 0 < missing < 4:
        missing += quantum
    return data[:-2] + _comments(missing, key) + data[-2:]


def size_class(height: int, width: int, quality: int) -> int:
    """The length of every file of an archive, in bytes: well above that of any film's picture.

    The bytes a pixel needs were measured: fewer where a film is finer than its noise, more at a high quality.
    """
    pixels, short = height * width, min(height, width)
    rate = float(np.interp(short, *_RATE))
    return _HEADER + int(np.ceil(pixels * rate * float(np.interp(quality, *_GROWTH))))


def _comments(total: int, key: tuple[int, ...]) -> bytes:
    """Comment segments of ``total`` bytes in all; their text is noise drawn from the key."""
    if total == 0:
        return b""
    digest = hashlib.shake_128(repr(key).encode())
    noise = digest.digest(total)
    segments, left = [], total
    while left:
        # The rest must hold a marker and a length too.
        take = min(left, _LONGEST + 2)
        take -= 4 if 0 < left - take < 4 else 0
        segments.append(b"\xff\xfe" + (take - 2).to_bytes(2, "big") + noise[left - take + 4 : left])
        left -= take
    return b"".join(segments)
