"""Parameters of a Transformer layer and of a Macaron layer (Lu et al., arXiv 1906.02762, section 4).

A Macaron layer has two feed-forward networks of half the inner width, so both layers have the same number of weights.
"""

from attnlab.theory.checks import check_one_of


def attention_parameters(dim: int, biases: bool = True) -> int:
    """Query, key, value and output matrices (d x d each), with d biases each if ``biases``."""
    return 4 * dim**2 + 4 * dim * biases


def feed_forward_parameters(dim: int, hidden: int, biases: bool = True) -> int:
    """Two matrices d x m and m x d, with m + d biases if ``biases``."""
    return 2 * dim * hidden + (hidden + dim) * biases


def layer_parameters(kind: str, dim: int, hidden: int, *, biases: bool = True, norms: bool = True) -> int:
    """Parameters of one layer, ``kind`` "transformer" (inner width ``hidden``) or "macaron" (two of half that width).

    ``norms``: one layer normalisation (2 d numbers) a sub-layer. Without biases and norms both have 4 d^2 + 2 d m, which is
    12 d^2 at m = 4 d. With both, the Macaron layer has 3 d more: one more output bias and one more norm.
    """
    check_one_of(("transformer", "macaron"), kind=kind)
    if hidden % 2:
        raise ValueError(f"hidden={hidden!r} is odd and cannot be halved; use an even inner width")
    widths = [hidden] if kind == "transformer" else [hidden // 2] * 2
    return (
        attention_parameters(dim, biases)
        + sum(feed_forward_parameters(dim, width, biases) for width in widths)
        + 2 * dim * norms * (1 + len(widths))
    )
