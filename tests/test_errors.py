"""Errors say what, value, limit, remedy and where, and survive a process boundary."""

import pickle

import pytest

from neuroconcepts_ray import errors


def test_an_error_reads_as_one_line() -> None:
    error = errors.ConfigError("k is too large", value=9, limit="<= 4", remedy="Lower sae.k", where="sae.k")
    assert str(error) == "k is too large (got 9; allowed: <= 4) [at sae.k]. Lower sae.k"


@pytest.mark.parametrize(
    ("kind", "code", "builtin"),
    [
        (errors.NeuroconceptsError, 1, Exception),
        (errors.ConfigError, 2, ValueError),
        (errors.InputError, 3, ValueError),
        (errors.LeakageError, 3, ValueError),
        (errors.DigestError, 3, ValueError),
        (errors.EnvironmentFault, 4, OSError),
    ],
)
def test_each_kind_has_its_exit_code_and_crosses_processes(kind: type, code: int, builtin: type) -> None:
    error = kind("it broke", value=1, where="shard s")
    for copy in (errors.from_fields(error.fields()), pickle.loads(pickle.dumps(error))):  # noqa: S301 - Ray does it
        assert type(copy) is kind
        assert isinstance(copy, builtin)
        assert (copy.message, copy.exit_code) == (error.message, code)
