"""Films that are in no catalog, through a finished classifier, in the arithmetic that its archive was mined in."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from neuroconcepts_ray.activations.extract import check_finite, extract
from neuroconcepts_ray.classifier.model import load_classifier
from neuroconcepts_ray.imaging.load import load_pixels
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest


def infer(
    lake: Lake, have: Mapping[str, Manifest], names: Sequence[str], films: Sequence[bytes]
) -> dict[str, Float[np.ndarray, "n d"]]:
    """One float32 vector per film: ``pre_logits``, what the head takes, and ``logits``.

    Args:
        lake: The lake.
        have: The finished artifacts: classifier and its activations.
        names: What the films are called, for messages.
        films: Their bytes.

    Raises:
        Undecodable: A film will never decode.
        InputError: The classifier overflows on one.
    """
    model = load_classifier(lake, have["classifier"])
    settings = have["activations.pre_logits"].recipe_body["config"]
    pixels = np.stack([load_pixels(data, model.card.pixels) for data in films])
    found = extract(model, pixels, [], batch_size=int(settings["batch_size"]), dtype=str(settings["dtype"]))
    for tap, x in found.items():
        check_finite(tap, names, x)
    return found
