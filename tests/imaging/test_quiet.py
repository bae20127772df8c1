"""Decoders are hushed inside a block and in its thread, and nothing of the process is changed."""

import logging
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pytest

from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.load import load_pixels
from neuroconcepts_ray.imaging.quiet import quiet

from .dicoms import film
from .test_scaled import jpeg


def test_another_thread_may_speak_while_one_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("pydicom.of_another")
    with quiet():
        logger.warning("mine")
        thread = threading.Thread(target=logger.warning, args=("theirs",))
        thread.start()
        thread.join()
    logger.warning("mine, later")
    assert [record.message for record in caplog.records] == ["theirs", "mine, later"]


def test_warnings_are_as_they_were_afterwards_also_after_an_error() -> None:
    before = list(warnings.filters)
    with pytest.raises(KeyError), quiet(), quiet():
        warnings.warn("unheard", stacklevel=1)
        raise KeyError
    assert warnings.filters == before


def test_settings_of_pydicom_are_left_alone() -> None:
    def settings() -> dict[str, object]:
        return {name: value for name, value in vars(pydicom.config).items() if isinstance(value, bool | str | int)}

    before, mode = settings(), pydicom.config.settings.reading_validation_mode
    load_pixels(film(np.eye(8, dtype=np.uint8)), PixelConfig(size=8))
    assert (settings(), pydicom.config.settings.reading_validation_mode) == (before, mode)


def test_threads_decode_at_once_what_one_decodes_alone() -> None:
    rng = np.random.default_rng(4)
    padded = film(rng.integers(0, 4096, (40, 40)).astype(np.uint16)) + bytes(64)  # pydicom complains of its tail
    files = [padded, jpeg(rng.integers(0, 256, (90, 80)).astype(np.uint8)), b"P5 3 3 9 " + bytes(9)] * 30
    config = PixelConfig(size=16)
    alone = [load_pixels(data, config) for data in files]
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: load_pixels(data, config), files))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
    assert warnings.filters == before
