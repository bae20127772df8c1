"""THE table: what each stage is called, reads and makes. The CLI, jobs/, run, status and dry runs derive from it.

Nothing heavy is imported here: a stage names its room, and the room's ``config`` and ``job`` modules are loaded
when they are needed, so that ``--help`` stays instant.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType


@dataclass(frozen=True)
class Stage:
    """One verb of the chain.

    Attributes:
        verb: The command.
        section: Its section of the pipeline config.
        room: The room that does it.
        needs: Artifacts that it reads (a trailing dot stands for all of that family).
        makes: The artifact, or family of artifacts, that it makes.
        does: One line for people.
        reads_archive: Whether it opens source files, and so is given the archive's root.
        optional: Whether `run` does it only where its section says so, in the field that is called as the verb.
            No other stage waits for it.
        sees: Whether it is told how the classifier will see a film.
        lent: What a room above its own does for it: ``module:function`` by the parameter that it is given as.
        frozen: Whether ``--new-only`` keeps its newest artifact although the catalog has grown.
    """

    verb: str
    section: str
    room: str
    needs: tuple[str, ...]
    makes: str
    does: str
    reads_archive: bool = False
    optional: bool = False
    sees: bool = False
    lent: Mapping[str, str] = field(default_factory=dict)
    frozen: bool = False

    def config(self) -> ModuleType:
        """The room's ``config`` module: the config model and ``plan``."""
        return importlib.import_module(f"neuroconcepts_ray.{self.room}.config")

    def job(self) -> ModuleType:
        """The room's ``job`` module: ``run``."""
        return importlib.import_module(f"neuroconcepts_ray.{self.room}.job")


TABLE: tuple[Stage, ...] = (
    Stage(
        "catalog", "catalog", "catalog", (), "catalog", "List an archive: one row an image, with group, role, labels."
    ),
    Stage(
        "pack",
        "pixels",
        "pixels",
        ("catalog",),
        "pixels",
        "Decode and resize every film once, so that later passes read pixels and decode nothing.",
        reads_archive=True,
        optional=True,
        sees=True,
    ),
    Stage(
        "train",
        "classifier",
        "classifier",
        ("catalog",),
        "classifier",
        "Train the black box on the labels, or take weights brought along.",
        reads_archive=True,
        frozen=True,
    ),
    Stage(
        "mine",
        "activations",
        "activations",
        ("catalog", "classifier"),
        "activations.",
        "Stream every image through the classifier and keep what its taps say.",
        reads_archive=True,
        lent={"coder": "neuroconcepts_ray.sae.fused:coder"},
    ),
    Stage(
        "fit",
        "sae",
        "sae",
        ("catalog", "activations."),
        "sae",
        "Fit a sparse autoencoder to the activations.",
        frozen=True,
    ),
    Stage(
        "encode",
        "spaces",
        "neurons",
        ("catalog", "activations.", "sae"),
        "codes.",
        "Write every image as a code over the neurons of each space.",
    ),
    Stage(
        "name",
        "names",
        "naming",
        ("catalog", "codes."),
        "names.",
        "Name the neurons from the reports, or leave them honestly unnamed.",
    ),
    Stage(
        "index",
        "index",
        "retrieval",
        ("catalog", "activations.", "codes."),
        "index.",
        "Index the codes, so that `search` and `explain` can ask.",
    ),
)


def stage(verb: str) -> Stage:
    """The stage of that verb; KeyError where there is none."""
    return {entry.verb: entry for entry in TABLE}[verb]
