"""The square that the network sees."""

import io

import numpy as np
import pytest
from PIL import Image

from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.decode import Undecodable
from neuroconcepts_ray.imaging.load import fit_pixels, load_pixels

RNG = np.random.default_rng(1)


def as_png(pixels: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (9, 200), (30, 50, 3), (1, 1)])
def test_every_film_becomes_a_square_of_the_configured_size_and_channels(
    fit: str, channels: int, shape: tuple[int, ...]
) -> None:
    film = RNG.integers(0, 256, shape, dtype=np.uint8)
    pixels = load_pixels(as_png(film), PixelConfig.model_validate({"size": 32, "channels": channels, "fit": fit}))
    assert pixels.shape == (channels, 32, 32)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


def test_grey_is_repeated_over_three_channels() -> None:
    pixels = load_pixels(as_png(RNG.integers(0, 256, (40, 40), dtype=np.uint8)), PixelConfig(size=16, channels=3))
    assert np.array_equal(pixels[0], pixels[1])
    assert np.array_equal(pixels[0], pixels[2])


def test_colour_becomes_luma_in_one_channel() -> None:
    colour = np.empty((20, 20, 3), dtype=np.uint8)
    colour[:] = 200, 30, 90
    pixels = fit_pixels(colour, PixelConfig(size=8))
    assert abs(int(pixels[0, 4, 4]) - (0.299 * 200 + 0.587 * 30 + 0.114 * 90)) <= 1


def test_a_film_of_the_right_size_is_not_resampled() -> None:
    film = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    for fit in ("crop", "pad", "stretch"):
        assert np.array_equal(fit_pixels(film, PixelConfig.model_validate({"size": 64, "fit": fit}))[0], film)


def test_crop_takes_the_central_square() -> None:
    film = np.zeros((16, 48), dtype=np.uint8)
    film[:, 16:32] = RNG.integers(0, 256, (16, 16))
    assert np.array_equal(fit_pixels(film, PixelConfig(size=16))[0], film[:, 16:32])


def test_pad_keeps_the_whole_film_between_black_bars() -> None:
    film = np.full((16, 32), 200, dtype=np.uint8)
    pixels = fit_pixels(film, PixelConfig(size=32, fit="pad"))[0]
    assert np.array_equal(pixels[8:24], film)
    assert not pixels[:8].any()
    assert not pixels[24:].any()


def test_reduction_averages_instead_of_sampling() -> None:
    stripes = np.zeros((512, 512), dtype=np.uint8)
    stripes[:, ::2] = 255  # finer than the square can show: a sample would be black or white
    inner = fit_pixels(stripes, PixelConfig(size=32))[0]
    assert np.abs(inner.astype(float) - 127.5).max() < 8


def test_reduction_is_the_triangle_filter_of_the_textbook() -> None:
    film = RNG.integers(0, 256, (60, 60), dtype=np.uint8)
    scale = 60 / 12
    centres = (np.arange(12) + 0.5) * scale
    weights = np.clip(1 - np.abs((np.arange(60) + 0.5)[None] - centres[:, None]) / scale, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    expected = weights @ film @ weights.T
    assert np.abs(fit_pixels(film, PixelConfig(size=12))[0] - expected).max() <= 1.5  # two passes, each rounded


def test_the_same_bytes_give_the_same_pixels() -> None:
    data = as_png(RNG.integers(0, 256, (100, 80, 3), dtype=np.uint8))
    config = PixelConfig(size=48, channels=3)
    assert np.array_equal(load_pixels(data, config), load_pixels(data, config))


def test_a_damaged_film_is_refused() -> None:
    with pytest.raises(Undecodable):
        load_pixels(b"\xff\xd8\xff", PixelConfig())


def test_resize_and_the_central_square_are_torchvisions_to_the_pixel() -> None:
    from torchvision import transforms

    noise = np.random.default_rng(3).integers(0, 256, (117, 90), dtype=np.uint8)
    both = transforms.Compose([transforms.Resize(73), transforms.CenterCrop(64)])
    pixels = PixelConfig(size=64, resize=73)
    np.testing.assert_array_equal(fit_pixels(noise, pixels)[0], np.asarray(both(Image.fromarray(noise))))


def test_a_sliver_that_resize_would_blow_up_is_set_aside() -> None:
    with pytest.raises(Undecodable, match="too many pixels"):
        fit_pixels(np.zeros((1, 4000), np.uint8), PixelConfig(size=64, resize=256))
