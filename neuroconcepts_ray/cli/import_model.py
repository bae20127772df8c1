"""The verb import-model: settings from the command line, a report of every label's difference, a folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from neuroconcepts_ray.classifier import parity
from neuroconcepts_ray.classifier.bring import Imported, bring, check_free, write
from neuroconcepts_ray.classifier.brought import file_sha256
from neuroconcepts_ray.classifier.card import Card
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError


def import_model(
    source: Path,
    *,
    settings: Mapping[str, Any],
    prefix: str,
    reference: Path | None,
    images: Path | None,
    image_column: str,
    reference_tensors: Path | None,
    tolerance: float,
    output: Path,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Import a model, print how far it is from its references, and write its folder.

    Raises:
        NeuroconceptsError: It is refused; nothing is written then.
    """
    card = card_of(settings)
    if reference is None and reference_tensors is None:
        raise ConfigError(
            "an import needs something to prove it by",
            where="--reference, --reference-tensors",
            remedy="Give a table of images with the original's logits, tensors with its logits, or both",
        )
    check_free(output)
    by_images = by_tensors = None
    digests = {}
    if reference is not None:
        by_images = parity.read_table(reference, images or reference.parent, image_column, card.labels)
        digests["reference"] = file_sha256(reference)
    if reference_tensors is not None:
        by_tensors = parity.read_tensors(reference_tensors, len(card.labels))
        digests["reference_tensors"] = file_sha256(reference_tensors)
    imported = bring(
        source, card, prefix=prefix, images=by_images, tensors=by_tensors, digests=digests, tolerance=tolerance
    )
    written = imported.refusal is None and not dry_run
    if as_json:
        print(json.dumps(plain(imported, output, written=written), indent=1))  # noqa: T201 - the product
    else:
        Console().print(render(imported))
    if imported.refusal is not None:
        raise imported.refusal
    if written:
        write(imported, output)
    if not as_json:
        said = f"Written to {output}" if written else f"Would be written to {output} (--dry-run)"
        Console(soft_wrap=True, highlight=False, markup=False).print(f"{said}. In the pipeline's file:\n")
        Console(soft_wrap=True, highlight=False, markup=False).print(
            f"    classifier:\n      weights: {output.absolute()}"
        )


def card_of(settings: Mapping[str, Any]) -> Card:
    """The card that the options of the command line describe.

    Raises:
        ConfigError: They are wrong, or name no network or two.
    """
    if (settings["backbone"] is None) == (settings["factory"] is None):
        raise ConfigError("which network is it?", where="--timm, --factory", remedy="Give one of the two")
    labels = [label.strip() for label in settings["labels"].split(",")]
    if "" in labels or len(set(labels)) < len(labels):
        raise ConfigError("labels must be distinct and none empty", value=settings["labels"], where="--labels")
    try:
        kwargs = json.loads(settings["backbone_kwargs"])
    except ValueError as error:
        raise ConfigError("this is not JSON", value=settings["backbone_kwargs"], where="--kwargs") from error
    numbers = {name: _numbers(settings[name], f"--{name}") for name in ("mean", "std")}
    return validate(Card, {**settings, **numbers, "labels": labels, "backbone_kwargs": kwargs, "d": 0})


def _numbers(text: str, where: str) -> list[float]:
    try:
        return [float(one) for one in text.split(",")]
    except ValueError as error:
        raise ConfigError("numbers are separated by commas", value=text, where=where) from error


def plain(imported: Imported, output: Path, *, written: bool) -> dict[str, Any]:
    """An import as plain data; differences that are not finite are null."""
    found: dict[str, Any] = {
        "folder": str(output),
        "written": written,
        "refused": None if imported.refusal is None else imported.refusal.message,
        "card": json.loads(imported.card.to_json()),
    }
    for name, one in (("images", imported.images), ("tensors", imported.tensors)):
        if one is not None:
            found[name] = one.to_dict(imported.card.labels)
            for figures in found[name]["labels"].values():
                figures.update({key: None for key, value in figures.items() if value != value})
    return found


def render(imported: Imported) -> Group:
    """The differences as a table, and what was not looked at."""
    card = imported.card
    title = (
        f"{card.network}: head {card.head}, {card.d} to {len(card.labels)}; |difference| of logits from the original's"
    )
    view = Table(title=title, title_justify="left")
    view.add_column("label")
    given = {"images": imported.images, "tensors": imported.tensors}
    columns = []
    for name, one in given.items():
        if one is not None:
            view.add_column(f"max, {one.rows} {name}", justify="right")
            view.add_column("mean", justify="right")
            columns += [one.largest, one.mean]
    for number, label in enumerate(card.labels):
        view.add_row(Text(label), *(f"{column[number]:.2e}" for column in columns))
    lines = []
    if imported.images is None:
        lines.append(Text("Preprocessing was not looked at: that takes a --reference of image files."))
    return Group(view, *lines)
