"""Native sparse attention: compressed blocks, selected blocks and a sliding window, and the tokens a query touches.

Reference: Native Sparse Attention (arXiv 2502.11089).
"""

from __future__ import annotations

from dataclasses import dataclass

from attnlab.theory.costs.dense_tiles import causal_pairs


@dataclass(frozen=True)
class NativeSparse:
    """Sizes of native sparse attention: compression block and stride, selection block and count, window."""

    compression: int = 32
    stride: int = 16
    selection: int = 64
    n_selected: int = 16
    window: int = 512

    def tokens(self, cached: int) -> int:
        """Keys and values touched by a query with ``cached`` tokens before it, the exact count."""
        compressed = 0 if cached < self.compression else (cached - self.compression) // self.stride + 1
        return compressed + min(cached, self.n_selected * self.selection) + min(cached, self.window)

    def decode_speedup(self, cached: int) -> float:
        """Bandwidth bound over full attention, s/(s/stride + n l' + w), tending to the stride."""
        return cached / (cached / self.stride + self.n_selected * self.selection + self.window)

    def training_ratio(self, n: int) -> float:
        """Causal pairs over the pairs this pattern touches in a sequence of ``n``."""
        return causal_pairs(n) / sum(self.tokens(s) for s in range(1, n + 1))
