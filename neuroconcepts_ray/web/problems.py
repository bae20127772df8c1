"""Errors as they go out: one form, a status that says whose fault it is, nothing that must not be shown."""

from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from neuroconcepts_ray.errors import (
    ConfigError,
    DigestError,
    EnvironmentFault,
    InputError,
    NeuroconceptsError,
    NotFound,
)
from neuroconcepts_ray.web.config import PREFIX
from neuroconcepts_ray.web.guard import plain


def misunderstood(items: list[tuple[Any, str]]) -> ConfigError:
    """The error of fields that are wrong.

    Args:
        items: Place and message of each; never its value, which may be anything.
    """
    lines = [f"{'.'.join(str(part) for part in loc)}: {msg}" if loc else msg for loc, msg in items]
    more = f" (+{len(lines) - 5} more)" if len(lines) > 5 else ""
    return ConfigError("; ".join(lines[:5]) + more, remedy=f"{PREFIX}/openapi.json describes every field")


def status_of(error: NeuroconceptsError) -> int:
    """The HTTP status of an error: whose fault it is."""
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, EnvironmentFault | DigestError):
        return 503
    return 422 if isinstance(error, ConfigError | InputError) else 500


def problem(error: NeuroconceptsError, status: int) -> dict[str, Any]:
    """An error's fields; where the caller is not to blame, without values and places, which are the machine's."""
    if status == 500:
        return {"what": "a fault of ours", "value": None, "limit": None, "remedy": None, "where": None}
    fields = {key: plain(text) for key, text in error.fields().items() if key != "type"}
    return fields if status < 500 else {**fields, "value": None, "limit": None, "where": None}


async def refused(_: Request, error: Exception) -> Response:
    """Errors of ours."""
    assert isinstance(error, NeuroconceptsError)  # noqa: S101 - as registered
    status = status_of(error)
    return JSONResponse(problem(error, status), status)


async def invalid(_: Request, error: Exception) -> Response:
    """Parameters and forms that are wrong."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as registered
    made = misunderstood([(item["loc"], item["msg"]) for item in error.errors()])
    return JSONResponse(problem(made, 422), 422)


async def unrouted(_: Request, error: Exception) -> Response:
    """Addresses and methods that are not there."""
    assert isinstance(error, HTTPException)  # noqa: S101 - as registered
    what = {404: "there is no such address", 405: "this address does not take that method"}
    made = ConfigError(what.get(error.status_code, str(error.detail)), remedy=f"{PREFIX}/openapi.json lists all")
    return JSONResponse(problem(made, error.status_code), error.status_code, headers=error.headers)
