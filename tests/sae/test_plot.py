"""The plot of a sweep, parsed: what lies where."""

import re
from itertools import product
from xml.etree import ElementTree

from neuroconcepts_ray.sae.plot import SERIES, curve

WIDE = 0.6
"""Of a character of a sans-serif font, in its size: more than the mean of English text."""


def row(l0: float, fvu: float, dead: float) -> dict[str, object]:
    figures = {key: fvu for key, _, _ in SERIES}
    return {"member": f"k={l0:g}", "l0": l0, "dead_fraction": dead, **figures}


def test_nothing_leaves_the_canvas_and_no_point_lies_on_a_text() -> None:
    extremes = [row(l0, fvu, dead) for l0, fvu, dead in product((1.0, 2.0, 37.5, 256.0), (0.0, 0.5, 1.7), (0.0, 1.0))]
    for rows in (extremes, extremes[:1], [row(64.0, 0.99, 1.0)]):
        root = ElementTree.fromstring(curve(rows, "24 SAEs over pre_logits & more"))  # noqa: S314 - it is ours
        width, height = (float(v) for v in root.attrib["viewBox"].split()[2:])
        name = re.match(r"\{.*\}", root.tag)
        assert name is not None
        boxes = []
        for text in root.iter(f"{name[0]}text"):
            x, y, size = float(text.attrib["x"]), float(text.attrib["y"]), float(text.attrib["font-size"])
            wide = WIDE * size * len(text.text or "")
            x -= {"end": 1.0, "middle": 0.5}.get(text.attrib.get("text-anchor", ""), 0.0) * wide
            boxes.append((x, y - size, x + wide, y + 0.25 * size))
        circles = [tuple(float(c.attrib[key]) for key in ("cx", "cy", "r")) for c in root.iter(f"{name[0]}circle")]
        assert len(circles) == len(rows) * (len(SERIES) + 1)
        for left, top, right, bottom in boxes:
            assert left >= 0 and top >= 0 and right <= width and bottom <= height
            for cx, cy, r in circles:
                dx, dy = max(left - cx, 0, cx - right), max(top - cy, 0, cy - bottom)
                assert dx**2 + dy**2 >= r**2
        for one, other in product(boxes, boxes):
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert one is other or apart
