"""What a module of a network gives for its images: vectors, maps or tokens, pooled or by position."""

from jaxtyping import Float
from torch import Tensor

from neuroconcepts_ray.errors import ConfigError


def pool(
    output: object, tap: str, *, reduction: str = "mean", tokens: str = "mean", prefix: int = 0
) -> Float[Tensor, "b d"]:
    """One float32 vector per image from what a module gives.

    Args:
        output: ``[b, d]`` as it is; ``[b, c, h, w]`` or ``[b, h, w, c]`` reduced over positions; ``[b, t, c]`` over
            patch tokens, or its class token.
        tap: Its name, for errors.
        reduction: ``mean`` or ``max`` over positions.
        tokens: ``mean`` or ``max`` of the patch tokens or the ``class`` token.
        prefix: Tokens before those of the patches, the class token first.

    Raises:
        ConfigError: The output has no such form.
    """
    values = _tensor(output, tap).float()
    if values.ndim == 2:
        return values
    if values.ndim == 3:
        if tokens == "class":
            return class_token(values, tap, prefix).float()
        return values[:, prefix:].amax(dim=1) if tokens == "max" else values[:, prefix:].mean(dim=1)
    places = (2, 3) if _channels_first(values) else (1, 2)
    return values.amax(dim=places) if reduction == "max" else values.mean(dim=places)


def class_token(output: object, tap: str, prefix: int) -> Float[Tensor, "b d"]:
    """The class token.

    Args:
        output: ``[b, t, d]``.
        tap: Its name, for errors.
        prefix: Tokens before those of the patches, the class token first.

    Raises:
        ConfigError: There is none.
    """
    values = _tensor(output, tap)
    if values.ndim != 3 or prefix < 1:
        raise ConfigError(
            "the backbone has no class token" if prefix < 1 else "a tap without tokens has no class token",
            value=f"{tap}: {tuple(values.shape)}",
            where="activations.taps" if tap.endswith(":class") else "activations.tokens",
            remedy="Take the mean",
        )
    return values[:, 0]


def grid(output: object, tap: str, prefix: int) -> Float[Tensor, "b h w d"]:
    """What a module gives at each position of the image, maps and tokens in one convention.

    Args:
        output: ``[b, d, h, w]``, ``[b, h, w, d]`` as swin has it, or ``[b, t, d]``, of which class and register tokens
            are left out and the others are the patches, row by row.
        tap: Its name, for errors.
        prefix: Tokens before those of the patches.

    Raises:
        ConfigError: The output has no positions, or its patches make no square.
    """
    values = _tensor(output, tap)
    if values.ndim == 4:
        return values.permute(0, 2, 3, 1) if _channels_first(values) else values
    side = round(float(max(0, values.shape[1] - prefix) ** 0.5)) if values.ndim == 3 else 0
    if not side or side * side != values.shape[1] - prefix:
        raise ConfigError(
            "a tap must give maps, or tokens that make a square, for its positions to be kept",
            value=f"{tap}: {tuple(values.shape)}, of which {prefix} tokens are no patches",
            where="activations.taps",
            remedy="Keep its mean, or take another module",
        )
    return values[:, prefix:].reshape(len(values), side, side, values.shape[2])


def _tensor(output: object, tap: str) -> Tensor:
    if isinstance(output, Tensor) and output.ndim in (2, 3, 4):
        return output
    form = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise ConfigError("a tap must give vectors, maps or tokens", value=f"{tap}: {form}", where="activations.taps")


def _channels_first(values: Float[Tensor, "b _ _ _"]) -> bool:
    # Images are square, so the two equal sides tell positions from channels.
    return values.shape[2] == values.shape[3] or values.shape[1] != values.shape[2]
