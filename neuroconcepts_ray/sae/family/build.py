"""From the config to the member of the family that it names."""

from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.family.auxk import AuxK
from neuroconcepts_ray.sae.family.topk import TopKObjective
from neuroconcepts_ray.sae.objective import Objective


def objective(config: SAEConfig, n: int) -> Objective:  # noqa: ARG001
    """The objective of a config over n latents."""
    return TopKObjective(config.k, AuxK(config.aux_k, config.aux_coefficient))
