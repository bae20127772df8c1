"""`status` on the records of a large archive: seconds of wall time, the interpreter's start included.

The lake is a stub: a catalog of 377,110 rows, and of every tap the receipts of all its shards but one, as a run that
was killed at its last shard leaves them. No film, no part of an activation; `status` reads none.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measure import ONE_THREAD, load
from neuroconcepts_ray import pipeline
from neuroconcepts_ray.catalog.films import Films
from neuroconcepts_ray.catalog.keys import make_key
from neuroconcepts_ray.catalog.newest import recipe
from neuroconcepts_ray.classifier.card import CARD, WEIGHTS, Card, load_card
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Quarantined, Receipt
from neuroconcepts_ray.lake.recipe import Plan, sha256
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.pixels.shards import image_shards
from neuroconcepts_ray.stages import stage

IMAGES = 377_110
"""Films of MIMIC-CXR."""

TEXT = """
lake: {lake}
phi_root: {phi}
catalog: {{name: stub, root: /nowhere}}
classifier: {{pixels: {{size: 224}}}}
activations: {{dtype: float32}}
"""


def write(folder: Path, lake: str, phi: str) -> Path:
    """The pipeline's file of a stub lake."""
    file = folder / "pipeline.yaml"
    file.write_text(TEXT.format(lake=json.dumps(lake), phi=json.dumps(phi)))
    return file


def stub(file: Path, images: int = IMAGES, unfinished: int = 1) -> int:
    """Fill a stub lake.

    Args:
        file: Its pipeline's file.
        images: Images of the catalog.
        unfinished: Shards of each tap that lack a receipt; with none, the artifacts are committed.

    Returns:
        Shards of a tap.
    """
    line = Pipeline(pipeline.load(file, []))
    have = {"catalog": _catalog(line, images)}
    (planned,) = stage("train").config().plan(line.config.classifier, have).values()
    have["classifier"] = _classifier(line.lake, planned)
    films = Films(line.lake, have["catalog"])
    pixels = load_card(line.lake, have["classifier"]).pixels
    count = 0
    for name, mine in stage("mine").config().plan(line.config.activations, have).items():
        shards = list(image_shards(films, mine.recipe.digest, pixels, line.config.activations.shard_rows))
        for number, shard in enumerate(shards[: len(shards) - unfinished]):
            bad = [Quarantined(image_id=shard.rows[0].image_id, stage="activations", cause="truncated")]
            aside = bad if number % 5 == 0 else []
            rows = len(shard.rows) - len(aside)
            part = line.lake.put_part(mine, f"{shard.key}.parquet", b"a stub", rows=rows)
            seconds = {"read": 0.81, "decode": 9.7, "infer": 5.43, "write": 0.12}
            profile = {"device": "x86_64 AVX2", "dtype": "float32", "torch": "2.9"}
            receipt = Receipt(shard=shard.key, part=part, quarantined=aside, profile=profile, seconds=seconds)
            line.lake.commit_receipt(mine, receipt)
        if not unfinished:
            assemble(line.lake, mine, name, shards, facts={"tap": name, "d": 1024})
        count = len(shards)
    return count


def _catalog(line: Pipeline, images: int) -> Any:
    mine = Plan(recipe(line.config.catalog, make_key(line.config.catalog, line.lake.phi)), {"archive": "a stub"})
    ids = [f"{number:08x}-{number:08x}-{number:08x}-{number:08x}-{number:08x}" for number in range(images)]
    rows = {"image_id": ids, "study": ids, "group": [one[:18] for one in ids], "view": ["AP"] * images}
    table = pa.table({**rows, "role": ["fit"] * images, "label:Edema": pa.array(np.zeros(images, np.int8))})
    digests = [sha256(one.encode()) for one in ids]
    sizes = pa.array(np.full(images, 1_500_000), pa.int64())
    sources = pa.table({"image_id": ids, "key": [f"files/{one}.jpg" for one in ids], "size": sizes, "sha256": digests})
    parts = [line.lake.put_part(mine, "images-0000.parquet", to_parquet(table), rows=images)]
    parts += [line.lake.put_part(mine, "sources-0000.parquet", to_parquet(sources), rows=images, root="phi")]
    facts = {"labels": ["Edema"], "task": "multilabel", "partitions": [images], "images": images}
    made = line.lake.commit_manifest(mine, "catalog", parts, facts=facts)
    line.lake.advance(line.config.catalog.ref, made)
    return made


def _classifier(lake: Lake, mine: Plan) -> Any:
    raw = {"backbone": "resnet50", "labels": ["Edema"], "task": "multilabel", "d": 2048, "mean": [0.5], "std": [0.25]}
    card = validate(Card, {**raw, "pixels": {"size": 224}})
    parts = [lake.put_part(mine, WEIGHTS, b"a stub"), lake.put_part(mine, CARD, card.to_json())]
    return lake.commit_manifest(mine, "classifier", parts)


def ask(file: Path, times: int) -> list[dict[str, float]]:
    """Wall and CPU seconds of ``status --json``, each in a process of its own, fastest first."""
    told = []
    for _ in range(times):
        before, began = os.times(), time.perf_counter()
        command = [sys.executable, "-m", "neuroconcepts_ray", "status", "-c", str(file), "--json"]
        done = subprocess.run(command, env=os.environ | ONE_THREAD, check=True, stdout=subprocess.PIPE)
        wall, after = time.perf_counter() - began, os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        told.append({"wall_s": wall, "cpu_s": cpu, "shards": json.loads(done.stdout)["mining"][0]["shards"]})
    return sorted(told, key=lambda one: one["wall_s"])


def measure(times: int = 5) -> dict[str, float]:
    """The figure, on a local disk: ``{"status_s": …}``; the fastest of a few, for other work only adds."""
    with tempfile.TemporaryDirectory(prefix="status") as place:
        folder = Path(place)
        file = write(folder, str(folder / "lake"), str(folder / "phi"))
        stub(file)
        return {"status_s": ask(file, times)[0]["wall_s"]}


def on_s3(times: int = 5) -> dict[str, float]:
    """The same on SeaweedFS."""
    from tests.weed import BUCKET, Weed

    with tempfile.TemporaryDirectory(prefix="status") as place:
        server = Weed(Path(place) / "weed")
        server.start()
        try:
            at = f"s3://{BUCKET}/{{}}?endpoint={server.endpoint}"
            file = write(Path(place), at.format("lake"), at.format("phi"))
            stub(file)
            return {"status_s3_s": ask(file, times)[0]["wall_s"]}
        finally:
            server.stop()


if __name__ == "__main__":
    print(json.dumps(measure() | on_s3() | {"load": load()}))
