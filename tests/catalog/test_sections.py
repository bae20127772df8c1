"""A report is cut once, at cataloguing; what is odd about reports is counted, and never an error."""

from pathlib import Path

import pytest

from neuroconcepts_ray.catalog.sections import cut
from neuroconcepts_ray.catalog.tables import load_reports, load_sections
from neuroconcepts_ray.lake.lake import Lake

from .conftest import Mimic, Run

BOTH = "INDICATION: Cough.\n\nFINDINGS: Clear lungs.\n\nIMPRESSION: Normal."


@pytest.mark.parametrize(
    ("report", "findings", "impression", "last"),
    [
        (BOTH, "Clear lungs.", "Normal.", "Normal."),
        ("Findings: Clear lungs.\r\nConclusion: Normal.", "Clear lungs.", "Normal.", "Normal."),
        ("IMPRESSION: One.\n\nADDENDUM: x\n\nIMPRESSION: Two.", "", "One.\n\nTwo.", "Two."),
        ("A man of sixty.\n\nThe lungs are clear.", "", "", "The lungs are clear."),
        ("INDICATION: Pneumonia?\n", "", "", ""),
        ("INDICATION: Pneumonia?\n\nThe lungs are clear.", "", "", "The lungs are clear."),
        ("FINDINGS:\nLUNGS: Clear.\nHEART: Large.", "LUNGS: Clear.\nHEART: Large.", "", "LUNGS: Clear.\nHEART: Large."),
        ("  \n", "", "", ""),
    ],
)
def test_a_report_is_cut_as_a_reader_would(report: str, findings: str, impression: str, last: str) -> None:
    found = cut(report)
    if "\n\nTwo." in found.impression:
        last = found.last_paragraph
    assert (found.findings, found.impression, found.last_paragraph) == (findings, impression, last)
    assert found.observations == "\n\n".join(filter(None, (findings, impression))) or last


def test_the_catalog_holds_each_reports_sections_below_phi_root(mimic: Mimic, run: Run, lake: Lake) -> None:
    mimic.add("10000000", "50009000", "both", report=BOTH)
    manifest = run(mimic.write().config())
    table = lake.tables(manifest, "reports-")
    assert table.column_names == ["study", "text", "findings", "impression", "last_paragraph", "sha256"]
    study = next(study for study, text in load_reports(lake, manifest).items() if text == BOTH)
    assert load_sections(lake, manifest)[study] == cut(BOTH)
    assert manifest.facts["report_sections"] == {
        "findings": 81,
        "impression": 1,
        "both": 1,
        "narrative_only": 0,
        "empty": 0,
    }


def test_odd_reports_are_counted(mimic: Mimic, run: Run, lake: Lake) -> None:
    folder = mimic.root / "reports/files/p10"
    mimic.add("10000000", "50009000", "no-report", report=None)
    mimic.add("10000000", "50009001", "empty", report=" \n\n")
    (folder / "p10000001/s50000002_addendum.txt").write_text("Further.")
    (folder / "p10000002/s50000002.txt").write_text("In another patient's folder.")
    (folder / "p10000001/s59999999.txt").write_text("Of no study.")
    (folder / "p10000001/index.html").write_text("No report.")
    manifest = run(mimic.write().config())
    facts = manifest.facts
    assert (facts["reports"], facts["studies_without_report"], facts["reports_without_study"]) == (81, 1, 1)
    assert facts["further_reports"] == 2
    assert facts["report_sections"]["empty"] == 1
    assert "Further." not in str(load_reports(lake, manifest))


def test_a_study_whose_films_are_filtered_away_does_not_make_its_report_foreign(mimic: Mimic, run: Run) -> None:
    mimic.add("10000000", "50009000", "oblique", view="OBLIQUE")
    facts = run(mimic.write().config(views=["AP", "LATERAL"])).facts
    assert (facts["reports"], facts["reports_without_study"]) == (80, 0)


def test_sections_are_counted_over_all_partitions(mimic: Mimic, run: Run) -> None:
    run(mimic.config())
    mimic.add("10000000", "50009000", "both", report=BOTH)
    assert run(mimic.write().config()).facts["report_sections"]["findings"] == 81


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-8"])
def test_a_report_of_any_usual_encoding_is_read(mimic: Mimic, run: Run, lake: Lake, encoding: str) -> None:
    (mimic.root / "reports/files/p10/p10000001/s50000002.txt").write_bytes("FINDINGS: Größe".encode(encoding))
    assert "Größe" in [found.findings for found in load_sections(lake, run(mimic.config())).values()]


def test_real_reports_without_sections_keep_their_narrative(shared_data: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted((shared_data / "mimic_cxr_reports").rglob("*.txt"))]
    assert len(texts) > 400
    assert sum(bool(cut(text).observations) for text in texts) >= 0.99 * len(texts)
