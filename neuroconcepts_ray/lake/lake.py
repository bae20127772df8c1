"""The lake as the stages see it: put parts, commit receipts and manifests, read what is committed."""

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from neuroconcepts_ray.errors import DigestError, EnvironmentFault, InputError
from neuroconcepts_ray.lake import refs
from neuroconcepts_ray.lake.commit import commit, read_record
from neuroconcepts_ray.lake.manifest import Manifest, Part, Quarantined, Receipt, Root, content_digest
from neuroconcepts_ray.lake.recipe import Plan, sha256
from neuroconcepts_ray.lake.remote import parse
from neuroconcepts_ray.lake.store import Store, open_store
from neuroconcepts_ray.lake.table import from_parquet

READERS = 16
"""Threads that read at a time: on S3 a read waits tens of milliseconds for its first byte."""


class Lake:
    """Two roots: the lake proper, and the root of protected health information.

    Args:
        store: Where artifacts live.
        phi: Where patient ids, source keys and report texts live; its own permissions.
    """

    def __init__(self, store: Store, phi: Store) -> None:
        self.store = store
        self.phi = phi

    @classmethod
    def open(cls, uri: str, phi_uri: str) -> "Lake":
        """The lake at two URIs; the PHI root is made readable by its owner alone."""
        return cls(open_store(uri), open_store(phi_uri, mode=0o700))

    def root(self, root: Root) -> Store:
        """The store of a root."""
        return self.phi if root == "phi" else self.store

    @property
    def training(self) -> str:
        """URI of the folder in which trainings under way keep their checkpoints."""
        return parse(self.store.uri).child("training").uri

    # Parts and receipts -------------------------------------------------------------------------------------------

    def put_part(self, plan: Plan, name: str, data: bytes, *, rows: int = 0, root: Root = "lake") -> Part:
        """Write one part under a fresh attempt id; it counts only once a receipt or manifest names it."""
        attempt = uuid.uuid4().hex[:12]
        stem, dot, ending = name.partition(".")
        key = f"{plan.recipe.kind}/{plan.recipe.digest}/parts/{stem}-{attempt}{dot}{ending}"
        self.root(root).write(key, data)
        return Part(name=name, key=key, sha256=sha256(data), bytes=len(data), rows=rows, root=root)

    def commit_receipt(self, plan: Plan, receipt: Receipt) -> Receipt:
        """Offer a receipt; returns the one that counts, and drops the own part if it lost.

        Raises:
            EnvironmentFault: The part is gone, and no other attempt has one: whoever wrote it slept for so long that
                ``gc`` took it for dead.
        """
        if not self.root(receipt.part.root).exists(receipt.part.key):
            other = self.receipt(plan, receipt.shard)
            if other is not None:
                return other
            raise EnvironmentFault(
                "a part was cleared away before its receipt was there",
                where=f"shard {receipt.shard}",
                remedy="Run the same command again",
            )
        # To the microsecond, which is more than they mean: no digit in them can then be taken for anybody's number.
        seconds = {step: round(spent, 6) for step, spent in receipt.seconds.items()}
        receipt = receipt.model_copy(update={"seconds": seconds})
        winner, mine = commit(self.store, _receipt_key(plan, receipt.shard), receipt)
        if not mine and winner.part.key != receipt.part.key:
            self.root(receipt.part.root).delete(receipt.part.key)
        return winner

    def receipt(self, plan: Plan, shard: str) -> Receipt | None:
        """The receipt of a shard, if it is done."""
        try:
            return read_record(self.store, _receipt_key(plan, shard), Receipt)
        except FileNotFoundError:
            return None

    def done_shards(self, plan: Plan) -> set[str]:
        """Keys of all shards of the recipe that have a receipt."""
        prefix = f"{plan.recipe.kind}/{plan.recipe.digest}/receipts"
        return {Path(key).stem for key in self.store.list(prefix)}

    def receipts(self, plan: Plan, shards: Sequence[str]) -> list[Receipt | None]:
        """The receipts of many shards, in their order; None for those that are not done."""
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(lambda shard: self.receipt(plan, shard), shards))

    # Manifests ----------------------------------------------------------------------------------------------------

    def find(self, plan: Plan) -> Manifest | None:
        """The finished artifact of a plan, or None."""
        return self.manifest(plan.recipe.kind, plan.recipe.digest, plan.artifact)

    def manifest(self, kind: str, recipe: str, artifact: str) -> Manifest | None:
        """The manifest of that name, or None where nothing is committed."""
        try:
            return read_record(self.store, f"{kind}/{recipe}/{artifact}.json", Manifest)
        except FileNotFoundError:
            return None

    def commit_manifest(
        self,
        plan: Plan,
        name: str,
        parts: Sequence[Part],
        *,
        quarantined: Sequence[Quarantined] = (),
        facts: Mapping[str, Any] | None = None,
        profile: Mapping[str, str] | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """Commit an artifact; returns the manifest that counts (another writer's, if it was first).

        Raises:
            InputError: Another writer committed other content under the same fingerprint.
        """
        # What is returned must equal what a later reader gets back from the JSON.
        plain = json.loads(json.dumps(dict(facts or {})))
        content = content_digest(plan.recipe.kind, parts, quarantined, plain)
        manifest = Manifest(
            format=plan.recipe.body()["format"],
            kind=plan.recipe.kind,
            name=name,
            recipe=plan.recipe.digest,
            recipe_body=plan.recipe.body(),
            inputs=dict(plan.inputs),
            artifact=plan.artifact,
            parts=list(parts),
            quarantined=list(quarantined),
            facts=plain,
            profile=dict(profile or {}),
            notes=dict(notes or {}),
            content=content,
        )
        key = f"{plan.recipe.kind}/{plan.recipe.digest}/{plan.artifact}.json"
        winner, _ = commit(self.store, key, manifest)
        if winner.content != content:
            raise InputError(
                "another writer committed other content under the same fingerprint",
                value=content,
                limit=winner.content,
                where=key,
                remedy="The two ran on machines of differing numeric profile, or a library changed between them",
            )
        return winner

    def siblings(self, manifest: Manifest) -> Iterator[Manifest]:
        """Every committed artifact of the same recipe, over whatever inputs (its own manifest among them)."""
        prefix = f"{manifest.kind}/{manifest.recipe}/"
        for key in self.store.list(prefix):
            if key.endswith(".json") and "/" not in key.removeprefix(prefix):
                yield read_record(self.store, key, Manifest)

    # Reading ------------------------------------------------------------------------------------------------------

    def read(self, part: Part) -> bytes:
        """The bytes of a part, refused if they are not those that were committed.

        Raises:
            InputError: The part is gone.
            DigestError: The part was altered.
        """
        try:
            data = self.root(part.root).read(part.key)
        except FileNotFoundError as error:
            raise InputError("a committed part is missing", where=part.key, remedy=_REDO) from error
        if sha256(data) != part.sha256:
            raise DigestError("a committed part was altered", where=part.key, remedy=_REDO)
        return data

    def checked(self, part: Part) -> Path | pa.Buffer:
        """A part to be read a bit at a time: its file or, where the store has none, its bytes; both were checked.

        Raises:
            InputError: The part is gone.
            DigestError: The part was altered.
        """
        path = self.root(part.root).local_path(part.key)
        if path is None:
            return pa.py_buffer(self.read(part))
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != part.sha256:
                raise DigestError("a committed part was altered", where=part.key, remedy=_REDO)
        return path

    def table(self, part: Part, columns: list[str] | None = None) -> pa.Table:
        """A part that is a Parquet table."""
        return from_parquet(self.read(part), columns)

    def tables(self, manifest: Manifest, prefix: str = "", columns: list[str] | None = None) -> pa.Table:
        """All Parquet parts whose name starts with ``prefix``, concatenated in the manifest's order."""
        parts = [part for part in manifest.parts if part.name.startswith(prefix) and part.name.endswith(".parquet")]
        return pa.concat_tables(self.each(parts, columns))

    def each(self, parts: Sequence[Part], columns: list[str] | None = None) -> list[pa.Table]:
        """Parts that are Parquet tables, in their order."""
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(lambda part: self.table(part, columns), parts))

    # Refs ---------------------------------------------------------------------------------------------------------

    def newest(self, name: str, recipe: str) -> Manifest | None:
        """The newest artifact of a recipe that a ref pointed to, or None."""
        ref = refs.newest(self.store, name, recipe)
        return None if ref is None else self.manifest(ref.kind, ref.recipe, ref.artifact)

    def advance(self, name: str, manifest: Manifest) -> int:
        """Point a ref at an artifact; returns the version."""
        target = refs.Ref(kind=manifest.kind, recipe=manifest.recipe, artifact=manifest.artifact)
        return refs.advance(self.store, name, target)


_REDO = "Restore it from a copy, or remove its receipt or manifest and run the stage again"


def _receipt_key(plan: Plan, shard: str) -> str:
    return f"{plan.recipe.kind}/{plan.recipe.digest}/receipts/{shard}.json"
