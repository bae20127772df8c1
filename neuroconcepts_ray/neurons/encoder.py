"""The actor of encoding: holds what each space encodes with; encodes a shard and commits its receipt."""

import time
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.distributed.profile import numeric_profile
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Part, Receipt
from neuroconcepts_ray.lake.recipe import plan_from_json
from neuroconcepts_ray.lake.shards import Shard
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.neurons.config import SpaceConfig
from neuroconcepts_ray.neurons.encode import encode_latents, encode_units
from neuroconcepts_ray.neurons.normalisation import Normalisation
from neuroconcepts_ray.neurons.tables import codes_table, read_normalisation
from neuroconcepts_ray.sae.model import SAE, load_sae


class Encoder:
    """Holds the SAE or the units' normalisation; encodes a shard, writes it and commits its receipt."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.lake = Lake.open(spec["lake"], spec["phi"])
        self.plan = plan_from_json(spec["plan"])
        self.space = validate(SpaceConfig, spec["space"])
        self.profile = numeric_profile(device=spec["device"])
        self.sae: SAE | None = None
        self.normalisation: Normalisation | None = None
        if self.space.origin == "latents":
            manifest = self.lake.manifest(**spec["sae"])
            if manifest is None:
                raise InputError("the SAE is gone", where=spec["sae"]["artifact"], remedy="Run `fit` again")
            self.sae = load_sae(self.lake, manifest).to(spec["device"])
        else:
            self.normalisation = read_normalisation(self.lake.read(Part(**spec["normalisation"])))

    def encode(self, x: np.ndarray) -> csr_array:
        """Codes of a block of activations."""
        if self.sae is not None:
            return encode_latents(self.sae, x, self.space.batch_size)
        if self.normalisation is None:
            raise InputError("a space needs an SAE or a normalisation")
        return encode_units(self.normalisation, x, self.space.top)

    def __call__(self, shard: Shard, block: Block) -> dict[str, float]:
        """Encode, write the part, commit the receipt; seconds by step."""
        start = time.perf_counter()
        codes = self.encode(block.array)
        encoded = time.perf_counter()
        image_ids = [shard.rows[row].image_id for row in block.kept]
        data = to_parquet(codes_table(image_ids, codes))
        part = self.lake.put_part(self.plan, f"{shard.key}.parquet", data, rows=len(image_ids))
        seconds = {**block.seconds, "infer": encoded - start, "write": time.perf_counter() - encoded}
        receipt = Receipt(
            shard=shard.key, part=part, quarantined=block.quarantined, profile=self.profile, seconds=seconds
        )
        self.lake.commit_receipt(self.plan, receipt)
        return seconds


class Encoders:
    """The encoders of all spaces of a pass; each shard is of one of them."""

    def __init__(self, spec: dict[str, Any]) -> None:
        shared = {name: spec[name] for name in ("lake", "phi", "device")}
        self.encoders = {name: Encoder(shared | one) for name, one in spec["encoders"].items()}
        self.spaces: dict[str, str] = spec["spaces"]

    def __call__(self, shard: Shard, block: Block) -> dict[str, float]:
        """Encode the shard for its space; seconds by step."""
        return self.encoders[self.spaces[shard.key]](shard, block)
