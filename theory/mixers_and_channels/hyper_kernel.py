r"""Hyper-kernels: one layer sees a column or a cross, not the grid.

Zhang 2024 (arXiv 2401.17948). On a grid of H x W cells an output of W x depends on the H cells of its column, one of
(x o W) x on the H + W - 1 cells of its row and column (square grids). Full context needs two layers. The first is
linear, the second of degree 2.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count


def cells_seen(rows: int, columns: int, version: int) -> int:
    """Cells that an output depends on; version 1 on square grids."""
    check_count(rows=rows, columns=columns)
    return rows if version == 2 else rows + columns - 1


def degree(version: int) -> int:
    """Degree of homogeneity in x."""
    return 1 if version == 2 else 2


def multiply_adds(sizes: Any, *, causal: bool = False, version: int = 2, width: int = 8) -> int:
    """Multiply-adds of one call: the network at every coordinate, a product of matrices per channel."""
    rows, columns = sizes.shape
    side = rows if version == 2 else max(rows, columns)
    network = side**2 * width * (2 + sizes.d_model)
    return network + sizes.d_model * side**2 * (columns if version == 2 else side)
