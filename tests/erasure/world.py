"""The real chain in this process: the stages' own code, one shard after the other, without Ray.

Lake and PHI root are URIs, so that any store can hold them.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.classifier.config import ClassifierConfig
from neuroconcepts_ray.classifier.model import build
from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.hands import find_worker
from neuroconcepts_ray.distributed.train import State, World
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.store import open_store
from neuroconcepts_ray.pipeline import Outcome, Pipeline
from neuroconcepts_ray.stages import TABLE
from tests.catalog.conftest import LABELS, Mimic
from tests.erasure.lakes import Patient, held, patients

CLASSIFIER: dict[str, Any] = {
    "backbone": "resnet10t",
    "backbone_kwargs": {"channels": [8, 8, 16, 16]},
    "pixels": {"size": 16},
    "threads": 1,
}


def _map_shards(
    shards: Any, *, worker: str, spec: dict[str, Any], load: Any, threads: int, find: Any = None, **_: object
) -> None:
    if shards:
        torch.set_num_threads(threads)  # as the actors do
        made = find_worker(worker)(spec)
        for one in shards:
            shard = find(one, spec) if find else one
            made(shard, load(shard, spec))


def _train(loop: Any, spec: dict[str, Any], *, threads: int, **_: object) -> State:
    torch.set_num_threads(threads)
    states: list[State] = []
    loop(spec, World(0, 1), None, lambda state, _: states.append(state))
    return states[-1]


@contextmanager
def without_ray() -> Iterator[None]:
    """Stages run here and now."""
    with pytest.MonkeyPatch.context() as patch:
        for room in ("pixels", "activations", "neurons", "retrieval"):
            patch.setattr(f"neuroconcepts_ray.{room}.job.map_shards", _map_shards)
        patch.setattr("neuroconcepts_ray.sae.job.train", _train)
        yield


@dataclass(frozen=True)
class Hospital:
    """An archive, and a pipeline over it.

    Attributes:
        mimic: The archive.
        folder: Has ``pipeline.yaml``, and the cache.
    """

    mimic: Mimic
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "pipeline.yaml"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def write(self, lake: str, phi: str) -> "Hospital":
        weights = self.mimic.root.parent / "weights.safetensors"
        if not weights.exists():
            torch.manual_seed(0)
            model = build(validate(ClassifierConfig, CLASSIFIER), LABELS, "multilabel")
            save_file({name: value.contiguous() for name, value in model.timm_state().items()}, weights)
            (self.mimic.root.parent / "key").write_bytes(bytes(range(32)))
        config = {
            "lake": lake,
            "phi_root": phi,
            "catalog": {
                "root": str(self.mimic.root),
                "reports": str(self.mimic.root / "reports"),
                "hash_key_file": str(self.mimic.root.parent / "key"),
                "split": "hash",
            },
            "classifier": {**CLASSIFIER, "weights": str(weights)},
            "activations": {"taps": ["layer3"], "shard_rows": 8, "batch_size": 4, "threads": 1, "dtype": "float32"},
            "sae": {"steps": 20, "k": 4, "latents": 24, "batch_size": 32, "threads": 1},
            "names": {"min_groups": 2, "min_positives": 2},
            "index": {"cache": str(self.cache)},
            "compute": {"max_bad_fraction": 0.2},
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(yaml.safe_dump(config))
        return self

    def line(self, *, new_only: bool = False) -> Pipeline:
        return Pipeline(pipeline.load(self.file, []), new_only=new_only)

    def run(self, *, new_only: bool = False) -> dict[str, Outcome]:
        """Run the chain; what became of each artifact."""
        with without_ray():
            outcomes = self.line(new_only=new_only).walk(make=tuple(stage.verb for stage in TABLE))
        return {outcome.name: outcome for outcome in outcomes}

    def have(self, *, new_only: bool = False) -> dict[str, Manifest]:
        return self.line(new_only=new_only).artifacts()

    def contents(self) -> dict[str, str]:
        return {name: manifest.content for name, manifest in self.have().items()}

    def call(self, *args: object) -> int:
        """A command line; its exit code."""
        with without_ray():
            return call([*map(str, args), "-c", str(self.file)])

    def copy(self, folder: Path) -> "Hospital":
        """The same archive, and a copy of its lake, PHI root and pipeline in another folder."""
        made = replace(self, folder=folder).write(str(folder / "lake"), str(folder / "phi"))
        config = self.line().config
        for source, target in ((config.lake, folder / "lake"), (config.phi_root, folder / "phi")):
            old, new = open_store(source), open_store(str(target))
            for blob in old.scan():
                new.write(blob.key, old.read(blob.key))
        return made

    def patients(self, role: str = "probe") -> list[Patient]:
        return patients(self.line(), role)

    def traces(self, patient: Patient) -> dict[str, list[str]]:
        """What lake, PHI root and cache hold of a patient."""
        return held(self.line().lake, self.cache, patient)


def rows_of(lake: Lake, have: Mapping[str, Manifest]) -> dict[str, str]:
    """Every image's row in every table of activations and codes, by artifact and image_id."""
    found = {}
    for name, manifest in have.items():
        if manifest.kind in ("activations", "codes"):
            for part in manifest.parts:
                if part.shard:
                    for row in lake.table(part).to_pylist():
                        found[f"{name} {row.pop('image_id')}"] = json.dumps(row, default=lambda x: x.tolist())
    return found
