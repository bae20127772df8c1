"""timm backbones as this project uses them: built without a download, one linear head, taps by module name."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from neuroconcepts_ray.errors import ConfigError

RESERVED = ("pre_logits", "logits")
"""Taps that every backbone has: the very input of the head, and the head's output."""


def near(name: str, known: Sequence[str]) -> str:
    """The names that a user may have meant, as a remedy."""
    found = difflib.get_close_matches(name, known, n=5, cutoff=0.5) or [k for k in known if name and name in k][:5]
    return f"Did you mean {', '.join(found)}?" if found else f"Some there are: {', '.join(list(known)[:8])}"


def create(name: str, outputs: int, size: int, kwargs: Mapping[str, Any]) -> nn.Module:
    """A timm model with fresh weights; nothing is downloaded.

    Args:
        name: Its name in timm.
        outputs: Number of logits.
        size: Side of the images in pixels; told to models that are built for one size, as transformers are.
        kwargs: Further arguments of the model.

    Raises:
        ConfigError: No such model, or the model refuses the arguments.
    """
    # Here, because timm takes seconds to import, and most of what imports this module builds no model.
    import timm

    if not timm.is_model(name):
        raise ConfigError(
            "timm has no such backbone", value=name, where="classifier.backbone", remedy=near(name, timm.list_models())
        )
    given = timm.get_pretrained_cfg(name)
    sized = {"img_size": size} if given is not None and given.fixed_input_size else {}
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=False, num_classes=outputs, in_chans=3, **{**sized, **kwargs}
        )
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError(
            f"the backbone cannot be built: {error}",
            value={"backbone": name, "size": size, **kwargs},
            where="classifier.backbone_kwargs",
            remedy="Take other pixels.size or backbone_kwargs",
        ) from error
    head(model, name)
    return model


def head(model: nn.Module, name: str = "") -> tuple[str, nn.Linear]:
    """The linear layer that makes the logits, and its module name.

    Raises:
        ConfigError: The model ends otherwise.
    """
    classifier: Any = getattr(model, "get_classifier", None)
    found = classifier() if classifier is not None else None
    places = [place for place, module in model.named_modules() if module is found]
    if not isinstance(found, nn.Linear) or len(places) != 1:
        raise ConfigError(
            "the backbone does not end in one linear layer",
            value=f"{name or type(model).__name__}: {type(found).__name__}",
            where="classifier.backbone",
            remedy="Take resnet*, densenet*, convnext* or vit*, for instance",
        )
    return places[0], found


def layer(model: nn.Module, tap: str, hidden: str = "") -> nn.Module:
    """The module that a tap names.

    Args:
        model: The timm model.
        tap: A module name.
        hidden: A module that is no tap: where the head was.

    Raises:
        ConfigError: There is none.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules())
    for name in ("", hidden):
        modules.pop(name, None)
    if tap not in modules:
        raise ConfigError(
            "the backbone has no such tap", value=tap, where="activations.taps", remedy=near(tap, [*modules, *RESERVED])
        )
    return modules[tap]


def pool(
    output: object, tap: str, *, reduction: str = "mean", tokens: str = "mean", prefix: int = 0
) -> Float[Tensor, "b d"]:
    """One float32 vector per image from what a module gives.

    Args:
        output: ``[b, d]`` as it is; ``[b, c, h, w]`` or ``[b, h, w, c]`` reduced over positions; ``[b, t, c]`` over
            patch tokens, or its class token.
        tap: Its name, for errors.
        reduction: ``mean`` or ``max`` over positions.
        tokens: ``mean`` of the patch tokens or the ``class`` token.
        prefix: Tokens before those of the patches, the class token first.

    Raises:
        ConfigError: The output has no such form.
    """
    if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
        form = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ConfigError("a tap must give vectors, maps or tokens", value=f"{tap}: {form}", where="activations.taps")
    values = output.float()
    if values.ndim == 2:
        return values
    if values.ndim == 3:
        if tokens == "class":
            if prefix < 1:
                raise ConfigError(
                    "the backbone has no class token",
                    value=tap,
                    where="activations.tokens",
                    remedy="Take tokens: mean",
                )
            return values[:, 0]
        return values[:, prefix:].mean(dim=1)
    # Images are square, so the two equal sides tell positions from channels.
    places = (2, 3) if values.shape[2] == values.shape[3] or values.shape[1] != values.shape[2] else (1, 2)
    return values.amax(dim=places) if reduction == "max" else values.mean(dim=places)
