"""One film under two patients never stands on both sides of a wall: joined, refused, or left out, and always told."""

import io
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconcepts_ray.catalog.config import ROLES, CatalogConfig
from neuroconcepts_ray.catalog.joined import MOST_GROUPS, Known, settle
from neuroconcepts_ray.catalog.roles import check_disjoint
from neuroconcepts_ray.catalog.tables import load_catalog, load_duplicates
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import LeakageError
from neuroconcepts_ray.lake.lake import Lake

from .conftest import Mimic, Run, chest


def copy(number: int, quality: int = 90) -> bytes:
    sink = io.BytesIO()
    chest(number).save(sink, "JPEG", quality=quality)
    return sink.getvalue()


def role_of(lake: Lake, manifest: object, image: str) -> str:
    catalog = load_catalog(lake, manifest)  # type: ignore[arg-type]
    return str(catalog.roles[list(catalog.image_ids).index(image)])


@pytest.fixture
def covid(mimic: Mimic) -> Mimic:
    """As in the covid set: two patients are the same four films under two ids; one is in train, the other in test."""
    for at in range(4):
        mimic.add("20000001", f"5100000{at}", f"first-{at}", split="train", data=copy(at))
        mimic.add("20000002", f"5200000{at}", f"second-{at}", split="test", data=copy(at, 60))
    return mimic.write()


def test_two_patients_with_the_same_films_get_the_role_nearest_to_fit(covid: Mimic, run: Run, lake: Lake) -> None:
    manifest = run(covid.config())
    catalog = load_catalog(lake, manifest)
    roles = {
        str(role) for image, role in zip(catalog.image_ids, catalog.roles, strict=True) if image[:2] in ("fi", "se")
    }
    assert len(roles) == 1
    assert roles <= {"fit", "probe"}
    told = manifest.facts["near_duplicates"]
    assert (told["pairs_across_groups"], told["pairs_across_roles"]) == (4, 4)
    assert (told["joined_groups"], told["sets_of_groups"], told["moved_groups"], told["moved_images"]) == (2, 1, 1, 4)
    pairs = load_duplicates(lake, manifest).to_pydict()
    assert set(zip(pairs["image_id"], pairs["other"], strict=True)) == {
        (f"first-{at}", f"second-{at}") for at in range(4)
    }
    assert all(part.root == "lake" for part in manifest.parts if part.name.startswith("duplicates-"))


def test_refuse_counts_the_films_and_names_nobody(covid: Mimic, run: Run) -> None:
    with pytest.raises(LeakageError, match=r"4 pairs of films.*near_duplicates: join") as caught:
        run(covid.config(near_duplicates="refuse"))
    assert "2000000" not in caught.value.message


def test_keep_decodes_nothing_and_says_so(covid: Mimic, run: Run, lake: Lake) -> None:
    manifest = run(covid.config(near_duplicates="keep"))
    assert manifest.facts["near_duplicates"]["mode"] == "keep"
    assert role_of(lake, manifest, "second-0") == "test"
    assert load_duplicates(lake, manifest).num_rows == 0
    assert not list(lake.phi.list("catalog/catalog-mimic-cxr-jpg/looks"))


def test_the_same_bytes_are_the_same_film_even_where_they_cannot_be_decoded(mimic: Mimic, run: Run, lake: Lake) -> None:
    mimic.add("20000001", "51000000", "first", split="train", data=b"no film")
    mimic.add("20000002", "52000000", "second", split="test", data=b"no film")
    manifest = run(mimic.write().config())
    assert role_of(lake, manifest, "first") == role_of(lake, manifest, "second") != "test"
    assert manifest.facts["near_duplicates"]["unseen"] == 2


def test_a_new_patient_with_a_known_film_takes_the_role_of_its_patient(covid: Mimic, run: Run, lake: Lake) -> None:
    covid.add("20000003", "53000000", "held-out", split="test", data=copy(9))
    first = run(covid.write().config())
    covid.add("20000004", "54000000", "again", split="train", data=copy(9, 60))
    covid.add("20000004", "54000001", "another", split="train", data=copy(8))
    second = run(covid.write().config())
    assert second.parts[: len(first.parts)] == first.parts
    assert role_of(lake, second, "held-out") == "test"
    assert role_of(lake, second, "again") == role_of(lake, second, "another") == "test"
    assert load_duplicates(lake, second).num_rows == 5


def test_a_new_film_that_would_join_two_known_roles_is_left_out_and_counted(covid: Mimic, run: Run, lake: Lake) -> None:
    covid.add("20000003", "53000000", "held-out", split="test", data=copy(9))
    first = run(covid.write().config())
    covid.add("20000001", "53000009", "bridge", split="train", data=copy(9, 60))  # a patient of fit or probe
    covid.add("20000001", "53000008", "harmless", split="train", data=copy(8))
    second = run(covid.write().config())
    images = list(load_catalog(lake, second).image_ids)
    assert second.parts[: len(first.parts)] == first.parts
    assert "bridge" not in images
    assert "harmless" in images
    assert second.facts["left_out"]["near-duplicate"] == 1
    assert second.facts["near_duplicates"]["left_out"] == 1
    assert second.facts["images"] == first.facts["images"] + 1
    assert run(covid.config()) == second  # still left out, and nothing to do


def test_one_bridge_between_a_new_patients_films_leaves_out_the_films_not_the_patient(
    covid: Mimic, run: Run, lake: Lake
) -> None:
    covid.add("20000003", "53000000", "held-out", split="test", data=copy(9))
    run(covid.write().config())
    covid.add("20000005", "55000000", "a-like-test", split="train", data=copy(9, 60))
    covid.add("20000005", "55000001", "b-like-fit", split="train", data=copy(0, 50))
    covid.add("20000005", "55000002", "c-own", split="train", data=copy(7))
    second = run(covid.write().config())
    catalog = load_catalog(lake, second)
    assert "b-like-fit" not in catalog.image_ids
    assert role_of(lake, second, "a-like-test") == role_of(lake, second, "c-own") == "test"


def test_a_notice_filed_under_many_patients_joins_nobody(mimic: Mimic, run: Run, lake: Lake) -> None:
    for at in range(MOST_GROUPS + 1):
        mimic.add(f"2000{at:04d}", f"5100{at:04d}", f"notice-{at}", split=("train", "test")[at % 2], data=b"see paper")
    manifest = run(mimic.write().config())
    assert manifest.facts["near_duplicates"]["crowd_images"] == MOST_GROUPS + 1
    assert manifest.facts["near_duplicates"]["joined_groups"] == 0
    assert load_duplicates(lake, manifest).num_rows == 0
    assert {role_of(lake, manifest, f"notice-{at}") for at in (1, 3)} == {"test"}


PEOPLE = "abcdefgh"


@given(
    st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=24),
    st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_after_joining_no_film_is_in_two_roles_and_nothing_catalogued_moves(
    groups: list[str], pairs: list[tuple[int, int]], random: object
) -> None:
    n = len(groups)
    pairs = [(a, b) for a, b in pairs if a < n and b < n and a != b]
    ids = [f"{row:02d}" for row in range(n)]
    role = {who: random.choice(ROLES) for who in PEOPLE}  # type: ignore[attr-defined]
    roles = [role[who] for who in groups]
    first = n // 2
    before = settle(ids[:first], groups[:first], roles[:first], [p for p in pairs if max(p) < first], Known())
    known = Known(frozenset(ids[:first]), dict(zip(groups[:first], before.roles, strict=True)))
    after = settle(ids, groups, roles, pairs, known)
    assert after.roles[:first] == before.roles
    kept = [row for row in range(n) if row not in after.left_out]
    assert set(range(first)) <= set(kept)
    check_disjoint([groups[row] for row in kept], [after.roles[row] for row in kept])
    for a, b in pairs:
        if a in kept and b in kept:
            assert after.roles[a] == after.roles[b]
    fresh = settle(ids, groups, roles, pairs, Known())
    assert not fresh.left_out
    assert all(ROLES.index(now) <= ROLES.index(alone) for now, alone in zip(fresh.roles, roles, strict=True))


def test_the_covid_sets_twins_are_found_and_no_other_patient_is_joined(shared_data: Path, run: Run, lake: Lake) -> None:
    films = str(shared_data / "mimic_cxr_jpg")
    with pytest.raises(LeakageError, match="pairs of films"):
        run(validate(CatalogConfig, {"root": films, "near_duplicates": "refuse"}))
    manifest = run(validate(CatalogConfig, {"root": films}))
    table = lake.tables(manifest, "sources-", ["image_id", "patient"])
    patient = dict(zip(table["image_id"].to_pylist(), table["patient"].to_pylist(), strict=True))
    pairs = load_duplicates(lake, manifest).to_pydict()
    joined = Counter(
        tuple(sorted((patient[a], patient[b])))
        for a, b in zip(pairs["image_id"], pairs["other"], strict=True)
        if patient[a] != patient[b]
    )
    # The four films under two ids, and the one that is in Figure1 too; the others were seen to be the same film by eye.
    assert joined[("10000069", "10000346")] == 4
    assert joined[("10000381", "10000385")] == 1
    seen_by_eye = {("10000248", "10000370"): 1, ("10000024", "10000093"): 1, ("10000083", "10000087"): 2}
    assert joined == {("10000069", "10000346"): 4, ("10000381", "10000385"): 1} | seen_by_eye
    catalog = load_catalog(lake, manifest)
    role = dict(zip(catalog.image_ids, catalog.roles, strict=True))
    assert all(role[a] == role[b] for a, b in zip(pairs["image_id"], pairs["other"], strict=True))


def test_a_film_that_ever_more_patients_have_moves_nobody_who_was_catalogued(
    mimic: Mimic, run: Run, lake: Lake
) -> None:
    def notice(first: int, last: int) -> None:
        for at in range(first, last):
            split = "train" if at == 0 else "test"
            mimic.add(str(20000000 + at), str(51000000 + at), f"notice-{at}", split=split, data=copy(1))

    notice(0, MOST_GROUPS - 4)
    first = run(mimic.write().config())
    before = load_catalog(lake, first)
    assert role_of(lake, first, "notice-5") == role_of(lake, first, "notice-0")
    notice(MOST_GROUPS - 4, MOST_GROUPS + 4)
    second = run(mimic.write().config())
    after = load_catalog(lake, second)
    assert second.facts["near_duplicates"]["crowd_images"] == MOST_GROUPS + 4
    assert second.inputs["parent"] == first.content
    assert after.roles[: len(before)].tolist() == before.roles.tolist()
    assert role_of(lake, second, f"notice-{MOST_GROUPS}") == "test"


def test_who_shared_a_film_keeps_the_role_when_the_other_patient_is_gone() -> None:
    known = Known(frozenset({"b"}), {"B": "fit"}, moved=True)
    assert settle(["b"], ["B"], ["test"], [], known).roles == ["fit"]
    assert settle(["b"], ["B"], ["test"], [], Known(known.images, known.roles)).roles == ["test"]
    nearer = Known(frozenset({"b"}), {"B": "test"}, moved=True)
    assert settle(["b"], ["B"], ["fit"], [], nearer).roles == ["fit"]
