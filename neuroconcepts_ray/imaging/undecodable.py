"""The error of bytes that will never become an image."""

from typing import Any

from neuroconcepts_ray.errors import InputError

CAUSES = frozenset(
    {
        "empty file",
        "not an image",
        "truncated",
        "damaged",
        "no pixels",
        "too many pixels",
        "too many bytes",
        "no declared range",
        "no array that is an image",
        "several arrays",
        "unsupported compression",
        "DICOM without file meta",
        "DICOM without transfer syntax",
        "DICOM without pixels",
        "JPEG of 12 bits needs the extra 'dicom'",
        "JPEG lossless needs the extra 'dicom'",
        "JPEG-LS needs the extra 'dicom'",
        "JPEG 2000 needs the extra 'dicom'",
    }
)
"""Every cause there is. They stand in quarantine tables, so a change of one is a change of the norm."""


class Undecodable(InputError):
    """Bytes that will never become an image; the cause is short and stable, and names no path and no value of a tag.

    Args:
        cause: One of :data:`CAUSES`.
        value: What was met, where that helps: sizes and numbers, never text from the file.
        limit: The bound that was passed.
        remedy: What the user can do.
    """

    def __init__(self, cause: str, *, value: object = None, limit: object = None, remedy: str | None = None) -> None:
        self.cause = cause
        super().__init__(cause, value=value, limit=limit, remedy=remedy)

    def fields(self) -> dict[str, Any]:
        """See :meth:`NeuroconceptsError.fields`; the rooms below know this error as an InputError."""
        return {**super().fields(), "type": InputError.__name__}

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.cause, self.value, self.limit, self.remedy))


def _rebuild(cause: str, value: str | None, limit: str | None, remedy: str | None) -> Undecodable:
    return Undecodable(cause, value=value, limit=limit, remedy=remedy)
