"""All films of an archive are files of one size with one header, and any decoder reads them."""

import io

import numpy as np
import pytest
from PIL import Image

from neuroconcepts_ray.imaging.jpeg import jpeg_frame
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import draw_patient
from neuroconcepts_ray.phantom.films import render
from neuroconcepts_ray.phantom.jpeg import _comments, encode, size_class

KEY = (1, 0, 0)


@pytest.mark.parametrize("total", [0, 4, 5, 65_537, 65_538, 65_540, 65_541, 131_074, 131_077, 200_000])
def test_comments_are_segments_as_the_standard_has_them(total: int) -> None:
    data = _comments(total, KEY)
    assert len(data) == total
    at = 0
    while at < len(data):
        assert data[at : at + 2] == b"\xff\xfe"
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        assert 2 <= length <= 65_535
        at += 2 + length
    assert at == total


def films(height: int, width: int, count: int) -> list[np.ndarray]:
    config = PhantomConfig(seed=3, height=height, width=width, text=1.0)
    patients = [draw_patient(config, index) for index in range(count)]
    return [render(config, p, p.studies[0], p.studies[0].films[0])[0] for p in patients]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (152, 128), (224, 224), (64, 200)])
@pytest.mark.parametrize("quality", [50, 75, 90, 95, 98, 100])
def test_every_film_has_the_one_size_and_the_one_header(height: int, width: int, quality: int) -> None:
    files = [encode(image, quality, KEY) for image in films(height, width, 8)]
    assert {len(data) for data in files} == {size_class(height, width, quality)}
    assert len({data[: data.index(b"\xff\xda")] for data in files}) == 1
    assert all(data.endswith(b"\xff\xd9") for data in files)
    # The filling is a part, not the whole.
    assert min(data.index(b"\xff\xfe") for data in files) > 0.2 * size_class(height, width, quality)


def test_the_filling_changes_no_pixel_whole_or_scaled() -> None:
    (image,) = films(304, 256, 1)
    plain = io.BytesIO()
    Image.fromarray(image).save(plain, "JPEG", quality=95)
    filled = encode(image, 95, KEY)
    assert jpeg_frame(filled)[:2] == (256, 304)
    for scale in (1, 4):
        pictures = []
        for data in (plain.getvalue(), filled):
            with Image.open(io.BytesIO(data)) as picture:
                picture.draft("L", (256 // scale, 304 // scale))
                assert "comment" not in picture.info
                pictures.append(np.asarray(picture))
        np.testing.assert_array_equal(*pictures)
    assert pictures[1].shape == (76, 64)


def test_the_filling_is_a_function_of_the_key() -> None:
    (image,) = films(32, 32, 1)
    assert encode(image, 95, KEY) == encode(image, 95, KEY)
    assert encode(image, 95, KEY) != encode(image, 95, (1, 0, 1))
