"""The three scales at which a paper is run: does it run at all, on a desk, with the sizes of the paper."""

from typing import Literal

Scale = Literal["smoke", "desk", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "desk", "paper")
