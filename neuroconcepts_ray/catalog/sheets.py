"""Tables of text, read whole: every mistake is named by its column, never by a value, which may be a patient's."""

import gzip
import io
import re
import zlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Int8
from pyarrow import csv

from neuroconcepts_ray.catalog.archive import ABSENT, BLANK, PRESENT, UNCERTAIN
from neuroconcepts_ray.catalog.trees import Tree, check_below, open_tree
from neuroconcepts_ray.errors import ConfigError, EnvironmentFault, InputError

UNKNOWN = frozenset({"", "unknown", "nan", "na", "n/a", "none", "null"})
"""Words, in lower case, that say that a value is not known."""

MOST_WORDS = 100
"""Most different words of a column that is shown everywhere: more of them are names, dates or texts."""

_CODES = {"1": PRESENT, "1.0": PRESENT, "0": ABSENT, "0.0": ABSENT, "-1": UNCERTAIN, "-1.0": UNCERTAIN, "": BLANK}


def read_beside(uri: str, field: str) -> bytes:
    """The bytes of a file that a config names by itself: a path or a URI, whose query goes with it.

    Args:
        uri: The file.
        field: The config field it comes from.

    Raises:
        ConfigError: There is none.
        EnvironmentFault: It cannot be read.
    """
    whole, query, options = uri.partition("?") if "://" in uri else (uri, "", "")
    folder, _, name = whole.rpartition("/")
    return read_in(open_tree((folder or ("/" if whole.startswith("/") else ".")) + query + options, field), name, field)


def read_in(tree: Tree, key: str, field: str) -> bytes:
    """The bytes of a file of a tree; raises as :func:`read_beside` does."""
    try:
        check_below(key)
    except InputError:
        raise ConfigError("the path leaves the archive's root", where=field) from None
    try:
        return tree.read(key)
    except EnvironmentFault:
        raise
    except FileNotFoundError:
        raise ConfigError("there is no such file", where=field, remedy=f"Set {field} to a file that is there") from None
    except OSError as error:
        raise EnvironmentFault(
            f"a table cannot be read: {error.strerror or type(error).__name__}", where=field
        ) from None


def read_sheet(data: bytes, where: str, separator: str = ",") -> pa.Table:
    """A table with a header, all of it text; gzip is unpacked, UTF-8 or else Latin-1.

    Args:
        data: The file's bytes.
        where: The table, for messages.
        separator: What stands between two values.

    Returns:
        Columns of strings; a blank is the empty string.

    Raises:
        InputError: It is damaged, or two columns have one name.
    """
    broken = InputError("a table is damaged", where=where, remedy="Every row needs as many values as the header")
    try:
        plain = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError, zlib.error):
        raise broken from None
    try:
        text = plain.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = plain.decode("latin-1")
    if not text.strip():
        raise InputError("a table is empty", where=where)
    # A value must lie within two blocks, and reports are long.
    read = csv.ReadOptions(block_size=1 << 25)
    parse = csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    try:
        # The header alone, for the types of its columns.
        head = csv.open_csv(io.BytesIO(text.encode()), read_options=read, parse_options=parse).schema.names
        if len(set(head)) < len(head):
            raise InputError("columns of a table have the same name", value=len(head) - len(set(head)), where=where)
        convert = csv.ConvertOptions(column_types=dict.fromkeys(head, pa.string()), strings_can_be_null=False)
        return csv.read_csv(io.BytesIO(text.encode()), read_options=read, parse_options=parse, convert_options=convert)
    except pa.ArrowInvalid:
        raise broken from None


def column(sheet: pa.Table, name: str, field: str) -> list[str]:
    """A column's values, without the spaces around them.

    Raises:
        ConfigError: The table has no such column; those there are named.
    """
    if name not in sheet.column_names:
        raise ConfigError("the table has no such column", value=name, limit=headings(sheet), where=field)
    return [value.strip() for value in sheet[name].to_pylist()]


def headings(sheet: pa.Table) -> str:
    """The columns of a table for a message; what is no name of one may be a patient's, in a table without a header."""
    names = [name for name in sheet.column_names if re.fullmatch(r"[^\d\s^,][^\n^,]{0,30}", name)]
    shown = [name for name in names if not re.search(r"\d{4}", name)]
    hidden = len(sheet.column_names) - len(shown)
    return ", ".join([*shown, *([f"{hidden} that are no names"] if hidden else [])])


def label_codes(values: Sequence[str], name: str, field: str) -> Int8[np.ndarray, " n"]:
    """A column of labels as PRESENT, ABSENT, UNCERTAIN or BLANK.

    Raises:
        InputError: Other values; the column is named, they are counted.
    """
    codes = [_CODES.get(value) for value in values]
    wrong = sum(code is None for code in codes)
    if wrong:
        raise InputError(
            f"a column of labels holds other values: {name}",
            value=f"{wrong} of {len(values)} rows",
            limit="1, 0, -1 or blank",
            where=field,
            remedy="Name the columns of labels one by one, or map words to numbers first",
        )
    return np.array(codes, dtype=np.int8)


def shown_values(values: Sequence[str], name: str, field: str) -> list[str | float | None]:
    """A column that may be shown everywhere: numbers, or words of few kinds; None where not known.

    Raises:
        InputError: So many different words that they may tell who a patient is.
    """
    known = [None if value.lower() in UNKNOWN else value for value in values]
    numbers = [None if value is None else number(value) for value in known]
    if all(value is None or read is not None for value, read in zip(known, numbers, strict=True)):
        return list(numbers)
    words = len(set(known) - {None})
    if words > MOST_WORDS:
        raise InputError(
            f"a column of so many different words may tell who a patient is, and it would be shown everywhere: {name}",
            value=f"{words} words",
            limit=MOST_WORDS,
            where=field,
            remedy="Leave it out, or put its values into classes first",
        )
    return list(known)


def number(text: str) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
