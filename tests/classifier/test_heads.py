import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from neuroconcepts_ray.classifier.evaluate import evaluate, macro_auroc
from neuroconcepts_ray.classifier.heads import loss_sum, probabilities, terms
from neuroconcepts_ray.stats import auroc

NAN = math.nan


def test_masked_labels_add_nothing_to_the_loss_nor_to_its_gradient() -> None:
    logits = torch.tensor([[0.3, -2.0], [1.5, 4.0]], requires_grad=True)
    y = torch.tensor([[1.0, NAN], [0.0, 1.0]])
    loss = loss_sum(logits, y, "multilabel")
    torch.autograd.backward(loss)
    expected = -math.log(1 / (1 + math.exp(-0.3))) - math.log(1 - 1 / (1 + math.exp(-1.5)))
    expected += -math.log(1 / (1 + math.exp(-4.0)))
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert float(terms(y, "multilabel")) == 3
    assert logits.grad is not None
    assert float(logits.grad[0, 1]) == 0.0


def test_a_batch_without_any_label_has_loss_zero() -> None:
    y = torch.full((2, 3), NAN)
    for task in ("multilabel", "multiclass"):
        assert float(loss_sum(torch.randn(2, 3), y, task)) == 0.0
        assert float(terms(y, task)) == 0.0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_multiclass_loss_is_torchs_cross_entropy_over_the_rows_that_are_not_masked(smoothing: float) -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    y = torch.eye(3)[[0, 2, 1, 1]]
    y[3] = NAN
    expected = F.cross_entropy(logits[:3], torch.tensor([0, 2, 1]), reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(loss_sum(logits, y, "multiclass", smoothing), expected)


def test_probabilities_are_sigmoids_or_a_softmax() -> None:
    logits = torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(probabilities(logits, "multilabel"), torch.sigmoid(logits))
    assert float(probabilities(logits, "multiclass").sum()) == pytest.approx(1)


def test_each_label_is_scored_over_its_unmasked_films_and_rare_ones_are_not_evaluable() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((200, 3)) < [0.5, 0.3, 0.05]).astype(np.float32)
    logits = (rng.normal(size=y.shape) + y).astype(np.float32)
    y[:50, 0] = np.nan
    groups = np.repeat(np.arange(100), 2)
    found = evaluate(logits, y, groups, ["a", "b", "rare"], "multilabel")
    a = found["labels"]["a"]
    assert a["auroc"] == pytest.approx(auroc(logits[50:, 0].astype(float), y[50:, 0] == 1))
    assert a["n"] == 150
    assert a["low"] < a["auroc"] < a["high"]
    assert found["labels"]["rare"]["auroc"] is None
    assert "not evaluable" in found["labels"]["rare"]["why"]
    assert found["macro"]["labels"] == 2
    assert found["macro"]["auroc"] == pytest.approx((a["auroc"] + found["labels"]["b"]["auroc"]) / 2)
    assert found["macro"]["auroc"] == macro_auroc(logits, y, "multilabel")
    assert (found["images"], found["groups"]) == (200, 100)


def test_nothing_evaluable_is_null_not_an_error() -> None:
    found = evaluate(np.zeros((0, 1), np.float32), np.zeros((0, 1), np.float32), np.zeros(0), ["a"], "binary")
    assert found["macro"] == {"auroc": None, "low": None, "high": None, "labels": 0}


def test_classes_that_exclude_each_other_are_ranked_by_probability_not_by_logit() -> None:
    rng = np.random.default_rng(1)
    y = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 120)]
    logits = (rng.normal(size=y.shape) + 2 * y).astype(np.float32)
    shifted = logits + 10 * rng.normal(size=(120, 1)).astype(np.float32)
    assert macro_auroc(shifted, y, "multiclass") == pytest.approx(macro_auroc(logits, y, "multiclass"), abs=1e-3)
