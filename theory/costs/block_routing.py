"""Attention routed to blocks by their centroids: visible pairs, the best number of blocks, and the chance of a miss.

References: MoBA (arXiv 2502.13189) and its retrieval model (arXiv 2511.11571).
"""

from __future__ import annotations

import math

from scipy import integrate, stats

from attnlab.theory.costs.dense_tiles import causal_pairs


def moba_pairs(n: int, block: int, top_k: int) -> int:
    """Visible pairs of block-routed attention: the own block causally, and k - 1 earlier blocks (MoBA)."""
    if n % block:
        raise ValueError(f"block={block} must divide n={n}")
    blocks = n // block
    return blocks * causal_pairs(block) + block * block * sum(min(top_k - 1, c) for c in range(blocks))


def moba_best_blocks(n: int, top_k: int) -> float:
    r"""Number of blocks that balances gate and attention FLOPs, :math:`\sqrt{2kN}`."""
    return math.sqrt(2 * top_k * n)


def retrieval_snr(excess: float, dim: int, block: int) -> float:
    r"""Signal over noise of a centroid score, :math:`\Delta\mu \sqrt{d/(2B)}`."""
    return excess * math.sqrt(dim / (2 * block))


def retrieval_probability(snr: float, n_blocks: int, top_k: int) -> float:
    r"""Probability that the signal block is among the k - 1 routed ones of ``n_blocks`` (the current one is given).

    .. math:: E_z\bigl[\mathrm{BinomCDF}(k-2;\; n-1,\; 1 - \Phi(\sqrt 2\,\mathrm{SNR} + z))\bigr], \quad z \sim N(0, 1).
    """
    if not 2 <= top_k <= n_blocks:
        raise ValueError(f"need 2 <= top_k <= n_blocks, got top_k={top_k}, n_blocks={n_blocks}")

    def integrand(z: float) -> float:
        ahead = stats.norm.sf(math.sqrt(2) * snr + z)
        return stats.norm.pdf(z) * stats.binom.cdf(top_k - 2, n_blocks - 1, ahead)

    return integrate.quad(integrand, -9, 9, epsabs=1e-10)[0]
