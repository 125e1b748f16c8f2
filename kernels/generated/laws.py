"""The law of a task's random numbers, read off the function that draws them in torch.

A ``fill`` that only calls ``normal_`` and ``uniform_`` on parts of its numbers says what to draw; the same law is then drawn in C
from counters, with a seed per replica. Any other ``fill`` keeps drawing in torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.compiled.philox import philox_normals, philox_words
from attnlab.kernels.torch_internals import DispatchMode

_VIEWS = {
    "view",
    "slice",
    "select",
    "split",
    "split_with_sizes",
    "unsqueeze",
    "squeeze",
    "narrow",
    "detach",
    "alias",
    "unbind",
}


@dataclass(frozen=True)
class Part:
    """Numbers ``start`` to ``start + count - 1`` of a step: ``"normal"`` with mean ``a`` and deviation ``b``, or ``"uniform"``
    from ``a`` to ``b``."""

    kind: str
    start: int
    count: int
    a: float
    b: float


class _Watch(DispatchMode):
    """Notes what is drawn into the memory of one tensor; anything else that happens to tensors makes the law unknown."""

    def __init__(self, numbers: Tensor) -> None:
        super().__init__()
        self.numbers, self.parts, self.known = numbers, [], True

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().split("::")[1].split(".")[0]
        if name in ("normal_", "uniform_"):
            kind, x = name[:-1], args[0]
            a, b = (*args[1:3], *(0.0, 1.0)[len(args) - 1 :])
            whole = x.untyped_storage().data_ptr() == self.numbers.untyped_storage().data_ptr()
            self.known &= (
                whole and x.is_contiguous() and not set(kwargs or {}) - {"generator", "mean", "std", "from", "to"}
            )
            self.parts.append(Part(kind, x.storage_offset(), x.numel(), float(a), float(b)))
        elif name not in _VIEWS:
            self.known = False
        return function(*args, **(kwargs or {}))


def parts_of(fill: Callable[[Tensor, torch.Generator], None], count: int) -> tuple[Part, ...] | None:
    """The parts of one step of ``count`` numbers that ``fill(numbers (1, count), stream)`` draws; None where that is not all
    it does."""
    numbers = torch.empty(1, count)
    with _Watch(numbers) as watch:
        fill(numbers, torch.Generator())
    place = 0
    for part in sorted(watch.parts, key=lambda part: part.start):
        if part.start != place:
            return None
        place += part.count
    return tuple(watch.parts) if watch.known and place == count and watch.parts else None


def drawn(parts: tuple[Part, ...], seed: int, step: int) -> np.ndarray:
    """The reference of the numbers of one replica at a step, in float64."""
    numbers = np.empty(sum(part.count for part in parts))
    for index, part in enumerate(parts):
        if part.kind == "normal":
            found = part.a + part.b * philox_normals(seed, step, 1, part.count, index)[0]
        else:
            counter = np.zeros((-(-part.count // 4), 4), dtype=np.uint64)
            counter[:, 0], counter[:, 1] = np.arange(len(counter)), index
            counter[:, 2], counter[:, 3] = step & 0xFFFFFFFF, step >> 32
            words = philox_words(counter, (seed & 0xFFFFFFFF, seed >> 32)).reshape(-1)[: part.count]
            found = part.a + (part.b - part.a) * ((words >> np.uint32(8)) / 2**24)
        numbers[part.start : part.start + part.count] = found
    return numbers


def text(parts: tuple[Part, ...]) -> str:
    """The C function that draws all numbers of a step."""
    lines = []
    for index, part in enumerate(parts):
        width = part.b if part.kind == "normal" else part.b - part.a
        call = (
            f"draw_{part.kind}s(k, step, {index}, {part.count}, (real){part.a!r}, (real){width!r}, out + {part.start})"
        )
        lines.append(f"    {call};\n")
    return f"static void draw(const Keys *k, uint64_t step, vec *out) {{\n{''.join(lines)}}}\n"
