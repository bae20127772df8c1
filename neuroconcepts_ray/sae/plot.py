"""The curve of a sweep as one SVG without any library: FVU against L0, beside PCA and a random dictionary."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, MARGIN, LEGEND = 480, 360, 56, 150
INSET = 16
"""Between axes and points, so that no ring reaches beyond."""

SERIES = (
    ("fvu", "SAE", "#1a5fb4"),
    ("pca_fvu", "PCA, equal L0", "#b3261e"),
    ("pca_bits_fvu", "PCA, equal bits", "#e08a00"),
    ("random_fvu", "random dictionary", "#666"),
)


def _marks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from ``low`` to ``high``."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [m * 10.0**e for e in exponents for m in (1, 2, 5) if low * 0.999 <= m * 10.0**e <= high * 1.001]


def curve(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """The plot, both axes logarithmic; the ring around an SAE grows with its share of dead latents.

    Args:
        rows: One member each, with ``l0``, ``dead_fraction`` and the figures of :data:`SERIES` (or null).
        title: What stands above.
    """
    xs = [max(float(row["l0"]), 0.5) for row in rows]
    values = [max(float(row[key]), 1e-6) for row in rows for key, _, _ in SERIES if row.get(key) is not None]
    left, right = min(xs) / 1.01, max(xs) * 1.01
    low, high = min(values) / 1.01, max(1.0, *values)

    def place(x: float, y: float) -> tuple[float, float]:
        across = math.log(x / left) / math.log(right / left)
        down = math.log(high / y) / math.log(high / low)
        return MARGIN + INSET + (WIDTH - 2 * INSET) * across, MARGIN + INSET + (HEIGHT - 2 * INSET) * down

    shapes = []
    for number, (key, name, color) in enumerate(SERIES):
        known = sorted(
            (x, max(float(row[key]), 1e-6), float(row["dead_fraction"]), str(row.get("member", "")))
            for x, row in zip(xs, rows, strict=True)
            if row.get(key) is not None
        )
        points = [place(x, y) for x, y, _, _ in known]
        if key != "fvu" and len(points) > 1:  # a control depends on L0 alone, the members on more: no line joins them
            line = " ".join(f"{cx:.1f},{cy:.1f}" for cx, cy in points)
            shapes.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-dasharray="4 3"/>')
        for (cx, cy), (_, y, dead, member) in zip(points, known, strict=True):
            hint = f"<title>{escape(member)} {name}: {y:.3f}</title>"
            shapes.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="3" fill="{color}">{hint}</circle>')
            if key == "fvu":
                ring = 3 + 9 * math.sqrt(dead)
                shapes.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{ring:.1f}" fill="none" stroke="{color}"/>')
        key_x, key_y = MARGIN + WIDTH + 24, MARGIN + 14 + 18 * number
        shapes.append(f'<rect x="{key_x}" y="{key_y - 8}" width="8" height="8" fill="{color}"/>')
        shapes.append(f'<text x="{key_x + 14}" y="{key_y}" font-size="12">{escape(name)}</text>')
    for mark in (2.0**e for e in range(math.ceil(math.log2(left)), math.floor(math.log2(right)) + 1)):
        x, y = place(mark, low)[0], MARGIN + HEIGHT
        shapes.append(f'<text x="{x:.1f}" y="{y + 16}" font-size="11" text-anchor="middle">{mark:g}</text>')
    for mark in _marks(low, high):
        x, y = MARGIN, place(left, mark)[1]
        shapes.append(f'<path d="M{x} {y:.1f}h{WIDTH}" stroke="#eee"/>')
        shapes.append(f'<text x="{x - 6}" y="{y + 4:.1f}" font-size="11" text-anchor="end">{mark:g}</text>')
    axes = f'<path d="M{MARGIN} {MARGIN}V{MARGIN + HEIGHT}H{MARGIN + WIDTH}" fill="none" stroke="#333"/>'
    words = [
        (MARGIN, 24, title),
        (MARGIN, MARGIN - 10, "FVU on role select (lower is better)"),
        (MARGIN + WIDTH / 2 - 110, MARGIN + HEIGHT + 36, "L0; the ring grows with the share of dead latents"),
    ]
    text = "".join(f'<text x="{x:.0f}" y="{y:.0f}" font-size="12">{escape(word)}</text>' for x, y, word in words)
    w, h = WIDTH + 2 * MARGIN + LEGEND, HEIGHT + 2 * MARGIN
    # Lines of the grid first, so that points lie above them.
    shapes.sort(key=lambda shape: 'stroke="#eee"' not in shape)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" font-family="sans-serif" role="img">'
        f'<title>{escape(title)}</title><rect width="{w}" height="{h}" fill="#fff"/>{"".join(shapes)}{axes}'
        f"{text}</svg>\n"
    )
