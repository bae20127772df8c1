"""Warm-up of what an objective is governed by: k, or the weight of the penalty."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ramp:
    """Linear from ``start`` at step 0 to another value, reached after ``steps`` steps and kept.

    Attributes:
        start: Value at step 0.
        steps: Length; 0 is the final value from the first step.
    """

    start: float
    steps: int

    def at(self, step: int, end: float) -> float:
        """The value in force at a step, counted from 0."""
        return end if step >= self.steps else self.start + (end - self.start) * step / self.steps


AT_ONCE = Ramp(0.0, 0)
"""No warm-up."""
