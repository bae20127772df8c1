"""The picture of docs/phantom.md: of each factor a film without it and its twin with it, the mask drawn around.

python -m benchmarks.phantom_page                     # writes docs/phantom.jpg
python -m benchmarks.phantom_page --seed 3 --pair 1   # another world, other people
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.truth import FACTORS
from neuroconcepts_ray.phantom.twins import TOGGLED, draw_pair, render_pair

PAGE = Path(__file__).resolve().parents[1] / "docs" / "phantom.jpg"
HEIGHT, WIDTH, COLUMNS, CAPTION, GAP = 208, 176, 4, 22, 10
COLOURS = {
    "finding": (255, 170, 40),
    "unreported": (70, 200, 255),
    "attribute": (110, 230, 110),
    "shortcut": (255, 90, 150),
}
LEGEND = (
    "Left: without it.",
    "Right: the same film with it,",
    "a line around its mask.",
    "Nothing else differs.",
    "Grain changes every pixel.",
)
"""In the empty cell after the last factor."""


def outlined(
    film: UInt8[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"], colour: tuple[int, int, int]
) -> UInt8[np.ndarray, "h w 3"]:
    """A film with a line around a mask, drawn outside it so that it hides nothing; a mask of all pixels has none."""
    rgb = np.repeat(film[..., None], 3, axis=2)
    rgb[binary_dilation(mask, iterations=2) & ~binary_dilation(mask)] = colour
    return rgb


def page(seed: int, pair: int) -> Image.Image:
    """All factors of one world, two films each."""
    config = PhantomConfig(seed=seed, height=HEIGHT, width=WIDTH)
    cell_width, cell_height = 2 * WIDTH + GAP, HEIGHT + CAPTION
    rows = -(-len(TOGGLED) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * cell_width - GAP, rows * cell_height), (18, 18, 18))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=14)
    for at, factor in enumerate(TOGGLED):
        left, top = at % COLUMNS * cell_width, at // COLUMNS * cell_height
        without, having, mask = render_pair(config, draw_pair(config, factor, pair))
        colour = COLOURS[FACTORS[factor]]
        films = np.concatenate([np.repeat(without[..., None], 3, axis=2), outlined(having, mask, colour)], axis=1)
        canvas.paste(Image.fromarray(films), (left, top + CAPTION))
        draw.text((left + 4, top + 3), f"{factor} ({FACTORS[factor]})", fill=colour, font=font)
    left, top = len(TOGGLED) % COLUMNS * cell_width + 20, (rows - 1) * cell_height + CAPTION + 30
    for line, words in enumerate(LEGEND):
        draw.text((left, top + 22 * line), words, fill=(190, 190, 190), font=font)
    return canvas


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=0, help="the world")
    options.add_argument("--pair", type=int, default=0, help="which pair of each factor")
    options.add_argument("--out", type=Path, default=PAGE, help="the picture")
    asked = options.parse_args()
    page(asked.seed, asked.pair).save(asked.out, quality=72, optimize=True)
    print(f"{asked.out}: {asked.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
