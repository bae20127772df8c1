"""What a report says, and what it only denies, doubts or was asked."""

from pathlib import Path

import pytest

from neuroconcepts_ray.catalog.sections import cut
from neuroconcepts_ray.naming import text

REPORT = """
                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with fever // eval for pneumonia

 COMPARISON:  Chest radiograph from ___

 FINDINGS:

 PA and lateral views of the chest provided. There is a small left pleural
 effusion. No focal consolidation, or pneumothorax.
 LUNGS: Clear bases.

 IMPRESSION:

 1. Small left pleural effusion.
 2. No pneumothorax.

 NOTIFICATION:  Discussed with Dr. ___ by telephone at 3:15 pm.
"""

# sentence, term, its polarity
CASES = [
    ("There is a small pleural effusion.", "pleural effusion", "affirmed"),
    ("No pleural effusion.", "pleural effusion", "negated"),
    ("There is no evidence of pneumothorax.", "pneumothorax", "negated"),
    ("No focal consolidation, pleural effusion, or pneumothorax.", "focal consolidation", "negated"),
    ("No focal consolidation, pleural effusion, or pneumothorax.", "pneumothorax", "negated"),
    ("No pneumothorax, heart is enlarged.", "heart is enlarged", "affirmed"),
    ("No pneumothorax, mild cardiomegaly.", "cardiomegaly", "affirmed"),
    ("No pneumothorax but there is cardiomegaly.", "cardiomegaly", "affirmed"),
    ("No pneumothorax and the heart is enlarged.", "heart", "affirmed"),
    ("Cardiomegaly without pulmonary edema.", "cardiomegaly", "affirmed"),
    ("Cardiomegaly without pulmonary edema.", "pulmonary edema", "negated"),
    ("Pleural effusion is not seen.", "pleural effusion", "negated"),
    ("Effusion, consolidation and pneumothorax are absent.", "effusion", "negated"),
    ("The heart is enlarged and pleural effusion is not seen.", "pleural effusion", "negated"),
    ("The heart is enlarged and pleural effusion is not seen.", "heart is enlarged", "affirmed"),
    ("The pneumothorax has resolved.", "pneumothorax", "negated"),
    ("Pneumothorax is no longer seen.", "pneumothorax", "negated"),
    ("The lungs are free of consolidation.", "consolidation", "negated"),
    ("Neither effusion nor pneumothorax.", "pneumothorax", "negated"),
    ("No interval change in the pleural effusion.", "pleural effusion", "affirmed"),
    ("Without change in cardiomegaly.", "cardiomegaly", "affirmed"),
    ("No increase in pulmonary edema.", "pulmonary edema", "affirmed"),
    ("Possible pneumonia.", "pneumonia", "uncertain"),
    ("Opacity, likely atelectasis.", "atelectasis", "uncertain"),
    ("Opacity, likely atelectasis.", "opacity", "affirmed"),
    ("Findings may represent pneumonia.", "pneumonia", "uncertain"),
    ("Cannot exclude pneumonia.", "pneumonia", "uncertain"),
    ("Pneumonia cannot be excluded.", "pneumonia", "uncertain"),
    ("Pneumonia is not excluded.", "pneumonia", "uncertain"),
    ("No effusion, possible pneumonia.", "effusion", "negated"),
    ("No effusion, possible pneumonia.", "pneumonia", "uncertain"),
    ("Pneumonia is unlikely.", "pneumonia", "negated"),
    ("No opacity consistent with pneumonia.", "pneumonia", "negated"),
    ("No definite pneumothorax.", "pneumothorax", "negated"),
    ("No effusion. Pneumothorax on the right.", "pneumothorax", "affirmed"),
    ("Possible effusion. There is effusion.", "effusion", "affirmed"),
    ("No effusion. Possible effusion.", "effusion", "uncertain"),
    ("Tip of the tube is low.", "tip of the", None),
    ("No pleural effusion.", "no pleural", None),
    ("Effusion, opacity.", "effusion opacity", None),
    ("Unchanged pleural effusion compared to prior.", "compared", None),
    ("Unchanged pleural effusion compared to prior.", "unchanged pleural", None),
    ("Nodule of 3.5 cm.", "nodule of", None),
    ("Moderate left effusion.", "moderate left", None),
    ("Moderate left effusion.", "moderate left effusion", "affirmed"),
]


@pytest.mark.parametrize(("sentence", "term", "polarity"), CASES)
def test_a_term_has_the_polarity_that_a_reader_gives_it(sentence: str, term: str, polarity: str | None) -> None:
    assert text.terms(sentence).get(term) == polarity


def test_only_findings_and_impression_give_terms() -> None:
    found = text.terms(cut(REPORT).observations)
    assert found["pleural effusion"] == "affirmed"
    assert found["small left pleural"] == "affirmed"
    assert found["pneumothorax"] == "negated"
    assert found["focal consolidation"] == "negated"
    assert found["clear bases"] == "affirmed"
    words = {word for term in found for word in term.split()}
    assert not words & {"pneumonia", "fever", "final", "report", "views", "telephone", "comparison", "impression"}


def test_a_question_in_the_indication_is_no_observation() -> None:
    assert text.terms(cut("INDICATION: Pneumonia?\n").observations) == {}
    assert "pneumonia" not in text.terms(cut("INDICATION: Pneumonia?\n\nThe lungs are clear.").observations)
    assert "lungs are clear" in text.terms(cut("INDICATION: Pneumonia?\n\nThe lungs are clear.").observations)


def test_numbers_dates_and_blanked_names_never_become_terms() -> None:
    found = text.terms("Line 12 placed on 2/3/2020 by ___ near vein.")
    assert not any(char.isdigit() or char == "_" for term in found for char in term)
    assert "near vein" in found


def test_real_reports_parse_into_bounded_clean_terms(shared_data: Path) -> None:
    for path in sorted((shared_data / "mimic_cxr_reports").rglob("*.txt"))[:100]:
        for term in text.terms(cut(path.read_text(encoding="utf-8", errors="replace")).observations):
            parts = term.split()
            assert 1 <= len(parts) <= 3
            assert parts[0] not in text.words.STOP and parts[-1] not in text.words.STOP


def test_polarities_agree_with_what_the_authors_of_the_phantoms_reports_meant() -> None:
    """An independent author's grammar: what it affirms, denies or suspects is read as such."""
    from neuroconcepts_ray.phantom.config import PhantomConfig
    from neuroconcepts_ray.phantom.draw import draw_patient
    from neuroconcepts_ray.phantom.meaning import denotes
    from neuroconcepts_ray.phantom.reports import write_report

    words = {1.0: "affirmed", 0.0: "negated", -1.0: "uncertain"}
    turned = {"affirmed": "negated", "negated": "affirmed"}
    seen = {polarity: 0 for polarity in words.values()}
    for seed in (7, 8):
        config = PhantomConfig(seed=seed, uncertain=0.3)
        for index in range(60):
            patient = draw_patient(config, index)
            for study in patient.studies:
                report = write_report(config, patient, study)
                found = text.terms(cut(report.text).observations)
                for finding, value in report.intended.items():
                    # "The heart is normal" affirms a wording that speaks of the finding's absence.
                    said = [(denotes(term)[finding], p) for term, p in found.items() if finding in denotes(term)]
                    polarities = {p if there or p == "uncertain" else turned[p] for there, p in said}
                    if finding != "No Finding":
                        assert polarities == {words[value]}, (finding, value, report.text)
                        seen[words[value]] += 1
    assert min(seen.values()) > 50
