"""From the config to the member of the family that it names."""

from itertools import pairwise

from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.family.auxk import AuxK
from neuroconcepts_ray.sae.family.batchtopk import BatchTopKObjective
from neuroconcepts_ray.sae.family.matryoshka import MatryoshkaObjective
from neuroconcepts_ray.sae.family.ramp import AT_ONCE, Ramp
from neuroconcepts_ray.sae.family.topk import TopKObjective
from neuroconcepts_ray.sae.objective import Objective


def prefixes(shares: list[float], n: int) -> tuple[int, ...]:
    """Numbers of latents that reconstruct alone, of their shares of n.

    Raises:
        ConfigError: Two shares come to the same number, or one to none.
    """
    counts = tuple(round(share * n) for share in shares)
    if counts[0] < 1 or any(a >= b for a, b in pairwise(counts)):
        raise ConfigError(
            "too few latents for these prefixes",
            value=", ".join(map(str, counts)),
            limit="rising numbers of latents ≥ 1",
            where="sae.prefixes",
            remedy="Give fewer or larger shares, or more latents",
        )
    return counts


def objective(config: SAEConfig, n: int) -> Objective:
    """The objective of a config over n latents.

    Raises:
        ConfigError: More latents may fire than there are, or prefixes that come to the same number of latents.
    """
    for name in ("k", "k_start"):
        value = getattr(config, name)
        if value is not None and value > n:
            raise ConfigError(f"{name} exceeds the number of latents", value=value, limit=f"≤ {n}", where=f"sae.{name}")
    aux = AuxK(config.aux_k, config.aux_coefficient)
    k_warmup = AT_ONCE if config.k_start is None else Ramp(float(config.k_start), config.k_warmup)
    if config.variant == "topk":
        return TopKObjective(config.k, aux, warmup=k_warmup)
    if config.variant == "batchtopk":
        return BatchTopKObjective(config.k, aux, warmup=k_warmup)
    return MatryoshkaObjective(config.k, prefixes(config.prefixes, n), aux, warmup=k_warmup)
