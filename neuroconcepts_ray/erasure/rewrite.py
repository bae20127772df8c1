"""Artifacts as they would be had the patient not been there: rows are filtered, nothing is computed anew from images.

Every artifact gets a counterpart over the counterparts of its inputs, so that any config that found its work done finds
it done afterwards. Shards without the patient are taken as they are, and a catalog keeps the places of erased images.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from neuroconcepts_ray.activations.patches import decoded
from neuroconcepts_ray.catalog.archive import summary
from neuroconcepts_ray.catalog.config import ROLES, SCALE
from neuroconcepts_ray.catalog.films import Films
from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.catalog.tombstones import ROLE, bury, live
from neuroconcepts_ray.classifier.card import load_card
from neuroconcepts_ray.erasure import keep
from neuroconcepts_ray.erasure.journal import Moved
from neuroconcepts_ray.erasure.keep import Keep
from neuroconcepts_ray.erasure.traces import Place, text_names
from neuroconcepts_ray.erasure.victims import Victims
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part, Receipt
from neuroconcepts_ray.lake.recipe import Plan, Recipe, canonical_json, digest
from neuroconcepts_ray.lake.shards import Shard
from neuroconcepts_ray.lake.survey import address
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.neurons.config import SCALE_PART
from neuroconcepts_ray.neurons.shards import code_shard
from neuroconcepts_ray.neurons.summary import summarise
from neuroconcepts_ray.neurons.tables import NEURONS, NORMALISATION, codes_of
from neuroconcepts_ray.pixels.shards import image_shards

ORDER = ("catalog", "pixels", "classifier", "activations", "sae", "codes")
"""Kinds that are rewritten, in an order in which inputs come first; others are made anew by their stages."""

RAW = ("key", "sha256", "patient", "study_id", "text", "view", "role")
"""Columns that hold no name of ours."""

NOTE = "erased_since_fitted"
"""Note of a classifier or SAE: patients that were erased since it was fitted."""


@dataclass
class Rewriting:
    """The artifacts of a lake, old and new, while they are rewritten.

    Attributes:
        lake: The lake.
        victims: Who is erased.
        naming: Parts that name them.
        manifests: All manifests by key; new ones are added.
        moved: What was rewritten.
    """

    lake: Lake
    victims: Victims
    naming: set[Place]
    manifests: dict[str, Manifest]
    moved: Moved
    by_content: dict[str, Manifest] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_content = {manifest.content: manifest for manifest in self.manifests.values()}
        self._dead = pa.array(self.victims.image_ids, pa.string())
        self._names = self.victims.names

    def run(self) -> None:
        """Rewrite whatever is affected; what cannot be is given up, to be made anew."""
        todo = sorted(self.manifests.items(), key=lambda item: (_rank(item[1].kind), self._depth(item[1])))
        for key, manifest in todo:
            if key in self.moved.manifests or not self._affected(manifest):
                continue
            made = self._counterpart(manifest)
            if made is not None and address(made) == key:
                continue
            self.moved.manifests[key] = "" if made is None else address(made)
            self.moved.contents[manifest.content] = "" if made is None else made.content
            if made is not None:
                self.add(made)
                if made.recipe != manifest.recipe:  # which codes of units name
                    self.moved.contents[manifest.recipe] = made.recipe

    def add(self, manifest: Manifest) -> None:
        """Take a new manifest up."""
        self.manifests[address(manifest)] = manifest
        self.by_content[manifest.content] = manifest

    def affected(self) -> list[Manifest]:
        """All artifacts that name a victim or are made from one that does, without touching anything."""
        found: list[Manifest] = []
        changed: set[str] = set()
        for _, manifest in sorted(
            self.manifests.items(),
            key=lambda item: (_rank(item[1].kind), self._depth(item[1]), "base" in item[1].facts),
        ):
            if self._affected(manifest) or changed & {*manifest.inputs.values(), *_models(manifest)}:
                found.append(manifest)
                # Weights stay what they are, so what they are used for need not change.
                changed |= set() if manifest.kind in ("classifier", "sae") else {manifest.content}
        return found

    def plan(self, manifest: Manifest) -> Plan:
        """The plan of a counterpart: digests of rewritten inputs and models in the place of the old ones."""
        body = manifest.recipe_body
        models = {role: self._now(value) for role, value in body["models"].items()}
        inputs = {role: self._now(value) for role, value in manifest.inputs.items()}
        return Plan(Recipe(body["kind"], body["algorithm"], body["config"], models), inputs)

    # What is affected ---------------------------------------------------------------------------------------------

    def _now(self, content: str) -> str:
        return self.moved.contents.get(content) or content

    def _affected(self, manifest: Manifest) -> bool:
        if any((part.root, part.key) in self.naming for part in manifest.parts):
            return True
        used = {*manifest.inputs.values(), *_models(manifest)}
        if any(self.moved.contents.get(content, content) != content for content in used):
            return True
        return text_names(canonical_json(manifest.model_dump(mode="json")), self._names)

    def _depth(self, manifest: Manifest) -> int:
        """How many catalogs a catalog grew from."""
        depth, seen = 0, {manifest.content}
        while (parent := self.by_content.get(manifest.inputs.get("parent", ""))) and parent.content not in seen:
            depth, manifest = depth + 1, parent
            seen.add(parent.content)
        return depth

    # Counterparts -------------------------------------------------------------------------------------------------

    def _counterpart(self, manifest: Manifest) -> Manifest | None:
        plan = self.plan(manifest)
        body = manifest.recipe_body
        if Recipe(body["kind"], body["algorithm"], body["config"], body["models"]).digest != manifest.recipe:
            return None  # of another format: its names cannot be made by today's rules
        if manifest.kind == "catalog":
            return self._catalog(manifest, plan)
        if manifest.kind in ("classifier", "sae"):
            notes = {NOTE: int(manifest.notes.get(NOTE, 0)) + len(self.victims.tokens)}
            return self._recommit(manifest, plan, manifest.notes | notes)
        if any(not self.moved.contents.get(content, content) for content in manifest.inputs.values()):
            return None  # made from what was given up
        if manifest.kind == "pixels":
            geometry = PixelConfig(**body["config"]["geometry"])
            return self._images_of(manifest, plan, geometry, keep.pixels)
        if manifest.kind == "activations":
            return self._activations(manifest, plan)
        if manifest.kind == "codes":
            return self._codes(manifest, plan)
        return None

    def _recommit(self, manifest: Manifest, plan: Plan, notes: Mapping[str, Any]) -> Manifest:
        kept = [bad for bad in manifest.quarantined if bad.image_id not in self._names]
        return self.lake.commit_manifest(
            plan,
            manifest.name,
            manifest.parts,
            quarantined=kept,
            facts=manifest.facts,
            profile=manifest.profile,
            notes=notes,
        )

    def _catalog(self, manifest: Manifest, plan: Plan) -> Manifest:
        inputs = dict(plan.inputs)
        inputs["archive"] = digest([inputs.get("archive", ""), self.victims.tokens])
        plan = Plan(plan.recipe, inputs)
        buried = 0
        parts: list[Part] = []
        for part in manifest.parts:
            if (part.root, part.key) not in self.naming:
                parts.append(part)
                continue
            table = self.lake.table(part)
            if part.name.startswith("images-"):
                dead = pc.is_in(table["image_id"], self._dead).to_numpy()
                buried += int(dead.sum())
                table = bury(table, dead, int(part.name[len("images-") :].partition(".")[0]))
            else:
                table = self._without(table)
            data = to_parquet(table.combine_chunks())
            parts.append(self.lake.put_part(plan, part.name, data, rows=table.num_rows, root=part.root))
        facts = manifest.facts | self._counts(parts, list(manifest.facts.get("columns", {})))
        facts |= {"archive": inputs["archive"]} if "archive" in facts else {}
        facts.setdefault(SCALE, manifest.part(SCALE_PART).sha256)
        left_out = dict(facts.get("left_out", {}))
        facts["left_out"] = {**left_out, ROLE: left_out.get(ROLE, 0) + buried}
        return self.lake.commit_manifest(plan, manifest.name, parts, facts=facts, notes=manifest.notes)

    def _without(self, table: pa.Table) -> pa.Table:
        """A table of any kind without the rows that name a victim."""
        names = pa.array(sorted(self._names), pa.string())
        drop = np.zeros(table.num_rows, dtype=bool)
        # A patient's or study's id may read like another's image: what hashes tell is enough.
        for column in (table[name] for name in table.column_names if name not in RAW):
            if pa.types.is_string(column.type):
                drop |= pc.is_in(column, names).to_numpy()
            elif pa.types.is_list(column.type) and pa.types.is_string(column.type.value_type):
                drop |= np.array([any(value in self._names for value in row or ()) for row in column.to_pylist()])
        return table.filter(pa.array(~drop))

    def _counts(self, parts: list[Part], columns: list[str]) -> dict[str, Any]:
        def read(prefix: str, columns: list[str]) -> pa.Table:
            return pa.concat_tables([self.lake.table(p, columns) for p in parts if p.name.startswith(prefix)])

        images = live(read("images-", ["image_id", "study", "group", "role", *columns]))
        reports = read("reports-", ["study"])
        roles = images["role"].to_pylist()
        studies = len(set(images["study"].to_pylist()))
        return {
            "images": images.num_rows,
            "studies": studies,
            "groups": len(set(images["group"].to_pylist())),
            "roles": {role: roles.count(role) for role in ROLES},
            "reports": reports.num_rows,
            "studies_without_report": studies - reports.num_rows,
            "columns": {name: summary(images[name].to_pylist()) for name in columns},
        }

    def _activations(self, manifest: Manifest, plan: Plan) -> Manifest | None:
        classifier = self.by_content.get(manifest.inputs["classifier"])
        if classifier is None:
            return None
        pixels = decoded(manifest.recipe_body["config"], load_card(self.lake, classifier).pixels)
        return self._images_of(manifest, plan, pixels, keep.activations)

    def _images_of(self, manifest: Manifest, plan: Plan, pixels: PixelConfig, without: Keep) -> Manifest | None:
        """The counterpart of what has a row an image, in shards of the catalog."""
        old_catalog = self.by_content.get(manifest.inputs["catalog"])
        if old_catalog is None:
            return None
        most = int(manifest.recipe_body["config"]["shard_rows"])
        new_catalog = self.by_content[plan.inputs["catalog"]]
        before = self._cut(old_catalog, manifest.recipe, pixels, most)
        after = self._cut(new_catalog, plan.recipe.digest, pixels, most)
        there = {part.name: part for part in manifest.parts}
        if [f"{shard.key}.parquet" for shard in before] != list(there):
            return None  # cut by rules of another version
        for old, new in zip(before, after, strict=True):
            self._carry(manifest, plan, there[f"{old.key}.parquet"], old, new, without)
        return assemble(
            self.lake, plan, manifest.name, after, facts=manifest.facts, max_bad_fraction=1.0, tolerant=True
        )

    def _cut(self, catalog: Manifest, recipe: str, pixels: PixelConfig, most: int) -> list[Shard]:
        return list(image_shards(Films(self.lake, catalog), recipe, pixels, most))

    def _codes(self, manifest: Manifest, plan: Plan) -> Manifest | None:
        catalog = self.by_content.get(plan.inputs["catalog"])
        (tap,) = [role for role in manifest.inputs if role.startswith("activations.")]
        old = self.by_content.get(manifest.inputs[tap])
        if catalog is None or old is None:
            return None
        new = self.by_content[plan.inputs[tap]]
        there = {part.name: part for part in manifest.parts}
        shards = []
        for part, now in zip(old.parts, new.parts, strict=True):
            if not part.rows:
                continue
            before = code_shard(self.lake, part, manifest.recipe)
            if f"{before.key}.parquet" not in there:
                return None
            if now.rows:
                shards.append(code_shard(self.lake, now, plan.recipe.digest))
                self._carry(manifest, plan, there[f"{before.key}.parquet"], before, shards[-1], keep.codes)
        files = [part for part in manifest.parts if part.name == NORMALISATION]
        for part in files:
            self.lake.commit_receipt(plan, Receipt(shard=NORMALISATION, part=part))
        n = int(manifest.facts["n"])
        receipts = [self.lake.receipt(plan, shard.key) for shard in shards]
        codes = codes_of([self.lake.table(one.part) for one in receipts if one is not None], n)
        top = int(manifest.recipe_body["config"]["top_images"])
        neurons, counted = summarise(codes, load_catalog(self.lake, catalog), top)
        files.append(self.lake.put_part(plan, NEURONS, neurons, rows=n))
        facts = manifest.facts | counted
        return assemble(
            self.lake, plan, manifest.name, shards, facts=facts, files=files, max_bad_fraction=1.0, tolerant=True
        )

    def _carry(self, manifest: Manifest, plan: Plan, part: Part, old: Shard, new: Shard, without: Keep) -> None:
        """Give a shard of the counterpart its receipt: the old part, or its rows without the victims'."""
        if self.lake.receipt(plan, new.key) is not None:
            return
        body = manifest.recipe_body
        before = Plan(Recipe(body["kind"], body["algorithm"], body["config"], body["models"]), manifest.inputs)
        receipt = self.lake.receipt(before, old.key)
        bad = [one for one in manifest.quarantined if one.image_id in {row.image_id for row in old.rows}]
        name = f"{new.key}.parquet"
        if (part.root, part.key) in self.naming:
            data, rows = without(self.lake, part, manifest, self._names)
            made = self.lake.put_part(plan, name, data, rows=rows, root=part.root)
        else:
            made = part.model_copy(update={"name": name})
        self.lake.commit_receipt(
            plan,
            Receipt(
                shard=new.key,
                part=made,
                quarantined=[one for one in bad if one.image_id not in self._names],
                profile=manifest.profile if receipt is None else receipt.profile,
                seconds={} if receipt is None else receipt.seconds,
            ),
        )


def _rank(kind: str) -> int:
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


def _models(manifest: Manifest) -> list[str]:
    return [str(value) for value in manifest.recipe_body.get("models", {}).values()]
