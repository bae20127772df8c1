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
