"""Amsel, Yehudai and Bruna 2024: what attention heads of low rank cannot point at, however many there are.

Letters of the paper: d the dimension, r the rank of a head (Q K^T of rank r), H the number of heads, N of points; the target is
the point nearest to y, or in self-attention the farthest. Errors are squared distances summed over coordinates.
"""

from attnlab.papers.amsel2024 import bounds, constructions, paper_figures, training
from attnlab.papers.amsel2024.common import paper

__all__ = ["bounds", "constructions", "paper", "paper_figures", "training"]

if __name__ == "__main__":
    raise SystemExit(paper.main())
