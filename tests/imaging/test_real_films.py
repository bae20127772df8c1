"""Films as they come from hospitals."""

from pathlib import Path

import numpy as np
from PIL import Image

from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.decode import decode
from neuroconcepts_ray.imaging.load import fit_pixels


def test_every_full_size_film_decodes_to_its_own_size_and_to_what_pillow_shows(shared_data: Path) -> None:
    films = sorted(path for path in (shared_data / "full_size").iterdir() if path.suffix in (".png", ".jpg", ".jpeg"))
    assert len(films) == 23
    for film in films:
        decoded = decode(film.read_bytes())
        with Image.open(film) as image:
            assert decoded.shape[:2] == image.size[::-1], film.name
            if image.mode in ("L", "RGB") and "transparency" not in image.info:
                expected = np.asarray(image)
                shown = decoded if expected.ndim == decoded.ndim else np.dstack([decoded] * 3)
                assert np.array_equal(shown, expected), film.name
        assert decoded[::16, ::16].std() > 10, film.name
        assert fit_pixels(decoded, PixelConfig(size=64)).shape == (1, 64, 64)
