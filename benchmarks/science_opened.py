"""A finished chain as arrays: activations, logits, labels, roles, and each way to make neurons of activations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Shaped

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.activations.tables import load_activations
from neuroconcepts_ray.catalog.sources import read_source
from neuroconcepts_ray.catalog.tables import Catalog, load_catalog, load_sources, positions
from neuroconcepts_ray.classifier.head import Head, load_head
from neuroconcepts_ray.imaging.decode import decode
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.naming.tables import load_names
from neuroconcepts_ray.neurons.encode import encode_latents
from neuroconcepts_ray.neurons.influence import latent_influence
from neuroconcepts_ray.phantom.scoring.controls import principal_weights, random_weights, thumbnails, trains
from neuroconcepts_ray.phantom.scoring.names import GivenName
from neuroconcepts_ray.phantom.scoring.recovery import Candidates
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.sae.model import load_sae

METHODS = ("latents", "units", "PCA", "random")


@dataclass(frozen=True)
class Method:
    """One way to make neurons of activations.

    Args:
        encode: Activations [n, d] → scores [n, m].
        signed: Whether a neuron has no sign of its own.
        influence: By how much each logit rises when a neuron fires by one more, [l, m]; None where logits do not come
            apart over these neurons.
    """

    encode: Callable[[Float[np.ndarray, "n d"]], Float[np.ndarray, "n m"]]
    signed: bool = False
    influence: Float[np.ndarray, "l m"] | None = None


@dataclass(frozen=True)
class Opened:
    """A finished chain.

    Args:
        lake: Its lake.
        have: Its artifacts.
        root: The archive's root.
        ids: The films, in the order of all that follows.
        x: What the head takes.
        logits: What the network said.
        y: The archive's labels: 1, 0, NaN masked; a column for each of the head's.
        roles: Role of each film.
        groups: Patient of each film.
        frontal: Which are not lateral.
        head: The network's head.
        methods: Name → how neurons are made of ``x``.
    """

    lake: Lake
    have: Mapping[str, Manifest]
    root: str
    ids: Shaped[np.ndarray, " n"]
    x: Float[np.ndarray, "n d"]
    logits: Float[np.ndarray, "n l"]
    y: Float[np.ndarray, "n l"]
    roles: Shaped[np.ndarray, " n"]
    groups: Shaped[np.ndarray, " n"]
    frontal: Bool[np.ndarray, " n"]
    head: Head
    methods: Mapping[str, Method]

    @property
    def test(self) -> Bool[np.ndarray, " n"]:
        """The films of role test."""
        return self.roles == "test"

    @property
    def candidates(self) -> dict[str, Candidates]:
        """The neurons of each method over all films."""
        return {name: Candidates(one.encode(self.x), one.signed) for name, one in self.methods.items()}

    def pixels(self) -> Float[np.ndarray, "n p"]:
        """The films, shrunk to 32×32."""
        return read_pixels(self.lake, self.have["catalog"], self.root, self.ids)

    def names(self, space: str) -> list[GivenName]:
        """The names that held in a space."""
        found = load_names(self.lake, self.have[f"names.{space}"])
        return [GivenName(one.neuron, one.name, one.polarity) for one in found.values()]


def labels_of(catalog: Catalog, ids: Shaped[np.ndarray, " n"], labels: Sequence[str]) -> Float[np.ndarray, "n l"]:
    """The archive's labels of some films, in the order of the head's outputs."""
    rows, columns = positions(ids, catalog.image_ids), [catalog.labels.index(label) for label in labels]
    return catalog.y[rows][:, columns].astype(np.float64)


def read_films(lake: Lake, catalog: Manifest, root: str, ids: Sequence[str]) -> list[bytes]:
    """The bytes of some films of a catalog."""
    sources = load_sources(lake, catalog)
    return [read_source(root, sources[image_id]) for image_id in ids]


def read_pixels(lake: Lake, catalog: Manifest, root: str, ids: Shaped[np.ndarray, " n"]) -> Float[np.ndarray, "n p"]:
    """Some films of a catalog, shrunk to 32×32."""
    return thumbnails([decode(data) for data in read_films(lake, catalog, root, ids.tolist())])


def methods_of(
    lake: Lake, have: Mapping[str, Manifest], head: Head, fitted: Float[np.ndarray, "m d"]
) -> dict[str, Method]:
    """Latents, units and the two controls.

    Args:
        lake: The lake.
        have: The finished artifacts.
        head: The network's head.
        fitted: Activations of the roles fit and probe.
    """
    sae, centre = load_sae(lake, have["sae"]), fitted.mean(axis=0, dtype=np.float64)
    principal, random = principal_weights(fitted), random_weights(fitted.shape[1], sae.n)
    return {
        "latents": Method(
            lambda x: encode_latents(sae, x, 512).toarray(), influence=latent_influence(head.W, sae.W_dec.numpy())
        ),
        "units": Method(lambda x: x, influence=head.W.astype(np.float64)),
        "PCA": Method(lambda x: (x - centre) @ principal, signed=True, influence=head.W @ principal),
        "random": Method(lambda x: (x - centre) @ random),
    }


def opened(file: Path) -> Opened:
    """Open the finished chain of a pipeline file.

    Raises:
        InputError: It is not finished.
    """
    line = Pipeline(pipeline.load(file, []))
    have = line.artifacts("index.latents")
    catalog, head = load_catalog(line.lake, have["catalog"]), load_head(line.lake, have["classifier"])
    ids, x = load_activations(line.lake, have["activations.pre_logits"])
    _, logits = load_activations(line.lake, have["activations.logits"])
    rows = positions(ids, catalog.image_ids)
    roles = catalog.roles[rows]
    return Opened(
        line.lake, have, line.config.catalog.root, ids, x, logits, labels_of(catalog, ids, head.labels), roles,
        catalog.groups[rows], catalog.views[rows] != "LATERAL", head,
        methods_of(line.lake, have, head, x[trains(roles)]),
    )  # fmt: skip
