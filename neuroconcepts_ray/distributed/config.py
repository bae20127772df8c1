"""Resources and bounds: policy throughout, so nothing here is part of a recipe."""

import os
from typing import Annotated

from pydantic import Field

from neuroconcepts_ray.config import POLICY, StrictModel


class ComputeConfig(StrictModel):
    """How much machine to use, and how much to put up with."""

    cpus: Annotated[int, POLICY, Field(ge=0)] = 0
    """Logical CPUs of a local Ray cluster; 0 = the machine's, but at least 4, since Ray Data needs spare ones."""
    actors: Annotated[int, POLICY, Field(ge=1)] = 1
    """Actors that hold a model at the same time."""
    gpus: Annotated[float, POLICY, Field(ge=0)] = 0.0
    """GPUs of an actor or training worker; 0 = compute on the CPU."""
    retries: Annotated[int, POLICY, Field(ge=0)] = 2
    """How often a shard is tried again after its process died, and a read after an error or a time-out."""
    read_timeout_s: Annotated[float, POLICY, Field(gt=0)] = 120.0
    """Seconds after which a read of one file is given up; longer than a store that is starting again needs."""
    node_wait_s: Annotated[float, POLICY, Field(gt=0)] = 900.0
    """Seconds for which a pass waits for machines, once those that are left cannot hold an actor and a load task."""
    max_bad_fraction: Annotated[float, POLICY, Field(ge=0, le=1)] = 0.01
    """Largest share of images that may be quarantined before nothing is committed."""
    tolerant: Annotated[bool, POLICY] = False
    """Accept shards made under differing numeric profiles (CPU kinds, library versions)."""

    max_bytes: Annotated[int | None, POLICY, Field(ge=1)] = None
    """Most bytes of activations that one run of `mine` may write; null = no cap."""
    max_hours: Annotated[float | None, POLICY, Field(gt=0)] = None
    """Most hours that one run of `mine` may last; null = no cap. Both stop it after the shard that reaches them."""

    @property
    def device(self) -> str:
        """Torch's name of the device that models run on."""
        return "cuda" if self.gpus > 0 else "cpu"

    @property
    def resolved_cpus(self) -> int:
        """Logical CPUs of a local cluster with 0 resolved."""
        return self.cpus or max(4, (os.cpu_count() or 1) + 2)
