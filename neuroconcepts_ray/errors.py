"""The error types a user can meet, each with the exit code that its cause deserves.

An error says what is wrong, the value, the limit, the remedy and where; it never carries a report's
text, a patient's id or an absolute URI of an archive.
"""

from pathlib import Path
from typing import Any, ClassVar


class NeuroconceptsError(Exception):
    """Base of every error that is shown without a traceback.

    Args:
        what: One sentence: what is wrong.
        value: The value that was met.
        limit: The bound or the admissible values.
        remedy: What the user can do.
        where: Shard, image_id, key or config field.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        value: object = None,
        limit: object = None,
        remedy: str | None = None,
        where: str | None = None,
    ) -> None:
        self.what = what
        self.value = None if value is None else str(value)
        self.limit = None if limit is None else str(limit)
        self.remedy = remedy
        self.where = where
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The error in one line."""
        text = self.what
        if self.value is not None:
            text += f" (got {self.value}"
            text += f"; allowed: {self.limit})" if self.limit is not None else ")"
        elif self.limit is not None:
            text += f" (allowed: {self.limit})"
        if self.where:
            text += f" [at {self.where}]"
        if self.remedy:
            text += f". {self.remedy}"
        return text

    def fields(self) -> dict[str, Any]:
        """The error as plain data, so that it can cross a process boundary as a row."""
        return {
            "type": type(self).__name__,
            "what": self.what,
            "value": self.value,
            "limit": self.limit,
            "remedy": self.remedy,
            "where": self.where,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return (from_fields, (self.fields(),))


class ConfigError(NeuroconceptsError, ValueError):
    """Wrong usage or configuration."""

    exit_code = 2


class InputError(NeuroconceptsError, ValueError):
    """The input data are missing, damaged, or not what they claim to be."""

    exit_code = 3


class NotFound(InputError):
    """What was asked for by name or number is not there: an image, a concept."""


class LeakageError(InputError):
    """A group has more than one role: a figure computed now would not be held out."""


class DigestError(InputError):
    """Bytes differ from the digest that their receipt, manifest or catalog gives."""


class EnvironmentFault(NeuroconceptsError, OSError):
    """The machine, store or cluster failed; the same command may go through later."""

    exit_code = 4


_TYPES: dict[str, type[NeuroconceptsError]] = {
    cls.__name__: cls
    for cls in (NeuroconceptsError, ConfigError, InputError, NotFound, LeakageError, DigestError, EnvironmentFault)
}


def fault(error: BaseException) -> NeuroconceptsError:
    """A fault of ours as an error: its type and place only, for its message may hold what must not be shown."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
    return NeuroconceptsError(
        f"a fault of ours: {type(error).__name__} in {place}",
        remedy="Set NEUROCONCEPTS_DEBUG=1 for the traceback, and please report it",
    )


def from_fields(fields: dict[str, Any]) -> NeuroconceptsError:
    """Rebuild an error from :meth:`NeuroconceptsError.fields`."""
    rest = dict(fields)
    return _TYPES[rest.pop("type")](rest.pop("what"), **rest)
