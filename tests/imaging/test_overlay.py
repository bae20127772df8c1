"""An overlay shows the map where it is above 0 and the film where it is not."""

import io

import numpy as np
from PIL import Image

from neuroconcepts_ray.imaging.overlay import overlay


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_the_film_is_untouched_where_the_map_speaks_against_and_bright_where_it_is_highest() -> None:
    film = np.full((1, 40, 40), 100, np.uint8)
    values = np.full((4, 4), -1.0)
    values[0, 0] = 2.0
    shown = pixels(overlay(film, values, opacity=1.0))
    assert shown.shape == (40, 40, 3)
    np.testing.assert_array_equal(shown[30, 30], [100, 100, 100])
    np.testing.assert_array_equal(shown[0, 0], [252, 255, 164])


def test_a_map_without_a_positive_place_leaves_the_film_alone_and_a_common_scale_dims_the_weaker() -> None:
    film = np.full((3, 8, 8), 50, np.uint8)
    assert (pixels(overlay(film, np.zeros((2, 2)))) == 50).all()
    strong, weak = pixels(overlay(film, np.ones((2, 2)))), pixels(overlay(film, np.ones((2, 2)), top=4.0))
    assert strong.sum() > weak.sum()
