"""What reads a network's input, found out by running it."""

import torch
from torch import Tensor, nn

from neuroconcepts_ray.classifier.prepare import begins_with_convolution


class Plain(nn.Module):
    """A convolution and its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3))


class Skipping(Plain):
    """One whose input is also passed on, in a list."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv(x), x], dim=1).mean((2, 3))


def test_an_input_that_is_passed_on_in_a_list_is_read_by_more_than_a_convolution() -> None:
    x = torch.zeros(1, 3, 8, 8)
    assert begins_with_convolution(Plain().eval(), x)
    assert not begins_with_convolution(Skipping().eval(), x)
