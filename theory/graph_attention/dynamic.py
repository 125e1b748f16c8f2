r"""GATv2, a head that mixes before it reads out: :math:`e_{ij} = a \cdot \mathrm{LR}(W_l h_i + W_r h_j)`.

Brody, Alon and Yahav 2022 (arXiv 2105.14491), equation 7 and theorem 2. Constructions with their exact weights, derived here.
"""

from __future__ import annotations

import math

from attnlab.theory.checks import check_count, check_positive, check_share

SLOPE = 0.2


def lookup_weight_exact(n_keys: int, place: int, sharpness: float, slope: float = SLOPE) -> float:
    r"""Weight of the right key of two hidden units :math:`\pm(x_i - y_j)`, a = (-c, -c), identifiers 0 ... k - 1.

    :math:`\mathrm{LR}(z) + \mathrm{LR}(-z) = (1 - s)|z|`, hence scores :math:`-(1-s) c\,|i - j|`; with :math:`q = e^{-(1-s)
    c}` the key at ``place`` i (from 0) has

    .. math:: \Big[1 + \frac{2 q - q^{i+1} - q^{k-i}}{1 - q}\Big]^{-1} .
    """
    check_count(n_keys=n_keys)
    check_positive(sharpness=sharpness)
    check_share(slope=slope)
    if not 0 <= place < n_keys:
        raise ValueError(f"place={place!r} must lie between 0 and n_keys - 1 = {n_keys - 1}")
    q = math.exp(-(1 - slope) * sharpness)
    return 1 / (1 + (2 * q - q ** (place + 1) - q ** (n_keys - place)) / (1 - q))


def lookup_weight_bound(sharpness: float, slope: float = SLOPE) -> float:
    r"""Infimum of the same over places and numbers of keys: :math:`\tanh((1 - s) c / 2)`, approached in the middle of many
    keys.

    A fixed c looks up dictionaries of any size; the union bound :func:`union_weight_bound` is empty from
    :math:`k = 1 + e^{(1-s) c}` on.
    """
    check_positive(sharpness=sharpness)
    return math.tanh((1 - slope) * sharpness / 2)


def union_weight_bound(n_keys: int, sharpness: float, slope: float = SLOPE) -> float:
    r"""The bound :math:`1 - (k - 1) e^{-(1-s) c}`, which counts every other key as a neighbour."""
    check_count(n_keys=n_keys)
    return 1 - (n_keys - 1) * math.exp(-(1 - slope) * sharpness)


def hidden_units_of_a_map(n_queries: int) -> int:
    r"""Hidden units that reach a given map of n queries to keys, 3 n.

    Directions u, v make :math:`t_{ij} = u \cdot h_i + v \cdot h_j` different for all pairs. A second difference of LR at
    t = -w, 0, w, over (1 - s) w, is a hat of height 1, as the linear part cancels; one hat on every assigned pair, narrower
    than the least distance of two t, gives score c there and 0 elsewhere.
    """
    check_count(n_queries=n_queries)
    return 3 * n_queries


def map_weight_exact(n_keys: int, height: float) -> float:
    r"""Weight of the assigned key in that construction, :math:`1 / (1 + (n - 1) e^{-c})`, the same for all queries and maps."""
    check_count(n_keys=n_keys)
    return 1 / (1 + (n_keys - 1) * math.exp(-height))
