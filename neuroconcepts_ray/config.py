"""The strict base model, YAML files, and ``--set a.b=v``; each room defines its own config with it."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from neuroconcepts_ray.errors import ConfigError


class Marker:
    """Metadata of a config field; ``policy`` fields do not change results and stay out of recipes."""

    def __init__(self, *, path: bool = False) -> None:
        self.path = path


POLICY = Marker()
"""Marks a field that changes how a result comes about, never the result itself."""

PATH = Marker(path=True)
"""Marks a policy field that holds a path: relative ones are resolved against the file they stand in."""

PathStr = Annotated[str, PATH]
"""A path or URI; never part of a recipe."""


_HALF_URI = re.compile(r"(s3|file|https?|gs|abfs|sftp|ftp):", re.IGNORECASE)
"""What would otherwise become a folder of that name, and a lake that nobody finds."""


class StrictModel(BaseModel):
    """Frozen, closed to unknown keys, no silent coercion; the docstring under a field is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )

    listed_by: ClassVar[str] = "neuroconcepts config"
    """The command that lists the keys; an error names it."""


Model = TypeVar("Model", bound=StrictModel)


def _marker(field: Any) -> Marker | None:
    return next((item for item in field.metadata if isinstance(item, Marker)), None)


def recipe_fields(model: StrictModel) -> dict[str, Any]:
    """The resolved fields that change the result, as plain JSON data."""
    fields: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        if _marker(field) is not None:
            continue
        value = getattr(model, name)
        if isinstance(value, StrictModel):
            fields[name] = recipe_fields(value)
        elif isinstance(value, Mapping):
            fields[name] = {k: recipe_fields(v) if isinstance(v, StrictModel) else v for k, v in value.items()}
        else:
            fields[name] = json.loads(json.dumps(value))
    return fields


def _resolve_paths(raw: dict[str, Any], model: type[BaseModel], base: Path) -> dict[str, Any]:
    resolved = dict(raw)
    for name, field in model.model_fields.items():
        value = raw.get(name)
        marker = _marker(field)
        if marker is not None and marker.path and isinstance(value, str) and "://" not in value:
            if _HALF_URI.match(value):
                raise ConfigError("a URI has two slashes after its scheme", value=value.partition(":")[0], where=name)
            try:
                resolved[name] = str(base / Path(value).expanduser())
            except RuntimeError as error:
                raise ConfigError("no such user's home", value=value, where=name) from error
        elif isinstance(value, dict):
            for kind in (field.annotation, *get_args(field.annotation)):
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    resolved[name] = _resolve_paths(value, kind, base)
    return resolved


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def parse_set(items: Iterable[str]) -> dict[str, Any]:
    """Turn ``["sae.k=64", "index.top=5"]`` into ``{"sae": {"k": 64}, "index": {"top": 5}}``.

    Values are read as YAML, so ``true``, ``[a, b]`` and ``null`` mean what they mean in the file.

    Raises:
        ConfigError: An item is not of the form ``key.key=value``.
    """
    tree: dict[str, Any] = {}
    for item in items:
        key, eq, text = item.partition("=")
        if not eq or not all(part.strip() for part in key.split(".")):
            raise ConfigError("--set takes section.field=value", value=item, remedy="Example: --set sae.k=16")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError("the value of --set is not YAML", value=item) from error
        leaf: dict[str, Any] = {}
        node = leaf
        *parents, last = key.split(".")
        for parent in parents:
            node[parent] = {}
            node = node[parent]
        node[last] = value
        tree = _merge(tree, leaf)
    return tree


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: The file is absent, not readable as UTF-8 YAML, or not a mapping.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError("the config file does not exist", value=path, remedy="Give one with -c") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("the config file cannot be read", value=path) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError("the config file is not YAML", where=where) from error
    if not isinstance(raw, dict):
        raise ConfigError("the config file must hold a mapping", value=type(raw).__name__, where=str(path))
    return raw


def validate(model: type[Model], raw: Mapping[str, Any]) -> Model:
    """Validate plain data strictly (JSON rules: no text where a number belongs).

    Raises:
        ConfigError: Every offending key, with what is allowed.
    """
    try:
        text = json.dumps(raw, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError("the config holds a value that JSON cannot hold", value=error) from error
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        lines = []
        for item in error.errors(include_url=False):
            key = ".".join(str(part) for part in item["loc"])
            got = "" if item["type"] in ("missing", "value_error") else f" (got {item['input']!r})"
            told = "there is no such key" if item["type"] == "extra_forbidden" else item["msg"]
            # What a model says of several of its keys has no key of its own.
            lines.append(f"{key + ': ' if key else ''}{told.removeprefix('Value error, ')}{got}")
        more = f" (+{len(lines) - 5} more)" if len(lines) > 5 else ""
        raise ConfigError(
            "; ".join(lines[:5]) + more, remedy=f"`{model.listed_by}` lists every key with its meaning"
        ) from None


def load(model: type[Model], path: Path, overrides: Iterable[str] = ()) -> Model:
    """Defaults < file < ``--set``; relative paths belong to the file, or to the shell for ``--set``."""
    raw = _resolve_paths(read_yaml(path), model, path.resolve().parent)
    over = _resolve_paths(parse_set(overrides), model, Path.cwd())
    return validate(model, _merge(raw, over))
