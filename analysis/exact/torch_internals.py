"""The private names of torch that analysis/ uses, in one file; ``kernels/torch_internals.py`` is the same for kernels/.

``tests/analysis/exact/test_torch_internals.py`` checks each against what it is used for. Run it first on a new torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes


class DispatchMode(TorchDispatchMode):
    """A mode that sees every operation below autograd: recordings and shaken evaluations derive from it.

    Torch hides the code of modes from torch.compile, for which the first operation loads all of torch's compiler (two
    seconds). These modes never run in compiled code, and say so.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """Inside it operations run as they are: no mode sees them and no subclass of a tensor takes them over."""
    with _disable_current_modes(), torch._C.DisableTorchFunction():
        yield


def schema(operation: Any) -> Any:
    """Name, arguments and returns of an operation that a mode sees, and whether it changes an argument in place."""
    return operation._schema
