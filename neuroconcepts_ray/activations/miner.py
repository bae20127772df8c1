"""The actor of mining: holds the classifier; infers a shard, writes it, commits its receipts."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from neuroconcepts_ray.activations.compiled import Compiled
from neuroconcepts_ray.activations.config import ActivationsConfig
from neuroconcepts_ray.activations.extract import batches, check_finite, spread
from neuroconcepts_ray.activations.keep import Columns, Keep, hooks, keeper
from neuroconcepts_ray.activations.patches import Windows, frame, joined, starts
from neuroconcepts_ray.activations.room import check_budget, check_part
from neuroconcepts_ray.activations.tables import kept_table
from neuroconcepts_ray.activations.taps import HEAD_TAPS, Tap
from neuroconcepts_ray.classifier.model import load_classifier
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.distributed.hands import named
from neuroconcepts_ray.distributed.profile import numeric_profile
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Receipt
from neuroconcepts_ray.lake.recipe import plan_from_json
from neuroconcepts_ray.lake.shards import Shard, shard_of, shard_size
from neuroconcepts_ray.lake.table import Gathering
from neuroconcepts_ray.pixels.load import open_manifest


class Miner:
    """Holds the classifier; infers a shard, writes one part a tap and commits their receipts."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.config = validate(ActivationsConfig, spec["config"])
        self.lake = Lake.open(spec["lake"], spec["phi"])
        self.plans = {tap: plan_from_json(data) for tap, data in spec["plans"].items()}
        self.dtype = str(spec["dtype"])
        self.model = load_classifier(self.lake, open_manifest(self.lake, tuple(spec["classifier"])), spec["device"])
        # Nothing is differentiated, but autocast keeps the rounded weights of those alone that could be.
        self.model.requires_grad_(True)
        self.taps = {name: Tap.parse(name) for name in spec["ahead"]}
        coder, n = None, 0
        if spec["sae"]:
            sae = open_manifest(self.lake, tuple(spec["sae"]))
            coder, n = named(spec["coder"])(self.lake, sae, self.model.W.device)
        self.keeps: dict[str, tuple[Tap, Keep]] = {
            name: (tap, keeper(tap, self.config, self.model.prefix, coder, n))
            for name, tap in self.taps.items()
            if tap.module not in HEAD_TAPS
        }
        wanted = any(tap.keep == "patches" for tap in self.taps.values())
        pixels, patches = self.model.card.pixels, self.config.patches if wanted else None
        self.frame = pixels if patches is None else frame(pixels, patches)
        self.at = [] if patches is None else starts(self.frame.size, pixels.size, patches.stride)
        self.patched = any(self.taps[name].keep == "patches" for name in self.plans)
        self.about = {"patches": len(self.at) ** 2, "frame": self.frame.size} if self.patched else {}
        self.forward: Any = self.model.forward_hooked
        if self.config.compile:
            self.forward = Compiled(self.model, self.config.modules, self.config.batch_size)
        self._check(int(spec["images"]))
        self.profile = numeric_profile(
            dtype=self.dtype, device=spec["device"], libraries=(*self.model.card.libraries, "pillow")
        )
        if spec["packed"]:  # what decoded them then, not what would today
            self.profile |= spec["packed"]["profile"]
        if spec["device"] == "cuda":
            torch.backends.cudnn.deterministic = True

    def _check(self, images: int) -> None:
        """Refuse taps that are wrong, or take too much room, before the first shard of the first pass."""
        pixels = self.model.card.pixels
        black = np.zeros((1, pixels.channels, pixels.size, pixels.size), dtype=np.uint8)
        ((_, found),) = self._batches(black, [""], list(self.taps))
        unseen = sorted(self.keeps.keys() - found.keys())
        if unseen:
            raise ConfigError(
                "a tap's module is there, but the network does not call it",
                value=unseen[0],
                where="activations.taps",
                remedy="Take the module around it",
            )
        for name, columns in found.items():
            weight = columns["activation"].nbytes if "activation" in columns else 0
            film = black.nbytes
            if self.taps[name].keep == "patches":
                weight = columns["activation"].size * np.dtype(self.config.stored).itemsize * len(self.at) ** 2
                film = self.frame.channels * self.frame.size**2
            if self.taps[name].keep == "grid" and self.config.grid_budget is not None:
                check_budget(name, weight, images, self.config.grid_budget)
            check_part(name, weight, min(shard_size(film, self.config.shard_rows), images))

    def _passes(
        self, images: UInt8[np.ndarray, "n c h w"], image_ids: Sequence[str], names: Sequence[str]
    ) -> Iterator[tuple[slice, dict[str, Columns]]]:
        """What is kept of images under some names, batch by batch."""
        if not self.patched:
            return self._batches(images, image_ids, names)
        windows = Windows(images, self.model.card.pixels.size, self.at)
        return joined(self._batches(windows, [], names), windows.boxes, self.config.stored)

    def _batches(
        self, images: UInt8[np.ndarray, "n c h w"] | Windows, image_ids: Sequence[str], names: Sequence[str]
    ) -> Iterator[tuple[slice, dict[str, Columns]]]:
        keeps = {name: self.keeps[name] for name in names if name in self.keeps}
        found: dict[str, Columns] = {}
        done = batches(
            self.forward,
            images,
            lambda rows: hooks(keeps, image_ids[rows], found),
            batch_size=self.config.batch_size,
            dtype=self.dtype,
            device=self.model.W.device,
        )
        for rows, heads in done:
            wanted = {name: heads.get(self.taps[name].module) for name in names}
            yield rows, found | {name: {"activation": x} for name, x in wanted.items() if x is not None}

    def probe(self, shard: Shard, block: Block) -> None:
        """Infer and write nothing: whether these images kill the process."""
        image_ids = [row.image_id for row in shard.rows]
        for _ in self._passes(spread(block.array, block.kept, len(shard.rows)), image_ids, list(self.plans)):
            pass

    def __call__(self, shard: Shard, block: Block) -> dict[str, float]:
        """Infer the shard and write it once for each tap that has no receipt for these rows; seconds by step."""
        keys = {tap: shard_of(shard.rows, plan.recipe.digest).key for tap, plan in self.plans.items()}
        wanted = {tap: key for tap, key in keys.items() if self.lake.receipt(self.plans[tap], key) is None}
        if not wanted:
            return block.seconds
        image_ids = [row.image_id for row in shard.rows]
        live = np.zeros(len(image_ids), dtype=bool)
        live[block.kept] = True
        gathered: dict[str, Gathering] = {}
        start = time.perf_counter()
        write = dict.fromkeys(wanted, 0.0)
        for rows, found in self._passes(spread(block.array, block.kept, len(shard.rows)), image_ids, list(wanted)):
            ids = [image_ids[row] for row in range(rows.start, rows.stop) if live[row]]
            for tap in wanted:
                began = time.perf_counter()
                self._gather(tap, ids, {name: x[live[rows]] for name, x in found[tap].items()}, gathered)
                write[tap] += time.perf_counter() - began
        seconds = {**block.seconds, "infer": time.perf_counter() - start - sum(write.values())}
        for tap, key in wanted.items():
            start = time.perf_counter()
            data = gathered[tap].finish()
            part = self.lake.put_part(self.plans[tap], f"{key}.parquet", data, rows=gathered[tap].rows)
            write[tap] += time.perf_counter() - start
            receipt = Receipt(
                shard=key,
                part=part,
                quarantined=block.quarantined,
                profile=self.profile,
                seconds={**seconds, "write": write[tap]},
            )
            self.lake.commit_receipt(self.plans[tap], receipt)
        return {**seconds, "write": sum(write.values())}

    def _gather(self, tap: str, image_ids: list[str], columns: Columns, gathered: dict[str, Gathering]) -> None:
        for x in columns.values():
            if x.dtype.kind == "f":
                check_finite(tap, image_ids, x, half=x.dtype == np.float16)
        about = self.keeps[tap][1].about if tap in self.keeps else {}
        table = kept_table(image_ids, columns, about | self.about)
        if tap not in gathered:
            gathered[tap] = Gathering(table.schema)
        gathered[tap].add(table)
