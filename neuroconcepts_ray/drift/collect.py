"""From committed artifacts to the films that can be compared: unseen by the classifier, whole patients on one side."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import sparse

from neuroconcepts_ray.activations.tables import load_activations
from neuroconcepts_ray.catalog.tables import Catalog, load_catalog, positions
from neuroconcepts_ray.drift.measure import Films
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.neurons.tables import load_codes
from neuroconcepts_ray.sae.metrics import BATCH
from neuroconcepts_ray.sae.model import SAE, load_sae

SEEN = "fit"
"""The role that the classifier was trained on: its logits there are no measure of what it says of other films."""

HIDDEN = "test"
"""The role that is opened by the report alone."""

MOST = 20_000
"""Most old films that are compared; whole patients are drawn."""


def fitted_partitions(lake: Lake, have: Mapping[str, Manifest]) -> int:
    """How many partitions of a catalog there were when the SAE was fitted.

    Raises:
        InputError: Nothing came since.
    """
    fitted = have["sae"].inputs["catalog"]
    catalog = next((one for one in lake.siblings(have["catalog"]) if one.content == fitted), None)
    if catalog is None:
        raise InputError("the catalog that the SAE was fitted on is gone", remedy="Run `fit` again")
    before, now = len(catalog.facts["partitions"]), len(have["catalog"].facts["partitions"])
    if now <= before:
        raise InputError(
            "there are no films beyond those that the models were fitted on",
            value=f"{now} partitions",
            remedy="`neuroconcepts run --new-only` takes new films in; drift then compares them",
        )
    return before


def sides(
    catalog: Catalog, fitted: int, newest: int | None, seed: int = 0
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"], int]:
    """Which images are old and which are new.

    Args:
        catalog: The catalog as it is now.
        fitted: Partitions that there were when the models were fitted.
        newest: How many of the newest partitions are new; None for all since.
        seed: Of the draw of old patients, where there are too many.

    Returns:
        Old, new, and how many new images are left out because the classifier was trained on their patients.
    """
    start = max(fitted, len(catalog.partitions) - newest) if newest is not None else fitted
    young = np.zeros(len(catalog), dtype=bool)
    young[catalog.partitions[start].start :] = True
    old = np.zeros(len(catalog), dtype=bool)
    old[: catalog.partitions[fitted - 1].stop] = True
    alive = np.isin(catalog.roles, ["fit", "probe", "select", "verify", "test"])
    trained = set(catalog.groups[old & (catalog.roles == SEEN)].tolist())
    known = np.array([group in trained for group in catalog.groups.tolist()], dtype=bool)
    new = young & alive & ~known
    # A patient who came again stands on the new side alone, so that the sides are of different patients.
    mine = np.isin(catalog.groups, np.unique(catalog.groups[new]))
    reference = old & alive & ~np.isin(catalog.roles, [SEEN, HIDDEN]) & ~mine
    if reference.sum() > MOST:
        names = np.random.default_rng(seed).permutation(np.unique(catalog.groups[reference]))
        share = names[: max(1, int(len(names) * MOST / reference.sum()))]
        reference &= np.isin(catalog.groups, share)
    return reference, new, int((young & alive & known).sum())


@torch.inference_mode()
def residuals(sae: SAE, x: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " m"]:
    """‖x − x̂‖² of each film."""
    found = []
    for start in range(0, len(x), BATCH):
        block = torch.from_numpy(x[start : start + BATCH]).to(sae.b_dec)
        found.append((block - sae.decode(sae.encode_dense(block))).double().square().sum(dim=1).cpu().numpy())
    return np.concatenate(found) if found else np.zeros(0)


def collect(
    lake: Lake, have: Mapping[str, Manifest], space: str, newest: int | None
) -> tuple[Films, dict[str, int | list[str]]]:
    """What is compared, and what was left out.

    Args:
        lake: The lake.
        have: catalog, sae, activations and the space's codes.
        space: The space whose neurons are compared.
        newest: See :func:`sides`.

    Raises:
        InputError: Nothing came since the fit, or nothing of it can be compared.
    """
    catalog = load_catalog(lake, have["catalog"])
    fitted = fitted_partitions(lake, have)
    old, new, known = sides(catalog, fitted, newest)
    codes = load_codes(lake, have[f"codes.{space}"])
    ids, logits = load_activations(lake, have["activations.logits"])
    vector_ids, x = load_activations(lake, have[f"activations.{have['sae'].facts['tap']}"])
    if not (np.array_equal(ids, codes.image_ids) and np.array_equal(ids, vector_ids)):
        raise InputError("codes and activations are of different images", remedy="Run `encode` again")
    at = positions(ids, catalog.image_ids)
    rows = np.flatnonzero((old | new)[at])
    young = new[at][rows]
    if not young.any() or young.all():
        raise InputError(
            "no film of a patient whom the classifier has not seen can be compared",
            value=f"{int(young.sum())} new, {int((~young).sum())} of the fitted catalog",
            remedy="Drift needs new patients, and patients of roles probe, select or verify in the fitted catalog",
        )
    residual = residuals(load_sae(lake, have["sae"]), x[rows])
    roles = catalog.roles[at][rows]
    residual[~young & ~np.isin(roles, ["select", "verify"])] = np.nan  # the SAE was fitted on fit and probe
    films = Films(
        groups=catalog.groups[at][rows],
        new=young,
        codes=sparse.csr_array(codes.matrix[rows]),
        logits=logits[rows].astype(np.float64),
        residual=residual,
        spread=_spread(x[rows], young, np.isnan(residual)),
    )
    labels = [str(label) for label in have["classifier"].facts["labels"]]
    return films, {"of_trained_patients": known, "labels": labels, "partitions": len(catalog.partitions) - fitted}


def _spread(
    x: Float[np.ndarray, "m d"], new: Bool[np.ndarray, " m"], out: Bool[np.ndarray, " m"]
) -> Float[np.ndarray, " m"]:
    spread = np.full(len(x), np.nan)
    for side in (new & ~out, ~new & ~out):
        if side.any():
            centred = x[side].astype(np.float64) - x[side].mean(axis=0, dtype=np.float64)
            spread[side] = np.square(centred).sum(axis=1)
    return spread
