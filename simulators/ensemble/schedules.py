"""Learning-rate schedules: the factor on the base learning rate as a function of the number of updates done."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant(step: int) -> float:
    """The factor 1 at every step."""
    return 1.0


def warmup(n_warmup: int, then: Schedule = constant) -> Schedule:
    """Rises linearly from ``1/n_warmup`` to 1 in ``n_warmup`` steps, then follows ``then`` (counted from step 0)."""
    _check_count("n_warmup", n_warmup)
    return lambda step: then(step) * min(1.0, (step + 1) / n_warmup)


def cosine(n_steps: int, final: float = 0.0) -> Schedule:
    r"""Falls from 1 to ``final``: :math:`f + (1 - f)(1 + \cos(\pi t / T)) / 2`, and stays there after T steps."""
    _check_count("n_steps", n_steps)
    if not 0 <= final <= 1:
        raise ValueError(f"final={final!r} is out of range; use 0 <= final <= 1")
    return lambda step: final + (1 - final) * (1 + math.cos(math.pi * min(step / n_steps, 1.0))) / 2


def staircase(every: int, factor: float) -> Schedule:
    """Multiplied by ``factor`` after each ``every`` steps."""
    _check_count("every", every)
    if not factor > 0:
        raise ValueError(f"factor={factor!r} is not positive; use factor > 0")
    return lambda step: factor ** (step // every)


def _check_count(name: str, value: int) -> None:
    if not (isinstance(value, int) and value >= 1):
        raise ValueError(f"{name}={value!r} is not a whole number of at least 1")
