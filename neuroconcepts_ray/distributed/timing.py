"""Where the time of a pass over shards went, and which step to make faster."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from neuroconcepts_ray.distributed.progress import event

STEPS = ("read", "decode", "infer", "write")
"""What loaders do, then what actors do."""


@dataclass
class Summary:
    """Seconds by step, summed over processes.

    Attributes:
        images: Images of the shards that were done.
        wall_s: From the first call to the last report.
        seconds: By step; ``wait`` is what actors waited for blocks.
    """

    images: int = 0
    wall_s: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, images: int, seconds: Mapping[str, float]) -> None:
        """Take in the report of a shard."""
        self.images += images
        for step, spent in seconds.items():
            self.seconds[step] = self.seconds.get(step, 0.0) + spent

    @property
    def per_second(self) -> float:
        """Images a second."""
        return self.images / self.wall_s if self.wall_s else 0.0

    @property
    def bottleneck(self) -> str:
        """The dearest step of the side that the other waits for: actors that wait longer than they work want data.

        By the waiting that was measured; receipts do not have it, so :func:`activations.pace.bottleneck` compares what
        either side has to do.
        """
        spent = {step: self.seconds.get(step, 0.0) for step in STEPS}
        starved = self.seconds.get("wait", 0.0) > spent["infer"] + spent["write"]
        return max(("read", "decode") if starved else ("infer", "write"), key=spent.__getitem__)

    def tell(self, label: str) -> None:
        """One line at the end of a pass: an event, or on a terminal a sentence."""
        steps = {step: round(self.seconds.get(step, 0.0), 2) for step in (*STEPS, "wait")}
        rate, wall = round(self.per_second, 1), round(self.wall_s, 1)
        if sys.stderr.isatty():
            spent = ", ".join(f"{step} {seconds:g} s" for step, seconds in steps.items())
            sys.stderr.write(f"{label}: {self.images} images in {wall:g} s, {rate:g}/s ({spent}); ")
            sys.stderr.write(f"bottleneck: {self.bottleneck}\n")
            return
        said: dict[str, object] = {f"{step}_s": seconds for step, seconds in steps.items()}
        said |= {"images": self.images, "seconds": wall, "per_second": rate, "bottleneck": self.bottleneck}
        event("summary", stage=label, **said)
