"""The curve of a sweep as one SVG without any library: FVU against L0, beside PCA and a random dictionary."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, MARGIN = 560, 360, 56
SERIES = (
    ("fvu", "SAE", "#1a5fb4"),
    ("pca_fvu", "PCA at equal L0", "#b3261e"),
    ("pca_bits_fvu", "PCA at equal bits", "#e08a00"),
    ("random_fvu", "random dictionary", "#666"),
)


def curve(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """The plot; the area of an SAE's ring grows with its share of dead latents.

    Args:
        rows: One member each, with ``l0``, ``dead_fraction`` and the figures of :data:`SERIES` (or null).
        title: What stands above.
    """
    logs = [math.log2(max(float(row["l0"]), 0.5)) for row in rows]
    low, high = math.floor(min(logs)), max(math.ceil(max(logs)), math.floor(min(logs)) + 1)
    values = [float(row[key]) for row in rows for key, _, _ in SERIES if row.get(key) is not None]
    top = max(1.0, *values)

    def place(log: float, y: float) -> tuple[float, float]:
        return MARGIN + WIDTH * (log - low) / (high - low), MARGIN + HEIGHT * (1 - y / top)

    shapes = []
    for number, (key, name, color) in enumerate(SERIES):
        known = [(log, float(row[key]), row) for log, row in zip(logs, rows, strict=True) if row.get(key) is not None]
        for log, y, row in known:
            cx, cy = place(log, y)
            shapes.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="3" fill="{color}"/>')
            if key == "fvu":
                ring = 3 + 9 * math.sqrt(float(row["dead_fraction"]))
                shapes.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{ring:.1f}" fill="none" stroke="{color}"/>')
        text_y = MARGIN + 14 + 16 * number
        shapes.append(f'<circle cx="{MARGIN + WIDTH - 140}" cy="{text_y - 4}" r="3" fill="{color}"/>')
        shapes.append(f'<text x="{MARGIN + WIDTH - 130}" y="{text_y}" font-size="12">{escape(name)}</text>')
    for log in range(low, high + 1):
        x, y = place(float(log), 0.0)
        shapes.append(f'<text x="{x - 6:.1f}" y="{y + 16:.1f}" font-size="11">{2.0**log:g}</text>')
    for tenth in range(0, math.ceil(top * 5) + 1):
        if tenth / 5 <= top:
            x, y = place(float(low), tenth / 5)
            shapes.append(f'<text x="{x - 26:.1f}" y="{y + 4:.1f}" font-size="11">{tenth / 5:.1f}</text>')
    (x0, y0), (x1, y1) = place(float(low), 0.0), place(float(high), top)
    axes = f'<path d="M{x0} {y1:.1f}V{y0}H{x1}" fill="none" stroke="#333"/>'
    words = [
        (MARGIN, 24, title),
        (MARGIN, MARGIN - 10, "FVU on role select (lower is better)"),
        (MARGIN + WIDTH / 2 - 90, MARGIN + HEIGHT + 36, "L0, logarithmic; ring: share of dead latents"),
    ]
    text = "".join(f'<text x="{x:.0f}" y="{y:.0f}" font-size="12">{escape(word)}</text>' for x, y, word in words)
    w, h = WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" font-family="sans-serif" role="img">'
        f'<title>{escape(title)}</title><rect width="{w}" height="{h}" fill="#fff"/>{axes}{"".join(shapes)}'
        f"{text}</svg>\n"
    )
