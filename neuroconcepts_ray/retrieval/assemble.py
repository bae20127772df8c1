"""From committed artifacts to explanations: opens what `explain` needs once, then answers image by image."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from neuroconcepts_ray.activations.tables import load_activations
from neuroconcepts_ray.catalog.tables import Catalog, load_catalog, load_reports
from neuroconcepts_ray.classifier.head import load_head
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.neurons.influence import Decomposition, decompose
from neuroconcepts_ray.neurons.tables import load_normalisation
from neuroconcepts_ray.retrieval.explain import Explanation, choose_label, explain
from neuroconcepts_ray.retrieval.query import TOP
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.sae.activation import TopK
from neuroconcepts_ray.sae.model import SAE, load_sae

HEAD_TAP = "pre_logits"
"""The tap that the head takes: only a space over it takes logits apart exactly."""


@dataclass(frozen=True)
class Explainer:
    """Everything that explanations in one space are made from.

    Attributes:
        space: The space.
        catalog: The archive's rows.
        reports: Report by study; empty where the archive has none.
        search: Search over the space's codes.
        sae: The dictionary; that of units has one direction per unit, a standard deviation long, and the means as bias.
        W: The head's weights.
        b: The head's biases.
        labels: The head's labels.
        task: The head's task.
        f: What the head takes, one row per image that was mined.
        logits: What the network said, in the same order.
        row: Row of ``f`` by image.
    """

    space: str
    catalog: Catalog
    reports: Mapping[str, str]
    search: SearchService
    sae: SAE
    W: Float[np.ndarray, "l d"]
    b: Float[np.ndarray, " l"]
    labels: list[str]
    task: str
    f: Float[np.ndarray, "m d"]
    logits: Float[np.ndarray, "m l"]
    row: Mapping[str, int]

    @classmethod
    def open(cls, lake: Lake, have: Mapping[str, Manifest], space: str) -> "Explainer":
        """Open the artifacts of one pipeline.

        Args:
            lake: The lake.
            have: The finished artifacts: catalog, classifier, activations, sae, codes, index and, if there, names.
            space: The code space.

        Raises:
            ConfigError: There is no index of this space, or the space is not over what the head takes.
            InputError: The artifacts do not belong together.
        """
        spaces = sorted(name.removeprefix("index.") for name in have if name.startswith("index."))
        if space not in spaces:
            raise ConfigError("no index of this space", value=space, limit=", ".join(spaces) or "none yet")
        facts = have[f"codes.{space}"].facts
        if facts["tap"] != HEAD_TAP:
            raise ConfigError(
                "a logit is taken apart exactly only in a space over what the head takes",
                value=facts["tap"],
                limit=HEAD_TAP,
                where=f"spaces.{space}",
            )
        ids, f = load_activations(lake, have[f"activations.{HEAD_TAP}"])
        logit_ids, logits = load_activations(lake, have["activations.logits"])
        if not np.array_equal(ids, logit_ids):
            raise InputError("vectors and logits are of different images", remedy="Run `mine` again")
        head = load_head(lake, have["classifier"])
        return cls(
            space=space,
            catalog=load_catalog(lake, have["catalog"]),
            reports=load_reports(lake, have["catalog"]),
            search=SearchService.open(lake, have[f"index.{space}"], have.get(f"names.{space}")),
            sae=load_sae(lake, have["sae"]) if facts["origin"] == "latents" else _of_units(lake, have, space),
            W=head.W,
            b=head.b,
            labels=head.labels,
            task=head.task,
            f=f,
            logits=logits,
            row={image_id: row for row, image_id in enumerate(ids.tolist())},
        )

    def decompose(self, image_id: str) -> Decomposition:
        """The logits of an image taken apart.

        Raises:
            InputError: Unknown image.
        """
        neurons, values = self.search.code(image_id)
        z = np.zeros(self.sae.n, dtype=np.float64)
        z[neurons] = values
        return decompose(self.f[self.row[image_id]], z, self.sae, self.W, self.b)

    def explain(self, image_id: str, *, label: str | None = None, top: int = TOP) -> Explanation:
        """One image explained.

        Args:
            image_id: The image.
            label: The label whose logit is taken apart; the one of the highest logit where None.
            top: Neighbours.

        Raises:
            InputError: Unknown image or label.
        """
        parts = self.decompose(image_id)
        logits = self.logits[self.row[image_id]]
        column = choose_label(label, self.labels, logits)
        at = int(np.flatnonzero(self.catalog.image_ids == image_id)[0])
        truth = np.array([self._truth(at, name) for name in self.labels])
        neurons, values = self.search.code(image_id)
        fired = dict(zip(neurons.tolist(), values.tolist(), strict=True))
        return explain(
            image_id=image_id,
            view=str(self.catalog.views[at]),
            role=str(self.catalog.roles[at]),
            group=str(self.catalog.groups[at]),
            task=self.task,
            labels=self.labels,
            logits=logits,
            truth=truth,
            label=column,
            space=self.space,
            neurons=parts.latents,
            activations=np.array([fired[j] for j in parts.latents.tolist()]),
            terms=parts.terms[:, column],
            bias_dec=float(parts.bias_dec[column]),
            residual=float(parts.residual[column]),
            b=float(parts.bias[column]),
            names=self.search.names,
            report=self.reports.get(str(self.catalog.studies[at])),
            neighbours=self.search.like(image_id, top=top),
        )

    def _truth(self, at: int, label: str) -> float:
        """The catalog's label; NaN where it is masked, or where a classifier brought along knows labels of its own."""
        labels = self.catalog.labels
        return float(self.catalog.y[at, labels.index(label)]) if label in labels else float("nan")


def _of_units(lake: Lake, have: Mapping[str, Manifest], space: str) -> SAE:
    """Units as a dictionary: f = Σ_j z_j·std_j·e_j + mean, with z the z-scores; what is not kept is the residual."""
    normalisation = load_normalisation(lake, have[f"codes.{space}"])
    std = torch.from_numpy(np.where(np.isfinite(normalisation.std), normalisation.std, 0).astype(np.float32))
    directions = torch.diag(std)
    mean = torch.from_numpy(np.array(normalisation.mean, dtype=np.float32))
    return SAE(directions, torch.zeros(len(std)), directions, mean, TopK(len(std)))
