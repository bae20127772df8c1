"""A lake with a small catalog and a classifier, made without the stages that make them."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from safetensors.torch import save

from neuroconcepts_ray.classifier.card import CARD, WEIGHTS
from neuroconcepts_ray.classifier.config import ClassifierConfig
from neuroconcepts_ray.classifier.model import build
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe, canonical_json, sha256
from neuroconcepts_ray.lake.table import to_parquet


@dataclass
class World:
    """An archive, its lake, and what the stage finds in it."""

    root: Path
    lake: Lake
    have: dict[str, Manifest] = field(default_factory=dict)

    def write(self, image_id: str, data: bytes) -> None:
        (self.root / f"{image_id}.png").write_bytes(data)

    def catalogue(self, partitions: list[list[str]]) -> None:
        """Commit a catalog of these images."""
        mine = Plan(Recipe("catalog", 1, {}), {"archive": str(partitions)})
        parts = []
        for number, ids in enumerate(partitions):
            data = [(self.root / f"{one}.png").read_bytes() for one in ids]
            text = {name: ids for name in ("image_id", "study", "group", "view")}
            labels = {"label:a": pa.array([1] * len(ids), pa.int8()), "label:b": pa.array([0] * len(ids), pa.int8())}
            images = pa.table({**text, "role": ["fit"] * len(ids), **labels})
            sources = pa.table(
                {
                    "image_id": ids,
                    "key": [f"{one}.png" for one in ids],
                    "size": pa.array([len(one) for one in data], pa.int64()),
                    "sha256": [sha256(one) for one in data],
                    "patient": ids,
                    "study_id": ids,
                }
            )
            parts.append(self.lake.put_part(mine, f"images-{number:04}.parquet", to_parquet(images), rows=len(ids)))
            name = f"sources-{number:04}.parquet"
            parts.append(self.lake.put_part(mine, name, to_parquet(sources), rows=len(ids), root="phi"))
        facts = {"labels": ["a", "b"], "task": "multilabel", "partitions": [len(ids) for ids in partitions]}
        self.have["catalog"] = self.lake.commit_manifest(mine, "catalog", parts, facts=facts)

    def classify(self) -> None:
        """Commit a classifier with fresh weights."""
        kwargs = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
        raw = {"backbone": "resnet18", "backbone_kwargs": kwargs, "pixels": {"size": 32}}
        model = build(validate(ClassifierConfig, raw), ["a", "b"], "multilabel")
        mine = Plan(Recipe("classifier", 1, {}), {})
        weights = self.lake.put_part(mine, WEIGHTS, save({k: v.contiguous() for k, v in model.timm_state().items()}))
        card = self.lake.put_part(mine, CARD, canonical_json(model.card.model_dump(mode="json")))
        self.have["classifier"] = self.lake.commit_manifest(mine, "classifier", [weights, card])


def png(seed: int) -> bytes:
    """A film of noise."""
    sink = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (40, 36), dtype=np.uint8)
    Image.fromarray(noise).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture
def world(tmp_path: Path) -> Callable[[str], World]:
    """Worlds by name, each with ten films (two partitions of six and four) and the same classifier."""

    def make(name: str) -> World:
        root = tmp_path / name / "archive"
        root.mkdir(parents=True)
        one = World(root, Lake.open(str(tmp_path / name / "lake"), str(tmp_path / name / "phi")))
        for number in range(12):
            one.write(f"i{number:02}", png(number))
        one.classify()
        return one

    return make
