"""An SAE brought along becomes the artifact ``sae``: measured and committed like one that was fitted here."""

from collections.abc import Callable
from typing import Any

from neuroconcepts_ray.distributed.profile import numeric_profile
from neuroconcepts_ray.errors import DigestError, EnvironmentFault
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, canonical_json, sha256
from neuroconcepts_ray.sae.brought import DESCRIPTION, WEIGHTS, WHERE, open_brought
from neuroconcepts_ray.sae.checkpoint import read_config
from neuroconcepts_ray.sae.config import CHOICE_ROLE
from neuroconcepts_ray.sae.measure import PART as METRICS
from neuroconcepts_ray.sae.model import SAE, read_sae

Figures = tuple[dict[str, Any], dict[str, Any]]
"""Facts of the artifact, and the content of its file of metrics."""


def bring(path: str, planned: Plan, lake: Lake, measured: Callable[[SAE], Figures]) -> Manifest:
    """Commit the SAE of a folder.

    Args:
        path: The folder, as ``sae.weights`` names it.
        planned: The plan of the artifact, which holds the folder's digests.
        lake: The lake.
        measured: Its figures on images that nothing here is fitted on, as facts and as a file.

    Raises:
        ConfigError: The folder is gone.
        InputError: It holds no sound SAE.
        DigestError: It was altered since it was planned.
        EnvironmentFault: It cannot be read.
    """
    folder = open_brought(path).folder
    try:
        files = {name: (folder / name).read_bytes() for name in (WEIGHTS, DESCRIPTION)}
    except OSError as error:
        raise EnvironmentFault(f"the SAE cannot be read: {error.strerror}", value=folder, where=WHERE) from error
    found = {"weights": sha256(files[WEIGHTS]), "description": sha256(files[DESCRIPTION])}
    if found != planned.recipe.models:
        raise DigestError("the SAE was altered while it was brought along", where=WHERE, remedy="Run `fit` again")
    sae, about = read_sae(files[WEIGHTS], files[DESCRIPTION]), read_config(files[DESCRIPTION], DESCRIPTION)
    figures, everything = measured(sae)
    files[METRICS] = canonical_json(everything)
    parts = [lake.put_part(planned, name, data) for name, data in files.items()]
    facts = {"variant": str(about.get("variant", "topk")), "tap": about["tap"], "n": sae.n, "d": sae.d, "k": sae.k}
    facts[CHOICE_ROLE] = figures
    return lake.commit_manifest(planned, "sae", parts, facts=facts, profile=numeric_profile(device="cpu"))
