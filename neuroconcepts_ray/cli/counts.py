"""What a catalog holds, for people: counts, roles, what was left out, labels, columns, and what is published."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from neuroconcepts_ray.catalog.archive import LABEL_KINDS
from neuroconcepts_ray.catalog.tables import caveats

MOST_WORDS = 8
"""Words of a column that are shown, the most frequent ones."""


_TWINS = {
    "pairs": "pairs of the same film",
    "pairs_across_groups": "of these under several patients",
    "moved_groups": "patients whose role is another's with the same film",
    "crowd_images": "images alike under too many patients, which join nobody",
    "unseen": "images that show nothing, compared by their bytes alone",
}
"""What is told of films that an archive holds more than once."""


@dataclass(frozen=True)
class Comparison:
    """A count of ours beside the one that an archive's makers publish."""

    name: str
    ours: int
    published: int

    @property
    def verdict(self) -> str:
        """The comparison in words; more than there can be is a warning."""
        if self.ours == self.published:
            return "all"
        if self.ours > self.published:
            return f"WARNING: {self.ours - self.published} more than published; is something foreign, or in it twice?"
        return f"{100 * self.ours / self.published:.2g} % of the published"


def compare(facts: Mapping[str, Any]) -> list[Comparison]:
    """Each published count beside ours, parts only where the published split is the one used.

    Args:
        facts: The facts of a catalog's manifest.
    """
    ours: dict[str, int] = {name: facts[name] for name in ("images", "studies", "groups")}
    if facts["split"] == "published":
        ours |= {f"images of {part}": facts["parts"].get(part, 0) for part in ("train", "validate", "test")}
    ours |= {f"label {label}": counts["present"] for label, counts in facts["label_counts"].items()}
    published = facts["published_counts"]
    return [Comparison(name, ours[name], published[name]) for name in published if name in ours]


def render(facts: Mapping[str, Any]) -> Group:
    """The facts of a catalog as tables of rich, and below them what every score over it must say.

    Args:
        facts: The facts of a catalog's manifest.
    """
    by = facts["grouped_by"]
    counts = {"images": "images", "studies": "studies", "groups": f"groups (by {by})", "reports": "reports"}
    rows: list[tuple[str, Any]] = [(shown, facts[name]) for name, shown in counts.items()]
    rows += [(f"role {role}", count) for role, count in facts["roles"].items()]
    rows += [(f"left out: {reason}", count) for reason, count in facts["left_out"].items() if count]
    told = {"ungrouped": "images whose patient is not known", "unlabelled_studies": "studies without labels"}
    if facts["reports"]:
        told["studies_without_report"] = "studies without a report"
    told |= {"reports_without_study": "reports of no study here", "further_reports": "further reports of a study"}
    rows += [(shown, facts[name]) for name, shown in told.items() if facts.get(name)]
    twins = facts.get("near_duplicates", {})
    rows += [(shown, twins[name]) for name, shown in _TWINS.items() if twins.get(name)]
    rows += [(name.replace("_", " "), count) for name, count in facts["counted"].items() if count]
    if facts["split_file"]:
        split = facts["split_file"]
        rows += [(f"ids of the split file ({split['by']})", split["ids"])]
        rows += [("of these not in the archive", split["not_in_archive"])]
    pieces: list[Table | Text] = [_table("", ("what", "count"), rows)]
    if facts["labels"]:
        headings = ("label", *LABEL_KINDS)
        pieces.append(_table("Labels, as the archive has them", headings, _labels(facts["label_counts"])))
    else:
        pieces.append(Text("No labels: weights brought along can be mined, none can be trained."))
    if facts["columns"]:
        pieces.append(_table("Columns", ("column", "unknown", "values"), _columns(facts["columns"]), left=(0, 2)))
    found = compare(facts)
    if found:
        lines = [(one.name, one.ours, one.published, one.verdict) for one in found]
        pieces.append(_table("Beside what is published", ("count", "here", "published", ""), lines, left=(0, 3)))
    return Group(*pieces, *(Text(line) for line in caveats(facts)))


def _labels(counts: Mapping[str, Mapping[str, int]]) -> Iterable[tuple[Any, ...]]:
    return [(label, *(kinds[kind] for kind in LABEL_KINDS)) for label, kinds in counts.items()]


def _columns(columns: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[Any, ...]]:
    for name, held in columns.items():
        if "least" in held:
            yield name, held["unknown"], f"{held['least']:g} to {held['most']:g}"
            continue
        words = sorted(held["words"].items(), key=lambda item: (-item[1], item[0]))
        hidden = max(0, len(words) - MOST_WORDS) + held.get("more", 0)
        more = f", {hidden} more" if hidden else ""
        yield name, held["unknown"], ", ".join(f"{word} {count}" for word, count in words[:MOST_WORDS]) + more


def _table(
    title: str, headings: tuple[str, ...], rows: Iterable[tuple[Any, ...]], left: tuple[int, ...] = (0,)
) -> Table:
    view = Table(box=None, pad_edge=False, title=title or None, title_justify="left")
    for place, heading in enumerate(headings):
        view.add_column(heading, justify="left" if place in left else "right")
    for row in rows:
        view.add_row(*(Text(str(value)) for value in row))
    return view
