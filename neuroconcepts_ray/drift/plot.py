"""Density of each neuron on new films against that on old ones, as one SVG without any library."""

from html import escape

import numpy as np
from jaxtyping import Bool, Float

SIDE, MARGIN = 480, 56


def scatter(
    fitted: Float[np.ndarray, " n"],
    new: Float[np.ndarray, " n"],
    flagged: Bool[np.ndarray, " n"],
    names: dict[int, str],
    title: str,
) -> str:
    """The plot.

    Args:
        fitted: Density on old films.
        new: Density on new films.
        flagged: Neurons whose change is beyond chance; they are drawn filled, and named if they have a name.
        names: Names of neurons.
        title: What stands above.
    """
    top = float(max(fitted.max(initial=0), new.max(initial=0), 1e-6))

    def place(x: float, y: float) -> tuple[float, float]:
        return MARGIN + SIDE * x / top, MARGIN + SIDE * (1 - y / top)

    shapes = []
    for j in np.argsort(flagged, kind="stable").tolist():
        x, y = place(float(fitted[j]), float(new[j]))
        fill = "#b3261e" if flagged[j] else "none"
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{fill}" stroke="#333" stroke-width="0.7"/>')
        if flagged[j]:
            text = escape(names.get(j, str(j)))
            shapes.append(f'<text x="{x + 5:.1f}" y="{y + 3:.1f}" font-size="9">{text}</text>')
    (x0, y0), (x1, y1) = place(0, 0), place(top, top)
    axes = f'<path d="M{x0} {y1}V{y0}H{x1}" fill="none" stroke="#333"/>'
    axes += f'<path d="M{x0} {y0}L{x1} {y1}" stroke="#999" stroke-dasharray="4 3"/>'
    words = [
        (MARGIN, 30, title),
        (MARGIN + SIDE / 2 - 60, MARGIN + SIDE + 34, "density on films of the fit"),
        (MARGIN, MARGIN - 8, f"density on new films (0 to {top:.3g})"),
    ]
    text = "".join(f'<text x="{x:.0f}" y="{y:.0f}" font-size="12">{escape(word)}</text>' for x, y, word in words)
    size = SIDE + 2 * MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" font-family="sans-serif" role="img">'
        f'<title>{escape(title)}</title><rect width="{size}" height="{size}" fill="#fff"/>{axes}{"".join(shapes)}'
        f"{text}</svg>\n"
    )
