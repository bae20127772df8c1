"""From a report to its sections: what was found, what it means, and where there are none the narrative."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

# MIMIC-CXR writes "FINDINGS:", others "Findings:" or "Impression -": capitals, or a word that we know.
_KNOWN = (
    "findings|impression|impressions|conclusion|conclusions|indication|history|clinical history|clinical information|"
    "comparison|technique|examination|exam|reason for exam|reason for examination|recommendation|recommendations|"
    "notification|wet read|final report|addendum|procedure|study"
)
_HEADER = re.compile(rf"^[ \t]*(?:([A-Z][A-Z /,&()\-]{{2,60}})[ \t]*:|((?i:{_KNOWN}))[ \t]*:)[ \t]*", re.MULTILINE)
_TITLE = re.compile(r"^[ \t]*(?:FINAL REPORT|WET READ|EXAMINATION|PRELIMINARY REPORT)[ \t]*$", re.MULTILINE)
_BLANK = re.compile(r"\n[ \t]*\n")

_IMPRESSION = ("IMPRESSION", "IMPRESSIONS", "CONCLUSION", "CONCLUSIONS")
_FINDINGS = ("FINDINGS",)
_SECTIONS = frozenset(_KNOWN.upper().split("|"))


@dataclass(frozen=True)
class Sections:
    """The parts of a report that speak of the film; empty where it has none.

    Attributes:
        findings: All findings.
        impression: All impressions and conclusions.
        last_paragraph: The narrative of a report: its last block of text, unless that belongs to a section that says
            what was asked or known before.
    """

    findings: str
    impression: str
    last_paragraph: str

    @property
    def observations(self) -> str:
        """What names may be taken from: findings and impression together, else the last paragraph.

        Indication, history and comparison are what was asked or known before, not what the film shows.
        """
        return "\n\n".join(filter(None, (self.findings, self.impression))) or self.last_paragraph


def cut(report: str) -> Sections:
    """The sections of a report."""
    found = sections(report)
    findings, impression = (
        "\n\n".join(found[title] for title in titles if title in found) for titles in (_FINDINGS, _IMPRESSION)
    )
    title, body = next(reversed(found.items()), ("", ""))
    # Under another section's title only a paragraph of its own can be the narrative.
    asked = title in _SECTIONS - {*_FINDINGS, *_IMPRESSION}
    return Sections(findings, impression, "" if asked and not _BLANK.search(body) else last_paragraph(body))


def sections(report: str) -> dict[str, str]:
    """The sections of a report by upper-case title; text before the first title is under ``""``.

    A title that comes twice (an addendum's second impression) keeps both texts in order. Within findings and impression
    a title that is no section's ("LUNGS:") is a sub-heading and stays in the text.
    """
    report = _TITLE.sub("", report.replace("\r\n", "\n"))
    found: dict[str, str] = {}
    title, start = "", 0
    for match in [*_HEADER.finditer(report), None]:
        name = (match.group(1) or match.group(2)).strip().upper() if match else ""
        if match and title in (*_FINDINGS, *_IMPRESSION) and name not in _SECTIONS:
            continue
        body = report[start : match.start() if match else len(report)].strip()
        if body:
            found[title] = f"{found[title]}\n\n{body}" if title in found else body
        if match:
            title, start = name, match.end()
    return found


def last_paragraph(text: str) -> str:
    """The last block of text between blank lines."""
    blocks = [block.strip() for block in _BLANK.split(text.replace("\r\n", "\n")) if block.strip()]
    return blocks[-1] if blocks else ""


def report_table(reports: pa.Table, texts: Sequence[str]) -> pa.Table:
    """The rows of reports with their texts, whole and cut.

    Args:
        reports: study, sha256.
        texts: The text of each.

    Returns:
        study, text, findings, impression, last_paragraph (each empty where the report has none), sha256.
    """
    parts = [cut(text) for text in texts]
    columns = {
        "text": list(texts),
        "findings": [part.findings for part in parts],
        "impression": [part.impression for part in parts],
        "last_paragraph": [part.last_paragraph for part in parts],
    }
    strings = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    return pa.table({"study": reports["study"], **strings, "sha256": reports["sha256"]})


def section_counts(reports: pa.Table) -> dict[str, int]:
    """Reports with findings, with an impression, with both, with neither but a narrative, and empty ones."""

    def has(name: str) -> pa.ChunkedArray:
        return pc.not_equal(pc.utf8_trim_whitespace(reports[name]), "")

    findings, impression, narrative = has("findings"), has("impression"), has("last_paragraph")
    told = {
        "findings": findings,
        "impression": impression,
        "both": pc.and_(findings, impression),
        "narrative_only": pc.and_(pc.invert(pc.or_(findings, impression)), narrative),
        "empty": pc.invert(has("text")),
    }
    return {name: pc.sum(which).as_py() or 0 for name, which in told.items()}
