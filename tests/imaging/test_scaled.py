"""A JPEG decoded at a fraction of its size gives the square that a full decode gives, nearly, and sooner."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from neuroconcepts_ray.imaging import raster
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.decode import Undecodable, decode
from neuroconcepts_ray.imaging.load import divisor, fit_pixels, load_pixels

FULL = {"jpeg_margin": 0.0}


def film(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth shadows, edges and grain: something like a film."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    image = sum(
        rng.uniform(-1, 1) * np.exp(-((x - rng.random()) ** 2 + (y - rng.random()) ** 2) / 0.04) for _ in "x" * 9
    )
    image = image + 0.3 / (1 + np.exp(-(x + 0.4 * y - 0.7) * 80))
    image = (image - image.min()) / np.ptp(image)
    return np.clip(image * 215 + 20 + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", **{"quality": 95, **options})
    return sink.getvalue()


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2)))


@given(
    st.integers(1, 10_000),
    st.integers(1, 10_000),
    st.integers(8, 1024),
    st.floats(0.1, 8),
    st.sampled_from(["crop", "pad", "stretch"]),
)
def test_the_divisor_keeps_the_margin_and_the_next_would_not(
    width: int, height: int, size: int, margin: float, fit: str
) -> None:
    by = divisor(PixelConfig.model_validate({"size": size, "jpeg_margin": margin, "fit": fit}), width, height)
    side = max(width, height) if fit == "pad" else min(width, height)
    assert by in (1, 2, 4, 8)
    assert by == 1 or side >= by * margin * size
    assert by == 8 or side < 2 * by * margin * size


def test_a_margin_of_zero_decodes_in_full() -> None:
    data = jpeg(film(400, 300))
    for fit in ("crop", "pad", "stretch"):
        config = PixelConfig.model_validate({"size": 32, "fit": fit, **FULL})
        assert np.array_equal(load_pixels(data, config), fit_pixels(decode(data), config))


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(520, 431), (403, 807), (512, 512)])
@pytest.mark.parametrize("size", [24, 48])
def test_a_scaled_decode_is_a_full_one_within_45_db(fit: str, shape: tuple[int, int], size: int) -> None:
    data = jpeg(film(*shape))
    config = PixelConfig.model_validate({"size": size, "fit": fit})
    assert divisor(config, shape[1], shape[0]) > 1
    full = load_pixels(data, config.model_copy(update=FULL))
    assert psnr(load_pixels(data, config), full) > 45


def test_a_scaled_decode_is_not_shifted_where_the_size_is_no_multiple_of_the_divisor() -> None:
    # 513 pixels at 1/8 are 65, of which the last is covered by an eighth: a ramp would be stretched by 1.4 %.
    ramp = np.broadcast_to(np.linspace(0, 255, 513), (513, 513)).astype(np.uint8)
    config = PixelConfig(size=16, fit="stretch")
    data = jpeg(ramp)
    assert divisor(config, 513, 513) == 8
    full = load_pixels(data, config.model_copy(update=FULL)).astype(int)
    assert np.abs(load_pixels(data, config) - full).max() <= 2


def test_of_colour_one_channel_is_the_luma() -> None:
    colour = np.dstack([film(400, 400, 1), film(400, 400, 2), film(400, 400, 3)])
    for options in ({"subsampling": 0}, {"subsampling": 2}, {"keep_rgb": True}):
        data = jpeg(colour, **options)
        config = PixelConfig(size=48)
        assert psnr(load_pixels(data, config), load_pixels(data, config.model_copy(update=FULL))) > 45
        three = PixelConfig(size=48, channels=3)
        scaled = load_pixels(data, three)
        assert scaled.shape == (3, 48, 48)
        assert psnr(scaled, load_pixels(data, three.model_copy(update=FULL))) > 38  # chroma is coarser than luma


def test_of_colour_too_small_to_be_scaled_one_channel_is_the_luma_too() -> None:
    data = jpeg(np.dstack([film(90, 100, seed) for seed in range(3)]))
    config = PixelConfig(size=48)
    assert divisor(config, 100, 90) == 1
    assert psnr(load_pixels(data, config), load_pixels(data, config.model_copy(update=FULL))) > 45


def test_progressive_films_are_scaled_too() -> None:
    data = jpeg(film(600, 600), progressive=True)
    config = PixelConfig(size=64)
    assert psnr(load_pixels(data, config), load_pixels(data, config.model_copy(update=FULL))) > 45


@pytest.mark.parametrize("odd", ["cmyk", "turned", "png", "small"])
def test_what_is_odd_is_decoded_in_full(odd: str) -> None:
    image = Image.fromarray(film(400, 300))
    sink = io.BytesIO()
    if odd == "cmyk":
        Image.fromarray(np.dstack([film(400, 300, i) for i in range(4)]), "CMYK").save(sink, "JPEG")
    elif odd == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(sink, "JPEG", exif=exif)
    elif odd == "png":
        image.save(sink, "PNG")
    else:
        image.resize((100, 100)).save(sink, "JPEG")
    config = PixelConfig(size=64)
    assert np.array_equal(load_pixels(sink.getvalue(), config), fit_pixels(decode(sink.getvalue()), config))
    assert raster.decode_scaled(sink.getvalue(), lambda *_: 1, 1) is None


@pytest.mark.parametrize("cut", [200, 0.5, 0.9])
def test_a_truncated_film_is_refused_at_every_scale(cut: float) -> None:
    data = jpeg(film(600, 500))
    data = data[: int(cut if cut > 1 else cut * len(data))]
    for margin in (0.0, 2.0):
        with pytest.raises(Undecodable) as caught:
            load_pixels(data, PixelConfig(size=32, jpeg_margin=margin))
        assert caught.value.cause == "truncated"


def test_the_default_margin_keeps_45_db_on_every_real_film(shared_data: Path) -> None:
    films = sorted((shared_data / "full_size").glob("*.jp*g"))
    assert len(films) == 16
    for path in films[::5]:
        data = path.read_bytes()
        config = PixelConfig()
        assert psnr(load_pixels(data, config), load_pixels(data, config.model_copy(update=FULL))) > 45, path.name
