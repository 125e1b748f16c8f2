"""A generated training step: from a loss and an optimiser's text to a function that makes many updates of many replicas.

Everything about one step of one replica is in the C text; its SHA-256 names the step. Replicas lie in the lanes of a vector, so
that no lane sees another: a replica's bits do not depend on those beside it, nor on how many there are.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.compiled import compiler
from attnlab.kernels.generated import laws
from attnlab.kernels.generated.emit import source
from attnlab.kernels.generated.graph import Refused
from attnlab.kernels.generated.laws import Part
from attnlab.kernels.generated.plan import planned
from attnlab.kernels.generated.trace import traced

_SOURCE = Path(__file__).parent / "step.c"
LARGEST = 100_000
"""Parameters of a replica above which a step is refused; no training of that size was measured."""


@dataclass(frozen=True)
class Text:
    """The C text of a step, its hash, and what it takes: parameters, the other tensors by name, optimiser states; ``n_drawn``
    random numbers per step are drawn inside."""

    c: str
    digest: str
    n_parameters: int
    others: tuple[str, ...]
    n_states: int
    dtype: torch.dtype
    n_drawn: int


def text_of(
    loss: Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor],
    parameters: dict[str, Tensor],
    others: dict[str, Tensor],
    update: str,
    n_states: int,
    numbers: Sequence[Part] | None = None,
) -> Text:
    """The text of a step for ``loss(parameters, others)`` of one replica, traced at the given tensors.

    ``numbers``: the law of the input that is given as None when the step runs, to be drawn in C; only in float32.

    Errors: ``Refused`` with the reason, among them the name of an unknown operation.
    """
    count = sum(each.numel() for each in parameters.values())
    dtype = next(iter(parameters.values())).dtype
    if count > LARGEST:
        raise Refused(f"{count} parameters in a replica, more than {LARGEST}")
    if dtype not in (torch.float32, torch.float64):
        raise Refused(f"parameters in {dtype}")
    graph, value, gradients = traced(loss, parameters, others)
    plan = planned(graph, value, gradients)
    sizes = {name: each.numel() for name, each in parameters.items()}
    draws = bool(numbers) and dtype == torch.float32
    c = source(graph, plan, sizes, list(others), update, n_states, laws.text(tuple(numbers)) if draws else "")
    n_drawn = sum(part.count for part in numbers) if draws else 0
    return Text(c, hashlib.sha256(c.encode()).hexdigest(), count, tuple(others), n_states, dtype, n_drawn)


class Step:
    """A loaded step; ``others`` holds ``(replica, ...)`` tensors by name, None for the numbers that change at every step.

    ``seeds``: the 64-bit seed of each replica's own numbers, for a text that draws.
    """

    def __init__(
        self, text: Text, others: dict[str, Tensor | None], n_replicas: int, seeds: np.ndarray | None = None
    ) -> None:
        self.text, self.n_replicas = text, n_replicas
        self.seeds = np.zeros(n_replicas, np.uint64) if seeds is None else np.ascontiguousarray(seeds, np.uint64)
        real32 = text.dtype == torch.float32
        wide = n_replicas * (4 if real32 else 8) > 32
        library = compiler.load(_SOURCE, text.c, **({"WIDE": 1} if wide else {}))
        if library is None:
            raise Refused(f"no build: {compiler.compiler_report()['reason'] or compiler.compiler_report()['failed']}")
        self.library = library
        library.scratch_bytes.restype = ctypes.c_int64
        library.run.restype = None
        self.lanes = library.lanes()
        self.others = [None if others[name] is None else self._packed(others[name]) for name in text.others]
        self.real = np.float32 if real32 else np.float64
        self._scratch = torch.empty(0, dtype=torch.uint8)

    def _packed(self, tensor: Tensor) -> Tensor:
        """``(group, entry, lane)``; lanes without a replica repeat the first one's numbers."""
        flat = tensor.reshape(len(tensor), -1).to(self.text.dtype)
        groups = -(-len(flat) // self.lanes)
        rows = torch.arange(groups * self.lanes)
        first = rows // self.lanes * self.lanes
        rows = torch.where(rows < len(flat), rows, first)
        return _aligned(flat[rows].view(groups, self.lanes, -1).transpose(1, 2).contiguous())

    def run(
        self,
        values: Tensor,
        states: Sequence[Tensor],
        numbers: Tensor | None,
        rates: np.ndarray,
        factors: np.ndarray,
        first: int = 0,
    ) -> np.ndarray:
        """Make ``len(factors)`` updates in place; returns the losses ``(replica, step)`` before each.

        values and states ``(replica, parameter)``, contiguous; numbers ``(replica, step, number)``; rates ``(replica,)``;
        factors ``(step, 2)``; ``first``: number of the first step, for numbers that are drawn inside.
        """
        n_steps, n_numbers = len(factors), self.text.n_drawn if numbers is None else numbers.shape[-1]
        if not (values.is_contiguous() and all(each.is_contiguous() for each in states)):
            raise ValueError("values and states must be contiguous")
        if numbers is not None and numbers.stride(-1) != 1:
            numbers = numbers.contiguous()
        losses = np.empty((self.n_replicas, n_steps), self.real)
        rates, factors = np.ascontiguousarray(rates, self.real), np.ascontiguousarray(factors, np.float64)
        needed = self.library.scratch_bytes(ctypes.c_int64(n_numbers))
        if self._scratch.numel() < needed:
            self._scratch = _aligned(torch.zeros(needed, dtype=torch.uint8))
        pointers = (ctypes.c_void_p * max(len(states), 1))(*(each.data_ptr() for each in states))
        packed = (ctypes.c_void_p * max(len(self.others), 1))(
            *(each.data_ptr() if each is not None else None for each in self.others)
        )
        sizes = (ctypes.c_int64 * max(len(self.others), 1))(
            *(each.shape[1] if each is not None else 0 for each in self.others)
        )
        row, step = (0, 0) if numbers is None else (numbers.stride(0), numbers.stride(1))
        self.library.run(
            ctypes.c_int64(self.n_replicas), ctypes.c_int64(n_steps), ctypes.c_void_p(values.data_ptr()), pointers,
            ctypes.c_void_p(0 if numbers is None else numbers.data_ptr()), ctypes.c_int64(n_numbers), ctypes.c_int64(row),
            ctypes.c_int64(step), packed, sizes, rates.ctypes.data_as(ctypes.c_void_p), factors.ctypes.data_as(ctypes.c_void_p),
            losses.ctypes.data_as(ctypes.c_void_p), self.seeds.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(first),
            ctypes.c_void_p(self._scratch.data_ptr()),
        )  # fmt: skip
        return losses


def _aligned(tensor: Tensor) -> Tensor:
    """The tensor in memory that starts at a multiple of 64 bytes."""
    if tensor.data_ptr() % 64 == 0:
        return tensor
    room = torch.empty(tensor.numel() * tensor.element_size() + 64, dtype=torch.uint8)
    start = -room.data_ptr() % 64
    moved = room[start : start + tensor.numel() * tensor.element_size()].view(tensor.dtype).view(tensor.shape)
    return moved.copy_(tensor)
