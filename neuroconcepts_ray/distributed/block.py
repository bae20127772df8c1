"""What travels from a load task to an actor."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Shaped

from neuroconcepts_ray.lake.manifest import Quarantined


@dataclass
class Block:
    """What a load task hands to a worker."""

    array: Shaped[np.ndarray, "n ..."]
    """The rows that loaded, in the shard's order."""
    kept: list[int]
    """The row number within the shard of each row of ``array``."""
    quarantined: list[Quarantined] = field(default_factory=list)
    """The images that will never load."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time spent by step."""
