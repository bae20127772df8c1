"""The curve of a sweep as one SVG without any library: FVU against L0, beside PCA and a random dictionary."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, MARGIN = 560, 360, 56
LEGEND = 150
"""Beside the axes, where no point can be."""
INSET = 16
"""Between the axes' ends and the outermost points, whose rings reach 12."""
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
        return MARGIN + INSET + (WIDTH - 2 * INSET) * (log - low) / (high - low), MARGIN + HEIGHT * (1 - y / top)

    shapes = []
    for number, (key, name, color) in enumerate(SERIES):
        known = [(log, float(row[key]), row) for log, row in zip(logs, rows, strict=True) if row.get(key) is not None]
        for log, y, row in known:
            cx, cy = place(log, y)
            hint = f"<title>{escape(str(row.get('member', '')))} {name}: {y:.3f}</title>"
            shapes.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="3" fill="{color}">{hint}</circle>')
            if key == "fvu":
                ring = 3 + 9 * math.sqrt(float(row["dead_fraction"]))
                shapes.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{ring:.1f}" fill="none" stroke="{color}"/>')
        text_y = MARGIN + 14 + 16 * number
        shapes.append(f'<circle cx="{MARGIN + WIDTH + 16}" cy="{text_y - 4}" r="3" fill="{color}"/>')
        shapes.append(f'<text x="{MARGIN + WIDTH + 26}" y="{text_y}" font-size="12">{escape(name)}</text>')
    for log in range(low, high + 1):
        x, y = place(float(log), 0.0)
        shapes.append(f'<text x="{x - 6:.1f}" y="{y + 24:.1f}" font-size="11">{2.0**log:g}</text>')
    for tenth in range(0, math.ceil(top * 5) + 1):
        if tenth / 5 <= top:
            y = place(float(low), tenth / 5)[1]
            shapes.append(f'<text x="{MARGIN - 26}" y="{y + 4:.1f}" font-size="11">{tenth / 5:.1f}</text>')
    axes = f'<path d="M{MARGIN} {MARGIN}V{MARGIN + HEIGHT}H{MARGIN + WIDTH}" fill="none" stroke="#333"/>'
    words = [
        (MARGIN, 20, title),
        (MARGIN, MARGIN - 16, "FVU on role select (lower is better)"),
        (MARGIN + WIDTH / 2 - 130, MARGIN + HEIGHT + 44, "L0, logarithmic; ring: share of dead latents"),
    ]
    text = "".join(f'<text x="{x:.0f}" y="{y:.0f}" font-size="12">{escape(word)}</text>' for x, y, word in words)
    w, h = WIDTH + 2 * MARGIN + LEGEND, HEIGHT + 2 * MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" font-family="sans-serif" role="img">'
        f'<title>{escape(title)}</title><rect width="{w}" height="{h}" fill="#fff"/>{axes}{"".join(shapes)}'
        f"{text}</svg>\n"
    )
