"""What the replicas of a served index are given, made from a pipeline."""

from dataclasses import dataclass
from pathlib import Path

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.store import open_store
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.retrieval import changes
from neuroconcepts_ray.retrieval.search import check_names
from neuroconcepts_ray.web.config import ServeArgs
from neuroconcepts_ray.web.follow import Followed


@dataclass(frozen=True)
class Spec:
    """What replicas are given; nothing of the archive, and not where protected health information lives.

    Attributes:
        lake: Where the lake is.
        base: The index.
        names: Names of its neurons.
        began: Version of the ref when serving began.
        cache: Folder on each machine for fetched segments.
        args: The rest.
    """

    lake: str
    base: Manifest
    names: Manifest | None
    began: int
    cache: str
    args: ServeArgs

    def follow(self) -> Followed:
        """The index, followed from this process."""
        store = open_store(self.lake)
        return Followed(Lake(store, store), self.base, self.began, self.names)


def specify(args: ServeArgs) -> Spec:
    """What replicas are given, from the pipeline that the arguments name.

    Raises:
        ConfigError: The pipeline has no such space.
        InputError: Its index is not finished.
    """
    line = Pipeline(pipeline.load(Path(args.config), args.overrides), new_only=args.new_only)
    if args.space not in line.config.spaces:
        raise ConfigError("the pipeline has no such space", value=args.space, limit=", ".join(line.config.spaces))
    have = line.artifacts(f"index.{args.space}")
    base, names = have[f"index.{args.space}"], have.get(f"names.{args.space}")
    return spec_of(line.lake, line.config.lake, base, names, line.config.index.cache_folder, args)


def spec_of(lake: Lake, uri: str, base: Manifest, names: Manifest | None, cache: Path, args: ServeArgs) -> Spec:
    """The same from artifacts.

    Args:
        lake: The lake.
        uri: Where it is.
        base: What the `index` stage made.
        names: Names of its neurons.
        cache: Folder on each machine for fetched segments.
        args: The rest.
    """
    check_names(base, names)
    state = changes.published(lake, base)
    if state.gone:
        # The base was made and never published; tombstones become its own, so that all shards count alike.
        changes.publish(lake, base, cache)
        state = changes.published(lake, base)
    if state.gone:
        raise InputError("the index has an unpublished state", remedy="Run `index` again")
    return Spec(str(uri), base, names, state.version, str(cache), args)
