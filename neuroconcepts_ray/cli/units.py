"""Sizes and times for people."""

import math


def size(count: float) -> str:
    """Bytes in the unit that suits them."""
    if count < 1000:
        return f"{count:.0f} bytes"
    unit = min(4, int(math.log10(count)) // 3)
    return f"{count / 1000**unit:.1f} {('kB', 'MB', 'GB', 'TB')[unit - 1]}"


def span(seconds: float) -> str:
    """Seconds, minutes, hours or days."""
    for length, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
