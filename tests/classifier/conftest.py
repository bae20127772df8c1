"""Small classifiers and films for the tests of this room."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from neuroconcepts_ray.classifier.config import ClassifierConfig
from neuroconcepts_ray.classifier.train import Films
from neuroconcepts_ray.config import validate

TINY = {"backbone": "resnet18", "backbone_kwargs": {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}}


@pytest.fixture
def configured() -> Callable[..., ClassifierConfig]:
    """A tiny classifier's config, with changes."""

    def make(**changes: Any) -> ClassifierConfig:
        raw = {**TINY, "pixels": {"size": 32}, "epochs": 4, "batch_size": 16, "threads": 1, "lr": 0.01, **changes}
        return validate(ClassifierConfig, raw)

    return make


@pytest.fixture
def films() -> Films:
    """Noise with a bright left half (label 0) or a bright top half (label 1), some labels masked."""
    rng = np.random.default_rng(0)

    def make(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = (rng.random((n, 2)) < 0.5).astype(np.float32)
        x = rng.integers(0, 120, (n, 1, 32, 32))
        x[:, :, :, :16] += (60 * y[:, 0]).astype(int)[:, None, None, None]
        x[:, :, :16] += (60 * y[:, 1]).astype(int)[:, None, None, None]
        y[rng.random((n, 2)) < 0.1] = np.nan
        return x.astype(np.uint8), y

    fit_x, fit_y = make(96)
    select_x, select_y = make(80)
    return Films(fit_x, fit_y, len(fit_x), select_x, np.arange(len(select_x)), select_y)
