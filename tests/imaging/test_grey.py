"""The grey of a level is what the formulas of the standard give."""

import numpy as np
import pytest

from neuroconcepts_ray.imaging.grey import Display, Lut, Window, shown

LEVELS = np.arange(-300, 4396, dtype=np.int64)
ONCE = np.ones(len(LEVELS), dtype=np.int64)


def by_the_standard(x: float, centre: float, width: float) -> float:
    """PS3.3 C.11.2.1.2.1, its pseudo-code word for word, for an output of 0 to 255."""
    if x <= centre - 0.5 - (width - 1) / 2:
        return 0.0
    if x > centre - 0.5 + (width - 1) / 2:
        return 255.0
    return ((x - (centre - 0.5)) / (width - 1) + 0.5) * 255


@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (2048, 1), (0, 100), (40.5, 350.25), (600, 2)])
def test_a_linear_window_is_that_of_the_standard(centre: float, width: float) -> None:
    grey = shown(LEVELS, ONCE, Display(bits=12, window=Window(float(centre), float(width))))
    expected = [by_the_standard(float(x), centre, width) for x in LEVELS]
    assert np.abs(grey - np.array(expected)).max() <= 0.5 + 1e-9


def test_a_linear_exact_window_has_its_ends_at_half_a_width() -> None:
    grey = shown(LEVELS, ONCE, Display(bits=12, window=Window(100.0, 200.0, "LINEAR_EXACT")))
    expected = np.clip((LEVELS - 100) / 200 + 0.5, 0, 1) * 255
    assert np.abs(grey - expected).max() <= 0.5 + 1e-9
    assert grey[LEVELS == 0] == 0
    assert grey[LEVELS == 200] == 255


def test_a_sigmoid_window_is_the_logistic_function_of_four_widths() -> None:
    grey = shown(LEVELS, ONCE, Display(bits=12, window=Window(100.0, 200.0, "SIGMOID")))
    expected = 255 / (1 + np.exp(-4 * (LEVELS - 100) / 200))
    assert np.abs(grey - expected).max() <= 0.5 + 1e-9


def test_the_window_is_in_units_of_the_rescaled_values() -> None:
    display = Display(bits=12, slope=0.5, intercept=-1024.0, window=Window(0.0, 400.0))
    grey = shown(LEVELS, ONCE, display)
    expected = [by_the_standard(0.5 * x - 1024, 0, 400) for x in LEVELS]
    assert np.abs(grey - np.array(expected)).max() <= 0.5 + 1e-9


def test_a_look_up_table_goes_before_a_window_and_holds_at_its_ends() -> None:
    table = Lut(np.array([0, 1023, 512]), first=10, bits=10)
    grey = shown(
        np.array([5, 10, 11, 12, 99]), np.ones(5, np.int64), Display(bits=12, voi=table, window=Window(0.0, 1.0))
    )
    assert grey.tolist() == [0, 0, 255, 128, 128]  # 512/1023 of 255, rounded


def test_the_modality_table_comes_first() -> None:
    modality = Lut(np.array([100, 0, 50]), first=0, bits=8)
    voi = Lut(np.arange(101) * 2, first=0, bits=8)
    grey = shown(np.arange(3), np.ones(3, np.int64), Display(bits=8, modality=modality, voi=voi))
    assert grey.tolist() == [200, 0, 100]


@pytest.mark.parametrize(("bits", "signed"), [(8, False), (8, True), (1, False), (6, False)])
def test_without_a_window_shallow_values_are_shown_by_the_range_of_their_bits(bits: int, signed: bool) -> None:
    first = -(1 << (bits - 1)) if signed else 0
    levels = np.arange(first, first + (1 << bits), dtype=np.int64)[: max(2, (1 << bits) // 3)]
    grey = shown(levels, np.ones(len(levels), np.int64), Display(bits=bits, signed=signed))
    assert np.abs(grey - (levels - first) / ((1 << bits) - 1) * 255).max() <= 0.5 + 1e-9


def test_without_a_window_deep_values_are_shown_from_percentile_to_percentile() -> None:
    levels, counts = np.arange(4096), np.zeros(4096, np.int64)
    counts[300:1300] = 1000  # the part of the detector's range that this exposure used
    counts[4095] = 2000  # a lead marker
    counts[0] = 2000  # dead pixels
    grey = shown(levels, counts, Display(bits=12))
    pixels = np.repeat(levels, counts)
    low, high = np.percentile(pixels, [0.5, 99.5], method="inverted_cdf")
    assert np.abs(grey - np.clip((levels - low) / (high - low), 0, 1) * 255).max() <= 0.5 + 1e-9
    assert len(set(grey[300:1300])) > 240


def test_padding_does_not_set_the_contrast_of_a_deep_image() -> None:
    levels, counts = np.arange(-2000, 1000), np.ones(3000, np.int64)
    counts[0] = 10_000
    padded = shown(levels, counts, Display(bits=16, signed=True, padding=(-2000, -2000)))
    inside = np.percentile(levels[1:], [0.5, 99.5], method="inverted_cdf")
    expected = np.clip((levels - inside[0]) / (inside[1] - inside[0]), 0, 1) * 255
    assert np.abs(padded - expected).max() <= 0.5 + 256 / 2970  # rounded, and a rank more or less
    assert padded[0] == 0


def test_a_deep_image_of_two_levels_shows_both_and_one_of_a_single_level_is_black() -> None:
    assert shown(np.array([7, 9]), np.array([999_999, 1]), Display(bits=16)).tolist() == [0, 255]
    assert shown(np.array([7]), np.array([10]), Display(bits=16)).tolist() == [0]


@pytest.mark.parametrize(
    "display",
    [
        Display(bits=8),
        Display(bits=12),
        Display(bits=12, window=Window(1000.0, 900.0)),
        Display(bits=12, voi=Lut(np.arange(256), 0, 8)),
    ],
)
def test_monochrome1_is_the_negative_of_monochrome2(display: Display) -> None:
    levels, counts = np.arange(256), np.ones(256, np.int64)
    plain = shown(levels, counts, display).astype(int)
    inverted = shown(levels, counts, Display(**{**vars(display), "inverted": True})).astype(int)
    assert np.abs(plain + inverted - 255).max() <= 1  # both round halves up


def test_monochrome1_of_eight_bits_is_255_minus_the_value() -> None:
    grey = shown(np.arange(256), np.ones(256, np.int64), Display(bits=8, inverted=True))
    assert np.array_equal(grey, 255 - np.arange(256))
