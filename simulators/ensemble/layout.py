"""Parameters as one matrix, one row per replica: which columns are which parameter.

Optimisers and compiled steps work on the matrix ``(replica, parameter)``; models see arrays by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Parameters = dict[str, Tensor]
Array = TypeVar("Array", Tensor, np.ndarray)


@dataclass(frozen=True)
class Layout:
    """The columns of the matrix: parameters in the order of ``shapes``, each flattened; ``shapes`` without the replica axis."""

    shapes: Mapping[str, tuple[int, ...]]

    def split(self, matrix: Array) -> dict[str, Array]:
        """Views ``(replica, *shape)`` of a matrix ``(replica, parameter)`` by name; writing to them changes the matrix."""
        views, low = {}, 0
        for name, shape in self.shapes.items():
            high = low + math.prod(shape)
            views[name] = matrix[:, low:high].reshape(len(matrix), *shape)
            low = high
        if low != matrix.shape[1]:
            raise ValueError(f"the matrix has {matrix.shape[1]} columns; the parameters {dict(self.shapes)} need {low}")
        return views

    def join(self, arrays: Mapping[str, Array]) -> Array:
        """A new matrix ``(replica, parameter)`` of arrays ``(replica, *shape)`` by name; the inverse of :meth:`split`."""
        flat = [arrays[name].reshape(len(arrays[name]), -1) for name in self.shapes]
        if isinstance(flat[0], Tensor):
            return torch.cat(flat, dim=1)
        return np.concatenate(flat, axis=1)
