"""Which terms are tried, and whom they protect."""

import numpy as np

from neuroconcepts_ray.naming.text import terms
from neuroconcepts_ray.naming.vocabulary import Term, presence, vocabulary


def parsed(reports: list[str]) -> list[dict[str, str]]:
    return [terms(report, 4) for report in reports]  # type: ignore[misc]


def words(reports: list[str], **over: int) -> set[Term]:
    options = {"min_groups": 3, "max_terms": 100, "max_words": 3} | over
    return set(vocabulary(parsed(reports), **options))  # type: ignore[arg-type]


OTHERS = ["The lungs are clear."] * 5


def test_a_wording_that_fewer_patients_share_is_never_a_term() -> None:
    reports = ["Dextrocardia."] * 2 + ["Cardiomegaly."] * 3 + OTHERS
    assert Term("cardiomegaly", "present") in words(reports)
    assert Term("dextrocardia", "present") not in words(reports)


def test_what_nearly_all_patients_have_is_never_a_term() -> None:
    assert Term("cardiomegaly", "present") not in words(["Cardiomegaly."] * 8 + OTHERS[:2])


def test_affirmed_and_negated_mentions_are_separate_features_and_doubt_is_neither() -> None:
    reports = ["Edema."] * 3 + ["No edema."] * 4 + ["Possible edema."] * 5
    found = words(reports)
    assert {Term("edema", "present"), Term("edema", "absent")} <= found
    table = presence(parsed(reports), [Term("edema", "present"), Term("edema", "absent")])  # type: ignore[arg-type]
    np.testing.assert_array_equal(table.sum(axis=0), [3, 4])


def test_fragments_of_longer_terms_are_dropped_but_only_where_the_longer_one_is_nearly_always_there() -> None:
    reports = ["Pleural effusion."] * 6 + OTHERS
    assert words(reports) == {Term("pleural effusion", "present"), Term("lungs are clear", "present")}
    assert Term("effusion", "present") in words(reports + ["Pericardial effusion."] * 3)


def test_a_term_too_long_for_a_name_leaves_its_right_part() -> None:
    found = words(["Small left pleural effusion."] * 6 + OTHERS)
    assert Term("left pleural effusion", "present") in found
    assert Term("small left pleural", "present") not in found


def test_a_name_of_an_absence_says_so() -> None:
    assert Term("edema", "absent").name == "no edema"
