"""A wrong catalog section says which field is wrong."""

import pytest

from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.config import recipe_fields, validate
from neuroconcepts_ray.errors import ConfigError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"adapter": "nih"}, "adapter"),
        ({"name": "../x"}, "name"),
        ({"adapter": "folder", "group_pattern": "("}, "regular expression"),
        ({"adapter": "folder", "group_pattern": "person"}, "parentheses"),
        ({"adapter": "folder", "reports": "r"}, "reports"),
        ({"group_pattern": "(a)"}, "belongs to folder"),
        ({"labels": ["Edema", "Edema"]}, "twice"),
        ({"injected": "drop"}, "belongs to ham10000"),
        ({"adapter": "ham10000", "split": "hash", "notes": "none"}, "belongs to fairvlmed"),
        ({"adapter": "fairvlmed", "labels_file": "l.csv"}, "belongs to r2gen"),
        ({"adapter": "r2gen", "csv": {"file": "a", "image": "b"}}, "belongs to csv"),
        ({"adapter": "csv"}, "csv: the csv adapter needs a section"),
        ({"adapter": "csv", "csv": {"file": "a"}}, "csv.image"),
        ({"adapter": "ham10000"}, "publish no split"),
        ({"split": "file"}, "split_file"),
        ({"split_file": "a"}, "split_file"),
        ({"uncertian": "mask"}, "uncertian"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(CatalogConfig, {"root": "x", **fields})


def test_where_things_lie_is_no_part_of_the_recipe() -> None:
    here = CatalogConfig(root="/a", reports="/b", hash_key_file="/c", name="d")
    there = CatalogConfig(root="/e", reports="/f", hash_key_file="/g", name="h")
    assert recipe_fields(here) == recipe_fields(there)
    split = {"root": "x", "split": "file", "adapter": "r2gen"}
    here = CatalogConfig(**split, split_file="/a", labels_file="/b")
    assert recipe_fields(here) == recipe_fields(CatalogConfig(**split, split_file="/c", labels_file="/d"))


def test_what_columns_mean_is_part_of_the_recipe_and_where_their_table_lies_is_not() -> None:
    def made(**mapping: object) -> dict[str, object]:
        fields = {"root": "x", "adapter": "csv", "csv": {"file": "a.csv", "image": "Path", **mapping}}
        return recipe_fields(validate(CatalogConfig, fields))

    assert made() == made(file="/elsewhere/b.csv")
    assert made() != made(patient="MRN")
