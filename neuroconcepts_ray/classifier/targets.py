"""What the classifier shall say: its outputs, and the catalog's labels in their order."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from neuroconcepts_ray.catalog.tables import Catalog
from neuroconcepts_ray.classifier.backbones import near
from neuroconcepts_ray.classifier.config import ClassifierConfig
from neuroconcepts_ray.errors import ConfigError


def outputs(config: ClassifierConfig, catalog: Catalog) -> list[str]:
    """The classifier's labels in order.

    Raises:
        ConfigError: A label that cannot be learnt because the catalog has none of that name, or a class left out; no
            labels at all.
    """
    if not catalog.labels and config.weights is None:
        raise ConfigError(
            "the catalog has no labels, so nothing can be trained on it",
            where="classifier.labels",
            remedy="Bring weights by classifier.weights, or labels by the catalog (r2gen: catalog.labels_file)",
        )
    labels = config.labels or catalog.labels
    if not labels:
        raise ConfigError(
            "the outputs of these weights have no names",
            where="classifier.labels",
            remedy="Name them in the head's order, since the catalog has no labels",
        )
    missing = [label for label in labels if label not in catalog.labels]
    if missing and config.weights is None:
        raise ConfigError(
            "the catalog has no such label",
            value=missing[0],
            where="classifier.labels",
            remedy=near(missing[0], catalog.labels),
        )
    if catalog.task == "multiclass" and config.weights is None and set(labels) != set(catalog.labels):
        raise ConfigError(
            "classes that exclude each other cannot be left out",
            value=labels,
            limit=catalog.labels,
            where="classifier.labels",
        )
    return list(labels)


def truth(catalog: Catalog, labels: Sequence[str]) -> Float[np.ndarray, "n l"]:
    """The catalog's labels in the classifier's order; NaN for outputs that the catalog does not know."""
    y = np.full((len(catalog.y), len(labels)), np.nan, dtype=np.float32)
    for column, label in enumerate(labels):
        if label in catalog.labels:
            y[:, column] = catalog.y[:, catalog.labels.index(label)]
    return y
