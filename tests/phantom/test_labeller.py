"""The labeller reads general radiology wording, and the grammar's reports nearly as their author meant them."""

import tarfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import draw_patient
from neuroconcepts_ray.phantom.labeller import label_report, label_sentence, observations, sentences
from neuroconcepts_ray.phantom.mentions import LABELS
from neuroconcepts_ray.phantom.reports import write_report

# Sentences as radiologists write them, none of the grammar's; present, absent, uncertain.
CASES: list[tuple[str, str, str, str]] = [
    ("There is a small left pleural effusion.", "Pleural Effusion", "", ""),
    ("Moderate right-sided pleural effusion with adjacent atelectasis.", "Pleural Effusion, Atelectasis", "", ""),
    ("No effusion, pneumothorax or consolidation.", "", "Pleural Effusion, Pneumothorax, Consolidation", ""),
    ("No consolidation, effusion, or pneumothorax is seen.", "", "Consolidation, Pleural Effusion, Pneumothorax", ""),
    ("There is no evidence of pneumonia or overt pulmonary edema.", "", "Pneumonia, Edema", ""),
    ("Lungs are well expanded without focal consolidation.", "", "Consolidation", ""),
    ("Cardiomegaly without pulmonary edema.", "Cardiomegaly", "Edema", ""),
    ("The lungs are free of nodules.", "", "Lung Lesion", ""),
    ("A developing pneumonia cannot be excluded.", "", "", "Pneumonia"),
    ("Cannot exclude a small pneumothorax.", "", "", "Pneumothorax"),
    ("Superimposed infection is not entirely excluded.", "", "", "Pneumonia"),
    ("Previously seen right pneumothorax has resolved.", "", "Pneumothorax", ""),
    ("Interval resolution of the left pleural effusion.", "", "Pleural Effusion", ""),
    ("The pneumothorax is no longer visible.", "", "Pneumothorax", ""),
    ("Right basilar opacity may represent atelectasis or pneumonia.", "Lung Opacity", "", "Atelectasis, Pneumonia"),
    ("Retrocardiac opacity, likely atelectasis.", "Lung Opacity", "", "Atelectasis"),
    ("Bibasilar atelectasis versus consolidation.", "", "", "Atelectasis, Consolidation"),
    ("The heart is mildly enlarged.", "Cardiomegaly", "", ""),
    ("Heart size is within normal limits.", "", "Cardiomegaly", ""),
    ("The cardiac silhouette is not enlarged.", "", "Cardiomegaly", ""),
    ("The heart is top normal in size.", "", "Cardiomegaly", ""),
    ("Cardiomediastinal silhouette is normal.", "", "Enlarged Cardiomediastinum", ""),
    ("Normal cardiomediastinal contours.", "", "Enlarged Cardiomediastinum", ""),
    ("The cardiac and mediastinal silhouettes are unremarkable.", "", "Cardiomegaly, Enlarged Cardiomediastinum", ""),
    ("The heart is enlarged with normal mediastinal contours.", "Cardiomegaly", "Enlarged Cardiomediastinum", ""),
    ("The heart is normal without large effusion.", "", "Cardiomegaly, Pleural Effusion", ""),
    ("Widening of the superior mediastinum.", "Enlarged Cardiomediastinum", "", ""),
    ("The mediastinum appears widened.", "Enlarged Cardiomediastinum", "", ""),
    ("Heart size is normal and there is no pleural effusion.", "", "Cardiomegaly, Pleural Effusion", ""),
    ("No pneumothorax, mild cardiomegaly.", "Cardiomegaly", "Pneumothorax", ""),
    ("No pneumothorax but a small effusion persists.", "Pleural Effusion", "Pneumothorax", ""),
    ("No acute rib fracture.", "", "Fracture", ""),
    ("Healed left rib fractures.", "Fracture", "", ""),
    ("A 9 mm nodule projects over the right upper lobe.", "Lung Lesion", "", ""),
    ("Multiple pulmonary metastases.", "Lung Lesion", "", ""),
    ("Sclerotic bone lesion in the humerus.", "", "", ""),
    ("No suspicious pulmonary nodule or mass.", "", "Lung Lesion", ""),
    ("Endotracheal tube terminates 4 cm above the carina.", "Support Devices", "", ""),
    ("Left-sided dual-lead pacemaker with leads in expected position.", "Support Devices", "", ""),
    ("The right internal jugular catheter has been removed.", "", "Support Devices", ""),
    ("Interval removal of the endotracheal tube.", "", "Support Devices", ""),
    ("Interval placement of a right chest tube; no pneumothorax.", "Support Devices", "Pneumothorax", ""),
    ("No significant change in moderate cardiomegaly.", "Cardiomegaly", "", ""),
    ("Pleural effusions are not significantly changed.", "Pleural Effusion", "", ""),
    ("Without interval change in the left apical pneumothorax.", "Pneumothorax", "", ""),
    ("No new consolidation.", "", "Consolidation", ""),
    ("Interval increase in the right pleural effusion.", "Pleural Effusion", "", ""),
    ("Pulmonary edema has improved.", "Edema", "", ""),
    ("Pulmonary vascular congestion is unchanged.", "Edema", "", ""),
    ("Possible small left pleural effusion.", "", "", "Pleural Effusion"),
    ("Findings concerning for pneumonia.", "", "", "Pneumonia"),
    ("Questionable nodule at the left apex.", "", "", "Lung Lesion"),
    ("There may be a trace right effusion.", "", "", "Pleural Effusion"),
    ("Pneumonia is unlikely.", "", "Pneumonia", ""),
    ("Mild pulmonary edema is suspected.", "", "", "Edema"),
    ("Blunting of the left costophrenic angle.", "Pleural Effusion", "", ""),
    ("The costophrenic angles are sharp without blunting of the costophrenic angle.", "", "Pleural Effusion", ""),
    ("Biapical pleural thickening.", "Pleural Other", "", ""),
    ("Calcified pleural plaques are again seen.", "Pleural Other", "", ""),
    ("No pericardial effusion can be judged on this film.", "", "", ""),
    ("History of pneumonia.", "", "Pneumonia", ""),
    ("Compared to the prior study, the effusion has decreased.", "Pleural Effusion", "", ""),
    ("Effusion, consolidation and pneumothorax are absent.", "", "Pleural Effusion, Consolidation, Pneumothorax", ""),
    ("Neither effusion nor pneumothorax.", "", "Pleural Effusion, Pneumothorax", ""),
    ("Opacity consistent with pneumonia.", "Lung Opacity, Pneumonia", "", ""),
    ("The heart is enlarged and pleural effusion is not seen.", "Cardiomegaly", "Pleural Effusion", ""),
    ("Negative for pneumothorax or fracture.", "", "Pneumothorax, Fracture", ""),
    ("Left lower lobe collapse.", "Atelectasis", "", ""),
    ("Low lung volumes accentuate the bronchovascular markings.", "", "", ""),
]  # fmt: skip


def read(sentence: str, reader: str = "chexpert") -> dict[str, float]:
    found = label_report(f"FINDINGS:\n\n {sentence}\n", reader)
    found.pop("No Finding", None)
    return found


@pytest.mark.parametrize(("sentence", "present", "absent", "uncertain"), CASES, ids=[case[0] for case in CASES])
def test_general_wording_is_read_as_a_radiologist_would(
    sentence: str, present: str, absent: str, uncertain: str
) -> None:
    expected = {
        label: value
        for names, value in ((present, 1.0), (absent, 0.0), (uncertain, -1.0))
        for label in filter(None, names.split(", "))
    }
    assert read(sentence) == expected


def test_a_report_is_cut_into_what_is_observed_and_what_was_asked() -> None:
    report = """
                                 FINAL REPORT
 EXAMINATION:  CHEST (PORTABLE AP)

 INDICATION:  ___ year old man with pneumonia // eval for pneumothorax

 COMPARISON:  Effusion on the radiograph from ___.

 FINDINGS:

 LUNGS AND PLEURA: Small left
 effusion. Nodule of 3.5 cm.
 DEVICES: None.

 IMPRESSION:

 1. Small left pleural effusion
 2. No fracture

 NOTIFICATION:  Dr. ___ was told of the consolidation.
"""
    assert label_report(report) == {"Fracture": 0.0, "Lung Lesion": 1.0, "Pleural Effusion": 1.0}
    assert "pneumonia" not in observations(report)
    assert sentences(observations(report))[:2] == ["small left effusion", "nodule of 3.5 cm"]


def test_a_report_without_titles_is_its_last_paragraph() -> None:
    assert label_report("Portable chest, rule out edema.\n\nThere is mild edema.") == {"Edema": 1.0}
    assert label_report("") == {"No Finding": 1.0}


def test_affirmed_wins_over_doubted_and_doubted_over_denied() -> None:
    assert read("No effusion. Possible effusion.") == {"Pleural Effusion": -1.0}
    assert read("Possible effusion. Left effusion. No effusion on the right.") == {"Pleural Effusion": 1.0}


@pytest.mark.parametrize(
    ("sentence", "healthy"),
    [
        ("No pneumothorax.", True),
        ("Pacemaker.", True),
        ("The lungs are clear.", True),
        ("Possible pneumothorax.", False),
        ("Opacity in the left lung.", False),
    ],
)
def test_no_finding_is_nothing_present_or_doubted_but_devices(sentence: str, healthy: bool) -> None:
    assert (label_report(f"IMPRESSION: {sentence}").get("No Finding") == 1.0) is healthy


@pytest.mark.parametrize(
    ("sentence", "chexpert", "negbio"),
    [
        ("Probable edema.", -1.0, 1.0),
        ("Edema is suspected.", -1.0, 1.0),
        ("Edema is unlikely.", 0.0, -1.0),
        ("Edema cannot be excluded.", -1.0, -1.0),
        ("No edema.", 0.0, 0.0),
        ("Mild edema.", 1.0, 1.0),
    ],
)
def test_the_two_readers_differ_in_doubt_alone(sentence: str, chexpert: float, negbio: float) -> None:
    assert read(sentence)["Edema"] == chexpert
    assert read(sentence, "negbio")["Edema"] == negbio


def test_a_sentence_is_read_alike_wherever_it_stands() -> None:
    assert label_sentence("no edema", "chexpert") == (("Edema", 0.0),)
    assert read("No edema. Mild cardiomegaly.") == read("Mild cardiomegaly. No edema.")


def test_the_grammar_is_read_nearly_as_its_author_meant_it() -> None:
    agreed: Counter[str] = Counter()
    total = 0
    for seed in (1, 2, 3):
        config = PhantomConfig(seed=seed)
        for index in range(110):
            patient = draw_patient(config, index)
            for study in patient.studies:
                report = write_report(config, patient, study)
                found = label_report(report.text)
                agreed.update(label for label in LABELS if found.get(label) == report.intended.get(label))
                total += 1
    shares = {label: agreed[label] / total for label in LABELS}
    assert total > 600
    assert min(shares.values()) >= 0.97, shares
    # It errs where real ones do: at words that it does not know.
    assert min(shares.values()) < 1


INDEXED = {
    "Atelectasis": ("Pulmonary Atelectasis",),
    "Cardiomegaly": ("Cardiomegaly",),
    "Lung Opacity": ("Opacity", "Infiltrate"),
    "Pleural Effusion": ("Pleural Effusion",),
}


def test_real_reports_are_read_as_the_librarians_indexed_them(shared_data: Path) -> None:
    """Every third of Indiana University's reports; its MeSH terms were assigned by people who read them."""
    seen: Counter[tuple[str, bool, bool]] = Counter()
    named = 0
    with tarfile.open(shared_data / "reports_iu/NLMCXR_reports.tgz") as archive:
        for member in [member for member in archive.getmembers() if member.name.endswith(".xml")][::3]:
            file = archive.extractfile(member)
            assert file is not None
            tree = ElementTree.fromstring(file.read())  # noqa: S314 - a known file
            parts = {part.get("Label"): part.text or "" for part in tree.iter("AbstractText")}
            terms = {(term.text or "").partition("/")[0] for term in tree.iter("major")}
            found = label_report(f"FINDINGS: {parts.get('FINDINGS')}\n\nIMPRESSION: {parts.get('IMPRESSION')}\n")
            for label, names in INDEXED.items():
                seen[label, not terms.isdisjoint(names), found.get(label) == 1.0] += 1
            named += "Pleural Effusion" not in terms and "Pleural Effusion" in found
    for label in INDEXED:
        sick, well = (seen[label, there, True] + seen[label, there, False] for there in (True, False))
        assert sick > 40
        # What is probable to the radiologist is indexed as there, and is in doubt to the labeller.
        assert seen[label, True, True] > 0.8 * sick
        assert seen[label, False, False] > 0.96 * well
    # The control, a reader who knows no negation: he would find an effusion in most of those without one.
    assert named > 0.5 * (seen["Pleural Effusion", False, False] + seen["Pleural Effusion", False, True])
