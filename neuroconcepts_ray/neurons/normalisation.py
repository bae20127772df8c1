"""What makes units comparable with each other."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from neuroconcepts_ray.errors import InputError


@dataclass(frozen=True)
class Normalisation:
    """What makes units comparable with each other: z = (a − mean) / std.

    Attributes:
        mean: Mean activation of each unit.
        std: Standard deviation of each unit; 1 for a unit that does not vary, whose z is then 0.
    """

    mean: Float[np.ndarray, " d"]
    std: Float[np.ndarray, " d"]

    @classmethod
    def of(cls, x: Float[np.ndarray, "m d"]) -> "Normalisation":
        """Mean and standard deviation over images, computed in float64.

        Raises:
            InputError: No image.
        """
        if not len(x):
            raise InputError("no image of role fit or probe in the first partition", remedy="Make it larger")
        std = x.std(axis=0, dtype=np.float64).astype(np.float32)
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        return cls(mean, np.where(std > np.abs(mean) * 1e-6, std, np.float32(np.inf)))
