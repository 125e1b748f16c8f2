r"""The large-kernel gate: its receptive field is not its name, and it has degree 2.

Guo et al. 2022 (arXiv 2202.09741). Both kernels together span :math:`(2 d - 1) + (\lceil K/d \rceil - 1) d` cells: 23
at K = 21, d = 3. Without biases :math:`\mathrm{LKA}(a x) = a^2\, \mathrm{LKA}(x)`.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count


def receptive_field(kernel: int, dilation: int) -> int:
    """Cells per side from the first to the last that an output sees."""
    check_count(kernel=kernel, dilation=dilation)
    return 2 * dilation - 1 + (-(-kernel // dilation) - 1) * dilation


def parameters(channels: int, kernel: int, dilation: int) -> int:
    """Weights without biases: both depthwise kernels and the mixing matrix."""
    return channels * ((2 * dilation - 1) ** 2 + (-(-kernel // dilation)) ** 2) + channels**2


def multiply_adds(sizes: Any, *, causal: bool = False, kernel: int = 6, dilation: int = 2) -> int:
    """Multiply-adds of one call: one per weight and token."""
    return sizes.n * parameters(sizes.d_model, kernel, dilation)
