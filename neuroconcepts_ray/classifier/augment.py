"""Random changes of a batch of films, by a generator that is derived from (seed, epoch, step, rank)."""

import hashlib
import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neuroconcepts_ray.classifier.config import AugmentConfig


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed from numbers and words, the same on every machine."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded by :func:`derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(*parts))


def augment(x: Float[Tensor, "b c h w"], config: AugmentConfig, source: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Rotate, scale, shift, mirror, then change contrast and brightness, each film by its own draw.

    Args:
        x: Pixels in 0…1.
        config: How much.
        source: Drawn from in a fixed order, whatever is switched on.

    Returns:
        Pixels in 0…1; what was outside the film is black.
    """
    count = len(x)
    draws = (torch.rand(7, count, generator=source) * 2 - 1).to(x.device)
    if config.flip or config.shift or config.rotate or config.scale:
        angle = draws[0] * (config.rotate * math.pi / 180)
        zoom = 1 + draws[1] * config.scale
        mirror = torch.where(draws[6] < 0, -1.0, 1.0) if config.flip else torch.ones_like(zoom)
        theta = torch.zeros(count, 2, 3, device=x.device)
        theta[:, 0, 0] = torch.cos(angle) * zoom * mirror
        theta[:, 0, 1] = -torch.sin(angle) * zoom
        theta[:, 1, 0] = torch.sin(angle) * zoom * mirror
        theta[:, 1, 1] = torch.cos(angle) * zoom
        # The grid spans −1…1, so a share of the side is twice that on it.
        theta[:, :, 2] = 2 * config.shift * draws[2:4].T
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        x = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    gain = 1 + draws[4].view(-1, 1, 1, 1) * config.contrast
    lift = draws[5].view(-1, 1, 1, 1) * config.brightness
    middle = x.mean(dim=(1, 2, 3), keepdim=True)
    return ((x - middle) * gain + middle + lift).clamp(0, 1)
