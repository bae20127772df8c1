"""Maps are exact where the tap is a mean over positions, by occlusion where not, and point at what was planted."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neuroconcepts_ray.classifier.card import Card
from neuroconcepts_ray.classifier.config import ClassifierConfig
from neuroconcepts_ray.classifier.model import Classifier, build
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.retrieval import maps
from neuroconcepts_ray.retrieval.deletion import brightest, deletion
from neuroconcepts_ray.retrieval.maps import Mapper, Readout
from tests.classifier.published import LABELS, SMALL

CNN = {"backbone": "resnet18", "backbone_kwargs": {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}}
VIT = {
    "backbone": "vit_tiny_patch16_224",
    "backbone_kwargs": {"depth": 2, "embed_dim": 24, "num_heads": 2, "patch_size": 8},
}


def classifier(**raw: object) -> Classifier:
    return build(validate(ClassifierConfig, {"pixels": {"size": 64}, **raw}), ["a", "b"], "multilabel").eval()


def mapper(model: Classifier, tap: str, width: int, **more: str) -> Mapper:
    rng = np.random.default_rng(0)
    readout = Readout(rng.standard_normal((5, width)), rng.standard_normal(5))
    settings = {"reduction": "mean", "tokens": "mean", **more}
    return Mapper(model, tap, settings["reduction"], settings["tokens"], readout)


@pytest.fixture
def film() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (1, 64, 64), dtype=np.uint8)


@pytest.mark.parametrize(("tap", "side"), [("pre_logits", 2), ("layer3", 4)])
def test_the_mean_of_a_map_is_the_pooled_pre_activation(film: np.ndarray, tap: str, side: int) -> None:
    one = mapper(classifier(**CNN), tap, 16)
    found, how = one.maps(film, [0, 3])
    assert (how, found.shape) == ("positions", (2, side, side))
    np.testing.assert_allclose(found.mean(axis=(1, 2)), one.activations(film[None], [0, 3])[0], atol=1e-5)


@pytest.mark.parametrize("tap", ["pre_logits", "features.denseblock4"])
def test_a_network_that_pools_in_its_own_code_has_maps_too(film: np.ndarray, tap: str) -> None:
    name, kwargs = SMALL
    raw = {"factory": name, "backbone_kwargs": kwargs, "labels": LABELS, "task": "multilabel", "pixels": {"size": 64}}
    model = Classifier(validate(Card, {**raw, "mean": [0.5], "std": [0.25], "d": 0})).eval()
    one = mapper(model, tap, model.d)
    found, how = one.maps(film, [0, 3])
    assert (how, found.shape) == ("positions", (2, 2, 2))
    np.testing.assert_allclose(found.mean(axis=(1, 2)), one.activations(film[None], [0, 3])[0], atol=1e-5)


def test_patch_tokens_that_are_averaged_make_a_map_and_a_class_token_does_not(film: np.ndarray) -> None:
    model = classifier(**VIT)
    tokens = mapper(model, "blocks.1", 24)
    found, how = tokens.maps(film, [2])
    assert (how, found.shape) == ("positions", (1, 8, 8))
    np.testing.assert_allclose(found.mean(axis=(1, 2)), tokens.activations(film[None], [2])[0], atol=1e-5)
    assert mapper(model, "blocks.1", 24, tokens="class").maps(film, [2])[1] == "occlusion"
    assert mapper(model, "pre_logits", 24).maps(film, [2])[1] == "occlusion"


def test_a_maximum_over_positions_is_mapped_by_occlusion(film: np.ndarray) -> None:
    found, how = mapper(classifier(**CNN), "layer3", 16, reduction="max").maps(film, [0])
    assert how == "occlusion"
    assert found.shape == (1, maps.WINDOWS, maps.WINDOWS)


class Bright(Mapper):
    """A neuron that fires for what is bright; its positions are the pixels in blocks of eight."""

    def grid(self, pixels: np.ndarray) -> np.ndarray:
        return pixels[0].reshape(8, 8, 8, 8).mean(axis=(1, 3))[..., None].astype(np.float32)

    def activations(self, pixels: np.ndarray, neurons: object, batch: int = 32) -> np.ndarray:  # noqa: ARG002
        return pixels.mean(axis=(1, 2, 3))[:, None].astype(np.float64)


def test_a_planted_spot_is_found_by_both_kinds_of_maps_and_its_map_beats_random_places() -> None:
    film = np.full((1, 64, 64), 10, np.uint8)
    film[:, 40:56, 8:24] = 200
    one = Bright(classifier(**CNN), "layer3", "mean", "mean", Readout(np.ones((1, 1)), np.zeros(1)))
    by_positions, how = one.maps(film, [0])
    assert how == "positions"
    by_occlusion = maps.occlusion(film, lambda images: one.activations(images, [0]), windows=8)
    spot = np.zeros((64, 64), bool)
    spot[40:56, 8:24] = True
    for values in (by_positions[0], by_occlusion[0]):
        assert np.unravel_index(values.argmax(), values.shape) in [(5, 1), (5, 2), (6, 1), (6, 2)]
        mask = brightest(values, 64, spot.mean())
        assert mask.sum() == spot.sum()
        assert (mask & spot).sum() >= 0.7 * spot.sum()
    mine, others = deletion(one, film, [0], elsewhere=20)
    assert mine[0] > others.max()


def test_only_what_is_a_grid_of_the_right_width_has_positions() -> None:
    assert maps.positions(torch.zeros(1, 6, 3, 3), 6, 0).shape == (3, 3, 6)  # type: ignore[union-attr]
    assert maps.positions(torch.zeros(1, 3, 3, 6), 6, 0).shape == (3, 3, 6)  # type: ignore[union-attr]
    assert maps.positions(torch.zeros(1, 17, 6), 6, 1).shape == (4, 4, 6)  # type: ignore[union-attr]
    assert maps.positions(torch.zeros(1, 16, 6), 6, 1) is None
    assert maps.positions(torch.zeros(1, 6), 6, 0) is None
    assert maps.positions("nothing", 6, 0) is None


def test_a_readout_of_some_neurons_is_that_part_of_the_whole() -> None:
    one = mapper(classifier(**CNN), "pre_logits", 16).readout
    x = np.random.default_rng(2).standard_normal((7, 16)).astype(np.float32)
    np.testing.assert_allclose(one.rows([4, 1])(x), one(x)[:, [4, 1]])
    assert replace(one, c=one.c + 1)(x) == pytest.approx(one(x) + 1)
