"""A pipeline: the sections of one config, and the walk over the table that finds or makes every artifact."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroconcepts_ray import config as configs
from neuroconcepts_ray.activations.config import ActivationsConfig
from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.newest import current
from neuroconcepts_ray.classifier.config import ClassifierConfig, geometry
from neuroconcepts_ray.config import PathStr, StrictModel
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan
from neuroconcepts_ray.naming.config import NamesConfig
from neuroconcepts_ray.neurons.config import DEFAULT_SPACES, Spaces
from neuroconcepts_ray.pixels.config import PixelsConfig
from neuroconcepts_ray.retrieval.config import IndexConfig
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.stages import TABLE, Stage


class PipelineConfig(StrictModel):
    """One archive, one black box, and how its concepts are mined: a section for each stage."""

    lake: PathStr
    """Where artifacts live: a folder or URI."""
    phi_root: PathStr
    """Where protected health information lives (patient ids, source keys, report texts); owner-only permissions."""
    catalog: CatalogConfig
    """The archive, its labels, and the roles of its patients."""
    pixels: PixelsConfig = PixelsConfig()
    """Whether films are decoded once for all passes."""
    classifier: ClassifierConfig = ClassifierConfig()
    """The black box."""
    activations: ActivationsConfig = ActivationsConfig()
    """What is kept of a forward pass."""
    sae: SAEConfig = SAEConfig()
    """The sparse autoencoder."""
    spaces: Spaces = DEFAULT_SPACES
    """The code spaces by name."""
    names: NamesConfig = NamesConfig()
    """How neurons are named."""
    index: IndexConfig = IndexConfig()
    """The index that queries ask."""
    compute: ComputeConfig = ComputeConfig()
    """Machines and bounds; changes no result."""


@dataclass(frozen=True)
class Outcome:
    """What became of one artifact in a walk.

    Attributes:
        stage: The stage that makes it.
        name: The artifact's name.
        state: ``found``, ``made``, ``frozen``, ``missing`` or ``unknown`` (its inputs are missing).
        plan: Its plan, where its inputs are known.
        manifest: Its manifest, where it is finished.
        seconds: What making the stage took.
    """

    stage: Stage
    name: str
    state: str
    plan: Plan | None = None
    manifest: Manifest | None = None
    seconds: float = 0.0


Tell = Callable[[Outcome], None]


def load(path: Path, overrides: list[str]) -> PipelineConfig:
    """Read a pipeline config; see :func:`neuroconcepts_ray.config.load`."""
    return configs.load(PipelineConfig, path, overrides)


class Pipeline:
    """A config bound to its lake.

    Args:
        config: The config.
        new_only: Keep the newest classifier and SAE although the catalog has grown since, so that new images pass
            through frozen models.
    """

    def __init__(self, config: PipelineConfig, *, new_only: bool = False) -> None:
        self.config = config
        self.new_only = new_only
        self.lake = Lake.open(config.lake, config.phi_root)

    def _ref(self, name: str) -> str:
        return f"{name}-{self.config.catalog.ref.removeprefix('catalog-')}"

    def _lineage(self, catalog: Manifest) -> set[str]:
        """Contents of a catalog and of those that it grew from: in all of them every patient has the same role."""
        older = {manifest.content: manifest for manifest in self.lake.siblings(catalog)}
        found, at = {catalog.content}, catalog
        while (parent := at.inputs.get("parent")) in older and parent not in found:
            found.add(parent)
            at = older[parent]
        return found

    def _frozen(self, plans: Mapping[str, Plan], have: Mapping[str, Manifest]) -> dict[str, Manifest] | None:
        """The newest artifacts of these recipes, over a catalog that today's grew from and today's models."""
        found = {}
        for name, plan in plans.items():
            newest = self.lake.newest(self._ref(name), plan.recipe.digest)
            if newest is None:
                return None
            for role, content in newest.inputs.items():
                if role == "catalog":
                    known = self._lineage(have[role])
                else:
                    known = {manifest.content for manifest in self.lake.siblings(have[role])}
                if content not in known:
                    return None
            found[name] = newest
        return found

    def _told(self, stage: Stage) -> dict[str, Any]:
        return {"geometry": geometry(self.config.classifier)} if stage.sees else {}

    def _make(self, stage: Stage, have: Mapping[str, Manifest]) -> dict[str, Manifest]:
        section = getattr(self.config, stage.section)
        extra = {**self._told(stage), **stage.lent} | (
            {"root": self.config.catalog.root} if stage.reads_archive else {}
        )
        made: dict[str, Manifest] = stage.job().run(section, have, self.lake, self.config.compute, **extra)
        return made

    def _step(self, stage: Stage, have: dict[str, Manifest], make: bool, wanted: bool) -> Iterator[Outcome]:
        start = time.monotonic()
        if stage.verb == "catalog":
            before = current(self.config.catalog, self.lake)
            manifest = self._make(stage, have)["catalog"] if make else before
            state = "missing" if manifest is None else "found" if manifest == before else "made"
            yield Outcome(stage, "catalog", state, None, manifest, time.monotonic() - start)
            return
        if not wanted and "catalog" not in have:
            return
        families = {need for need in stage.needs if not any(name.startswith(need) for name in have)}
        if families:
            yield Outcome(stage, stage.makes.rstrip("."), "unknown")
            return
        plans: dict[str, Plan] = stage.config().plan(getattr(self.config, stage.section), have, **self._told(stage))
        found = {name: self.lake.find(plan) for name, plan in plans.items()}
        there = {name for name, manifest in found.items() if manifest is not None}
        state = "found"
        if not wanted and None in found.values():
            return
        if any(manifest is None for manifest in found.values()):
            frozen = self._frozen(plans, have) if stage.frozen and self.new_only else None
            if frozen is not None:
                found, state = dict(frozen), "frozen"
            elif make and stage.frozen and self.new_only:
                raise InputError(
                    f"--new-only has no {stage.makes} to keep: none was made with these settings on this archive",
                    remedy="Run once without --new-only",
                )
            elif make:
                found, state = dict(self._make(stage, have)), "made"
        seconds = time.monotonic() - start
        for name, plan in plans.items():
            manifest = found.get(name)
            if manifest is None:
                yield Outcome(stage, name, "missing", plan, None, seconds)
            elif state == "made" and name in there:  # one of a family, made earlier
                yield Outcome(stage, name, "found", plan, manifest)
            else:
                yield Outcome(stage, name, state, plan, manifest, seconds)

    def walk(self, *, make: tuple[str, ...] = (), until: str | None = None, tell: Tell | None = None) -> list[Outcome]:
        """Go over the table in order, finding artifacts, and making those of the stages in ``make``.

        Args:
            make: Verbs that may do work; none for a look without touching anything.
            until: The last verb of interest; an optional stage is of interest only so, where its section says so, or
                where its artifact is there.
            tell: Called with each outcome as it is known.
        """
        have: dict[str, Manifest] = {}
        outcomes: list[Outcome] = []
        for stage in TABLE:
            wanted = (
                not stage.optional or stage.verb == until or getattr(getattr(self.config, stage.section), stage.verb)
            )
            for outcome in self._step(stage, have, stage.verb in make, wanted):
                outcomes.append(outcome)
                if outcome.manifest is not None:
                    have[outcome.name] = outcome.manifest
                    # Also where it was found: a kill may have come between its commit and this line.
                    if stage.verb in make and outcome.state != "frozen" and stage.frozen:
                        self.lake.advance(self._ref(outcome.name), outcome.manifest)
                if tell is not None:
                    tell(outcome)
            if stage.verb == until:
                break
        return outcomes

    def artifacts(self, needs: str | None = None) -> dict[str, Manifest]:
        """All finished artifacts by name, up to the stage that makes ``needs``.

        Raises:
            InputError: ``needs`` is not finished; names the verb to run.
        """
        outcomes = self.walk()
        have = {o.name: o.manifest for o in outcomes if o.manifest is not None}
        if needs is not None and needs not in have:
            first = next((o for o in outcomes if o.state in ("missing", "unknown")), None)
            verb = first.stage.verb if first else "run"
            raise InputError(
                f"{needs} is not finished",
                remedy=f"Run `neuroconcepts run` with the same config (the first stage to do is `{verb}`); "
                "if the archive has grown and was mined with --new-only, give --new-only here too",
            )
        return have
