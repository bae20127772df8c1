"""Films as a backbone takes them. A byte has 256 values, so each is normalised once and then looked up."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


def look_up(x: UInt8[Tensor, "b c h w"], table: Float[Tensor, "256 i"]) -> Float[Tensor, "b i h w"]:
    """Replace bytes by what stands for them, channels last: a seventh of the time of arithmetic and a copy.

    Args:
        x: Films on the CPU; one channel becomes as many as the table has.
        table: What each byte becomes in each channel, in any dtype.
    """
    b, c, h, w = x.shape
    channels = table.shape[1]
    # Numpy copies items of any size whole; it knows no bfloat16, and need not.
    plain = table.contiguous().view(torch.uint8).numpy()
    films = x.numpy()
    out = np.empty((b, h, w, plain.shape[1]), dtype=np.uint8)
    if c == 1:
        pixel = np.dtype(f"V{plain.shape[1]}")
        np.take(plain.view(pixel)[:, 0], films[:, 0], out=out.view(pixel)[..., 0], mode="clip")
    else:
        value = np.dtype(f"V{table.element_size()}")
        for channel in range(channels):
            out.view(value)[..., channel] = plain.view(value)[:, channel][films[:, channel]]
    return torch.from_numpy(out).view(table.dtype).permute(0, 3, 1, 2)


class _Uses(TorchFunctionMode):
    """Notes which functions take one tensor."""

    def __init__(self, of: Tensor) -> None:
        super().__init__()
        self.of = of
        self.functions: list[object] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Note it and call it."""
        # torch.cat and its like take it in a list.
        given = [one if isinstance(one, list | tuple) else [one] for one in (*args, *(kwargs or {}).values())]
        if any(tensor is self.of for some in given for tensor in some):
            self.functions.append(func)
        return func(*args, **(kwargs or {}))


_LOOKS = (Tensor.shape.__get__, Tensor.ndim.__get__, Tensor.size, Tensor.dim)  # type: ignore[attr-defined]
"""What only asks for a tensor's form."""


def begins_with_convolution(network: nn.Module, x: Float[Tensor, "1 i h w"]) -> bool:
    """Whether nothing but convolutions reads a network's input.

    Autocast computes these from the input rounded to bfloat16, so it may as well be given like that.

    Args:
        network: In eval mode.
        x: Any image that it takes.
    """
    with torch.inference_mode(), _Uses(x) as seen:
        network(x)
    found = [function for function in seen.functions if function not in _LOOKS]
    return bool(found) and all(function is F.conv2d for function in found)
