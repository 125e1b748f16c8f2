r"""Mass that a causal window keeps when attention decays with distance as a power law.

For weights :math:`p(r) \propto (1 + r)^{-b}` at distance r = 0, ..., n - 1 a window of w keys keeps
:math:`g = H_w(b)/H_n(b)`, generalised harmonic numbers. Its error is bounded by the dropped mass:
:math:`|o_K - o| \le 2 (1 - g) \max |v|`, exact form in :mod:`attnlab.theory.sparse_selection.retained_mass`.
"""

from __future__ import annotations

from attnlab.theory.checks import check_count


def window_mass(window: int, n_keys: int, decay: float) -> float:
    """Share of the mass inside the window, H_w(b)/H_n(b)."""
    check_count(window=window, n_keys=n_keys)
    return _harmonic(min(window, n_keys), decay) / _harmonic(n_keys, decay)


def _harmonic(n: int, power: float) -> float:
    return sum(r**-power for r in range(1, n + 1))
