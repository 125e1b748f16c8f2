"""Mahdavi, Liao and Thrampoulidis 2024: how many examples one multi-head attention layer memorises.

Letters of the paper: T examples, n context tokens, width d, H heads of width d_h, r = min(n, d_h), features Z (T, H d).
"""

from attnlab.papers.mahdavi2024 import broken, construction, frozen, paper_figures, rank_laws, trained
from attnlab.papers.mahdavi2024.common import paper

__all__ = ["broken", "construction", "frozen", "paper", "paper_figures", "rank_laws", "trained"]

if __name__ == "__main__":
    raise SystemExit(paper.main())
