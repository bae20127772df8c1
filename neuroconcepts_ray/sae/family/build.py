"""From the config to the member of the family that it names."""

from itertools import pairwise
from typing import assert_never

from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.family.auxk import AuxK
from neuroconcepts_ray.sae.family.batchtopk import BatchTopKObjective
from neuroconcepts_ray.sae.family.gated import GatedObjective
from neuroconcepts_ray.sae.family.jumprelu import L0_COEFFICIENT, JumpReLUObjective
from neuroconcepts_ray.sae.family.matryoshka import MatryoshkaObjective
from neuroconcepts_ray.sae.family.ramp import AT_ONCE, Ramp
from neuroconcepts_ray.sae.family.relu import ReLUObjective
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
    config.check_width(n)
    k, aux = config.k, AuxK(config.aux_k, config.aux_coefficient)
    of_k = AT_ONCE if config.k_start is None else Ramp(float(config.k_start), config.k_warmup)
    of_penalty = Ramp(0.0, config.penalty_warmup)
    match config.variant:
        case "topk":
            return TopKObjective(k, aux, of_k)
        case "batchtopk":
            return BatchTopKObjective(k, aux, warmup=of_k)
        case "matryoshka":
            return MatryoshkaObjective(k, aux, warmup=of_k, prefixes=prefixes(config.prefixes, n))
        case "jumprelu":
            penalty = L0_COEFFICIENT if config.penalty is None else config.penalty
            return JumpReLUObjective(k, penalty, config.bandwidth, of_k, of_penalty)
        case "gated":
            return GatedObjective(config.penalty, of_penalty)
        case "relu_l1":
            return ReLUObjective(config.penalty, of_penalty)
        case _:
            assert_never(config.variant)
