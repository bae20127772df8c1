"""What must hold between the records of a lake, and between a record and its bytes; each check says what is wrong."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from neuroconcepts_ray.lake.manifest import Manifest, Part, Root, content_digest
from neuroconcepts_ray.lake.recipe import digest
from neuroconcepts_ray.lake.store import LocalStore, Store
from neuroconcepts_ray.lake.survey import REF, Survey, address

COPY = "Restore it from a copy"

UPSTREAM = {"pixels": "catalog", "activations": "catalog", "codes": "activations.", "index": "codes"}
"""The input that an artifact of a kind has one row an image of."""

ERASED = "erased"
"""Why a catalog has left images out whose rows still keep their places."""


@dataclass(frozen=True, order=True)
class Problem:
    """Something that is wrong.

    Attributes:
        root: Below which root.
        key: What it is about.
        what: What is wrong.
        remedy: What to do.
    """

    root: Root
    key: str
    what: str
    remedy: str


def receipt_key(part: Part) -> str:
    """Where the receipt of a part is, if it has one: shards of images do, and the files of an index's segments."""
    return f"{part.key.partition('/parts/')[0]}/receipts/{part.shard or part.name}.json"


def check_part(store: Store, part: Part) -> str | None:
    """What is wrong with the bytes of a part; None where nothing is.

    Args:
        store: The store of its root.
        part: The part.
    """
    path = store.local_path(part.key)
    try:
        if path is None:
            data = store.read(part.key)
            size, sha256 = len(data), hashlib.sha256(data).hexdigest()
        else:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
    except FileNotFoundError:
        return "a committed part is missing"
    if size != part.bytes:
        return f"a committed part has {size} bytes instead of {part.bytes}"
    if sha256 != part.sha256:
        return "a committed part was altered"
    if part.rows and part.key.endswith(".parquet"):
        try:
            rows = pq.read_metadata(path or pa.BufferReader(data)).num_rows
        except pa.ArrowInvalid:
            return "a committed part is no Parquet table"
        if rows != part.rows:
            return f"a table has {rows} rows instead of {part.rows}"
    return None


def check_manifest(found: Survey, key: str) -> Iterator[Problem]:
    """What is wrong with what a manifest says.

    Args:
        found: The lake's records.
        key: The manifest's key.
    """
    manifest = found.manifests[key]
    again = f"{COPY}; or remove it, and run the stage again: finished shards are kept"
    names = {
        "its key": (address(manifest), key),
        "its recipe": (manifest.recipe, digest(manifest.recipe_body)),
        "its fingerprint": (manifest.artifact, digest({"recipe": manifest.recipe, "inputs": manifest.inputs})),
        "its content": (
            manifest.content,
            content_digest(manifest.kind, manifest.parts, manifest.quarantined, manifest.facts),
        ),
    }
    for name, (says, is_) in names.items():
        if says != is_:
            yield Problem("lake", key, f"a manifest does not agree with {name}", again)
    for role, keys in found.inputs(key).items():
        if not keys:
            gone = manifest.inputs.get(role) or manifest.recipe_body.get("models", {}).get(role) or role
            yield Problem("lake", key, f"its input {role} is gone: no artifact has the content {gone}", COPY)
    for what in (*_receipts(found, manifest), *_counts(found, key)):
        yield Problem("lake", key, what, again)


def _receipts(found: Survey, manifest: Manifest) -> Iterator[str]:
    aside = []
    for part in manifest.parts:
        receipt = found.receipts.get(receipt_key(part))
        if receipt is None:
            if part.shard and receipt_key(part) not in found.damaged:
                yield f"the receipt of a shard is gone: {receipt_key(part)}"
            continue
        aside += receipt.quarantined
        if receipt.part != part:
            yield f"a receipt names another part than the manifest: {receipt_key(part)}"
    if any(part.shard for part in manifest.parts) and aside != manifest.quarantined:
        yield f"{len(manifest.quarantined)} images are set aside, but by its receipts {len(aside)}"


def _counts(found: Survey, key: str) -> Iterator[str]:
    manifest = found.manifests[key]
    if manifest.kind == "catalog":
        places = bool(manifest.facts.get("left_out", {}).get(ERASED))
        for starts in ("images-", "sources-"):
            rows = sum(part.rows for part in manifest.parts if part.name.startswith(starts))
            if rows != manifest.images and not (places and starts == "images-" and rows > (manifest.images or 0)):
                yield f"{rows} rows of {starts.rstrip('-')}, but {manifest.images} images"
        return
    starts = UPSTREAM.get(manifest.kind, "")
    if not starts or "parent" in manifest.inputs:  # a changed index has other images than its codes
        return
    above = [one for role, keys in found.inputs(key).items() if role.startswith(starts) for one in keys]
    if not above:
        return
    images = found.manifests[above[0]].images
    if manifest.kind == "index":
        rows = sum(int(count) for _, count in manifest.facts.get("segments", []))
    else:
        rows = manifest.images or 0
    aside, above_it = len(manifest.quarantined), starts.rstrip(".")
    if rows + aside != images:
        yield f"{rows} rows and {aside} images set aside do not add up to the {images} images of its {above_it}"


def check_refs(found: Survey) -> Iterator[Problem]:
    """Versions that are missing, and refs whose newest version points to nothing.

    Older versions may point to what `gc` has let go of.
    """
    there: dict[str, set[int]] = {name: set(numbers) for name, numbers in found.refs.items()}
    for match in filter(None, map(REF.match, found.damaged)):
        there.setdefault(match["name"], set()).add(int(match["number"]))
    for name, numbers in there.items():
        for number in sorted(set(range(1, max(numbers) + 1)) - numbers):
            yield Problem("lake", f"refs/{name}/{number}.json", "a version of a ref is missing", COPY)
    for name, versions in found.refs.items():
        number, at = max(versions), address(versions[max(versions)])
        if not any(at in records for records in (found.manifests, found.damaged, found.older)):
            what = f"a ref points to an artifact that is gone: {at}"
            yield Problem("lake", f"refs/{name}/{number}.json", what, f"{COPY}; or run the stage again")


def check_phi(phi: Store) -> Iterator[Problem]:
    """Whether others than its owner may enter the PHI root, where that can be told."""
    if isinstance(phi, LocalStore) and phi.root.exists() and phi.root.stat().st_mode & 0o077:
        mode = f"{phi.root.stat().st_mode & 0o777:o}"
        yield Problem("phi", ".", f"others than its owner may enter the PHI root (mode {mode})", "chmod 700 it")
