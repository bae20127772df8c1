"""What an adapter finds of an erased patient is left out whole; a tombstone keeps a place and nothing else."""

import numpy as np
import pyarrow as pa

from neuroconcepts_ray.catalog.archive import Archive
from neuroconcepts_ray.catalog.keys import HashKey
from neuroconcepts_ray.catalog.tombstones import bury, leave_out, live, token
from neuroconcepts_ray.catalog.trees import Entry

KEY = HashKey(bytes(range(32)))


def found() -> Archive:
    people = ["ann", "bob", "ann", "cyd"]
    return Archive(
        labels=["a", "b", "c", "d"],  # as many as images, and yet not one a film
        task="multilabel",
        left_out={"no view": 1},
        raw=np.arange(16, dtype=np.int8).reshape(4, 4),
        image_ids=[f"i{row}" for row in range(4)],
        files=[Entry(f"{row}.png", row, "") for row in range(4)],
        patients=people,
        study_ids=["s0", "s1", "s0", "s3"],
        views=["AP", "PA", "PA", "AP"],
        published=["train"] * 4,
        reports={"s0": "of ann", "s1": "of bob", "s3": "of cyd"},
        columns={"age": [1, 2, 3, 4]},
        phi_columns={"born": ["w", "x", "y", "z"]},
    )


def test_films_of_an_erased_patient_are_left_out_with_all_that_is_told_of_them() -> None:
    archive = found()
    leave_out(archive, KEY, {token(KEY, KEY.hash("group", "ann"))})
    assert archive.image_ids == ["i1", "i3"]
    assert archive.patients == ["bob", "cyd"]
    assert [file.key for file in archive.files] == ["1.png", "3.png"]
    assert archive.raw.tolist() == [[4, 5, 6, 7], [12, 13, 14, 15]]
    assert archive.reports == {"s1": "of bob", "s3": "of cyd"}
    assert (archive.columns, archive.phi_columns) == ({"age": [2, 4]}, {"born": ["x", "z"]})
    assert archive.labels == ["a", "b", "c", "d"]
    assert archive.left_out == {"no view": 1, "erased": 2}


def test_without_erased_patients_nothing_is_left_out_or_counted() -> None:
    for erased in (set[str](), {token(KEY, KEY.hash("group", "eve"))}):
        archive = found()
        leave_out(archive, KEY, erased)
        assert archive.image_ids == found().image_ids
        assert archive.left_out == {"no view": 1}


def test_a_token_is_no_hash_that_any_table_shows() -> None:
    group = KEY.hash("group", "ann")
    assert token(KEY, group) not in {group, KEY.hash("study", "ann"), KEY.hash("group", group)}


def test_a_tombstone_has_the_types_of_its_table_and_nothing_of_the_image() -> None:
    images = pa.table(
        {
            "image_id": ["i0", "i1"],
            "study": ["s", "t"],
            "group": ["g", "h"],
            "view": ["AP", "PA"],
            "role": ["fit", "test"],
            "age": [60.0, 61.0],
            "label:Edema": pa.array([1, 0], pa.int8()),
        }
    )
    buried = bury(images, np.array([False, True]), 3)
    assert buried.schema == images.schema
    assert buried.to_pylist()[0] == images.to_pylist()[0]
    assert buried.to_pylist()[1] == {
        "image_id": "erased.0003.1",
        "study": "",
        "group": "",
        "view": "",
        "role": "erased",
        "age": None,
        "label:Edema": None,
    }
    assert live(buried).equals(images.slice(0, 1))
