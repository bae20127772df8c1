"""What a server can be told, and its fixed bounds."""

from typing import Annotated

from pydantic import Field

from neuroconcepts_ray.config import PATH, StrictModel

PREFIX = "/api/v1"

LOOPBACK = ("127.0.0.1", "localhost", "::1")

LARGEST_BODY = 8 << 20
"""Bytes of a question: 100,000 ids of 64 characters fit."""

LARGEST_UPLOAD = 64 << 20
"""Bytes of an uploaded image: an uncompressed 16-bit film of 4,000 × 5,000 fits."""

MOST_FOLDED = 1_000
"""Deepest rank of a page that is folded: each hit is compared with each other."""


class ServeArgs(StrictModel):
    """What ``neuroconcepts_ray.web.serve:build`` is given, by the command or by a Serve config file."""

    config: Annotated[str, PATH]
    """The pipeline's YAML file, as the head sees it."""
    overrides: list[str] = []
    """Fields of it that are overridden: section.field=value."""
    space: str = "latents"
    """The code space to ask."""
    new_only: bool = False
    """As for the other verbs: the archive has grown and was mined with frozen models."""
    shards: int = Field(2, ge=1, le=256)
    """Shards that the segments are dealt over."""
    replicas: int = Field(1, ge=1, le=64)
    """Replicas of each shard."""
    routers: int = Field(1, ge=1, le=64)
    """Replicas of the router."""
    cpus: float = Field(1.0, gt=0, le=8)
    """CPUs that Ray reserves for a replica; it computes on one thread whatever this says."""
    timeout_s: float = Field(2.0, gt=0, le=600)
    """How long a shard has to answer, a second try included, before an answer goes without it."""
    poll_s: float = Field(5.0, gt=0, le=3600)
    """How often is looked for a newer state of the index."""
    hosts: list[str] = list(LOOPBACK)
    """Names by which the server may be called (the Host header); ``*`` for any."""
