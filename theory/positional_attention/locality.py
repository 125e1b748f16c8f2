r"""Gaussian positional heads on a grid: their weights, how far they are from a shift, how far and how evenly they look.

d'Ascoli et al. 2021 (arXiv 2103.10697), equations 5 to 7, for the heads :math:`P(\delta) \propto e^{-\alpha |\delta -
\Delta|^2}`;
Cordonnier, Loukas and Jaggi 2020 (arXiv 1911.03584), theorem 1, for convolutions as their limit. The numbers at finite locality
are derived here. "Interior" means far from the border: what a grid cuts off has weight below :math:`e^{-\alpha t^2}`.
"""

from __future__ import annotations

import math

import numpy as np

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.positional_attention.gated_positions import theta


def nearest_weight_exact(locality: float) -> float:
    r"""Interior weight of each of the four neighbours of the centre, :math:`e^{-\alpha}/\theta(\alpha)^2`."""
    return math.exp(-locality) / theta(locality) ** 2


def shared_centre_weight_exact(locality: float) -> float:
    r"""Weight of each of the four cells around a half-integer centre, :math:`e^{-\alpha/2} / \theta_{1/2}(\alpha)^2`, below
    1/4."""
    return math.exp(-locality / 2) / theta(locality, 0.5) ** 2


def sum_of_squares_exact(locality: float) -> float:
    r"""Sum of squared weights of an interior head, :math:`\theta(2\alpha)^2 / \theta(\alpha)^4`."""
    return theta(2 * locality) ** 2 / theta(locality) ** 4


def convolution_error_exact(locality: float) -> float:
    r"""Relative root mean square error of a layer of heads as a convolution, in the interior, on white images:

    .. math:: \sqrt{1 - 2\theta(\alpha)^{-2} + \theta(2\alpha)^2\,\theta(\alpha)^{-4}} ,

    the distance of a head's weights from a one at its centre. Exact for kernels whose slices are orthogonal, and in the mean for
    independent ones, as cross terms of heads vanish; white images weigh all offsets alike.
    """
    w0 = theta(locality) ** -2
    return math.sqrt(1 - 2 * w0 + sum_of_squares_exact(locality))


def convolution_error_limit(locality: float) -> float:
    r"""Its form for large locality, :math:`\sqrt{20}\, e^{-\alpha}`: a loss of 4 q at the centre and q at four neighbours.

    The next factor is :math:`1 - 3.2\, e^{-\alpha}`, from :math:`1 - 2 w_0 + \ldots = 20 q^2 - 128 q^3`.

    So it is larger than :math:`1 - w_0 \approx 4 e^{-\alpha}` by 12 %.
    """
    check_positive(locality=locality)
    return math.sqrt(20) * math.exp(-locality)


def mean_distance_exact(locality: float) -> float:
    r"""Mean distance :math:`\sum_\delta P(\delta) |\delta|` of an interior head centred on its own cell, in cells."""
    p, t = _lattice(locality)
    return float((p[:, None] * p * np.hypot(t[:, None], t)).sum())


def entropy_exact(locality: float) -> float:
    r"""Entropy of an interior head in nats, :math:`2 [\ln\theta(\alpha) + \alpha\,\langle t^2\rangle]`; all that a gate at
    start adds."""
    p, t = _lattice(locality)
    return 2 * (math.log(theta(locality)) + locality * float((p * t**2).sum()))


def uniform_distance_exact(side: int) -> float:
    r"""Mean distance of uniform attention on a side x side grid, over all queries:
    :math:`H^{-4} \sum_{a,b} (H - |a|)(H - |b|) \sqrt{a^2 + b^2}`."""
    check_count(side=side)
    a = np.arange(1 - side, side)
    pairs = side - np.abs(a)
    return float((pairs[:, None] * pairs * np.hypot(a[:, None], a)).sum() / side**4)


def uniform_distance_limit(side: float) -> float:
    r"""Its limit for large grids, :math:`\frac{2 + \sqrt2 + 5 \operatorname{arsinh} 1}{15} H = .5214\, H`."""
    check_positive(side=side)
    return (2 + math.sqrt(2) + 5 * math.asinh(1)) / 15 * side


def weights_on_grid_exact(
    shape: tuple[int, int], query: tuple[int, int], centre: tuple[float, float], locality: float
) -> np.ndarray:
    """Weights (row, column) of a query at the given cell of a grid, the offset of the head in cells; they sum to 1 at a
    border, too."""
    check_count(rows=shape[0], columns=shape[1])
    check_positive(locality=locality)
    both = []
    for size, at, offset in zip(shape, query, centre, strict=True):
        logit = -locality * (np.arange(size) - at - offset) ** 2
        weight = np.exp(logit - logit.max())
        both.append(weight / weight.sum())
    return both[0][:, None] * both[1]


def border_error_exact(
    shape: tuple[int, int], query: tuple[int, int], centres: list[tuple[float, float]], locality: float
) -> float:
    r"""Relative root mean square error at any query as a convolution of the image padded with zeros.

    A head whose centre lies outside renormalises onto cells that the convolution does not see: it errs by its sum of
    squares, which
    does not fall with the locality. At a corner that are 5 of the 9 heads of a 3 x 3 kernel, at an edge 3: the error tends to
    :math:`\sqrt{5/9}` and :math:`\sqrt{3/9}`.
    """
    errors = []
    for centre in centres:
        p = weights_on_grid_exact(shape, query, centre, locality)
        at = int(query[0] + centre[0]), int(query[1] + centre[1])
        if 0 <= at[0] < shape[0] and 0 <= at[1] < shape[1]:
            p[at] -= 1
        errors.append((p**2).sum())
    return math.sqrt(float(np.mean(errors)))


def _lattice(locality: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights and places of one axis."""
    check_positive(locality=locality)
    far = math.ceil(math.sqrt(40 / locality)) + 1
    t = np.arange(-far, far + 1)
    p = np.exp(-locality * t**2)
    return p / p.sum(), t
