r"""Eigenvalues, target energies and norms of the random-feature kernels, for tokens uniform on the unit sphere of R^d.

Let P_l be the Gegenbauer polynomial of degree l for dimension d with P_l(1) = 1 and N(d, l) the number of spherical harmonics.
Functions of a query and of exchangeable keys have modes (l_0, l): harmonics of degree l_0 of the query times harmonics of
degree l of one key, averaged over the keys. Every eigenvalue is a series of non-negative terms, so none loses digits.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, gammaln

from attnlab.theory.checks import check_count
from attnlab.theory.random_feature_heads.kernels import arc_cosine_coefficients

Mode = tuple[int, ...]
_TERMS = 600
_PERCEPTRON_TERMS = 100


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and multiplicities by mode, and what the left-out modes add to the mean of K(x, x).

    Modes are (l_0, l) for attention and the sorted positive degrees for the perceptron, which does not tell tokens apart.
    """

    eigenvalues: dict[Mode, float]
    multiplicities: dict[Mode, float]
    tail: float
    attention: bool = True

    def mode(self, query_degree: int, key_degree: int) -> Mode:
        """The mode of this spectrum that holds degrees (l_0, l)."""
        if self.attention:
            return query_degree, key_degree
        return tuple(sorted(degree for degree in (query_degree, key_degree) if degree))


def multiplicity(dim: int, degree: int) -> int:
    """Number N(d, l) of linearly independent spherical harmonics of a degree on the unit sphere of R^dim, dim >= 2."""
    check_count(at_least=2, dim=dim)
    check_count(at_least=0, degree=degree)
    lower = math.comb(dim + degree - 3, degree - 2) if degree >= 2 else 0
    return math.comb(dim + degree - 1, degree) - lower


def moment(dim: int, power: int, degree: int) -> float:
    """E[t^power P_degree(t)] of t = <x, y> with x, y independent and uniform on the unit sphere of R^dim, dim >= 3."""
    if power < degree or (power - degree) % 2:
        return 0.0
    return math.exp(_log_rodrigues(dim, power, degree) + betaln((power - degree + 1) / 2, degree + (dim - 1) / 2))


@functools.cache
def shifted_moments(dim: int, n_powers: int, max_degree: int) -> np.ndarray:
    r"""E[((1 + t)/2)^k P_l(t)] for k < n_powers (rows) and l <= max_degree (columns); zero for l > k.

    Why: by Rodrigues' formula l integrations by parts turn it into a Beta integral of the l-th derivative.
    """
    table = np.zeros((n_powers, max_degree + 1))
    for degree in range(max_degree + 1):
        k = np.arange(degree, n_powers)
        half = degree + (dim - 1) / 2
        log_beta = (2 * half - 1) * math.log(2) - degree * math.log(2) + betaln(k - degree + half, half)
        table[degree:, degree] = np.exp(_log_rodrigues(dim, k, degree) + log_beta)
    return table


def pair_eigenvalues(dim: int, max_degree: int, augmented: bool = True) -> np.ndarray:
    r"""Eigenvalues mu of the kernel of one key, entry (l_0, l) for degrees up to ``max_degree``.

    .. math:: \mu_{l_0 l} = E[\kappa(\tfrac{(1+u)(1+t)}{4}) (1+t) P_{l_0}(u) P_l(t)] = \sum_k c_k 4^{-k}
              E[(1+u)^k P_{l_0}(u)] \, E[(1+t)^{k+1} P_l(t)] > 0,

    and without the constant in the tokens E[kappa(u t) t P P] = sum_k c_k E[u^k P_{l_0}] E[t^{k+1} P_l], which is zero unless
    l_0 is even and l odd, or l_0 = 1 and l = 0 or 2. Needs dim >= 3.
    """
    check_count(at_least=3, dim=dim)
    c = arc_cosine_coefficients(_TERMS)
    if augmented:
        table = shifted_moments(dim, _TERMS + 1, max_degree)
        return 2 * np.einsum("k,ka,kb->ab", c, table[:-1], table[1:])
    table = np.array([[moment(dim, k, degree) for degree in range(max_degree + 1)] for k in range(_TERMS + 1)])
    return np.einsum("k,ka,kb->ab", c, table[:-1], table[1:])


@functools.cache
def attention_spectrum(dim: int, n_keys: int, max_degree: int = 14, augmented: bool = True) -> Spectrum:
    """Spectrum of random-feature attention: mu / N for l >= 1 and mu for l = 0, multiplicity N(d, l_0) N(d, l).

    The mean of K(x, x) is 1/N + (1 - 1/N) E[kappa((1 + t)/2)(1 + t)]; without the constant 1/(2N) + (1 - 1/N) / (4 d).
    """
    mu = pair_eigenvalues(dim, max_degree, augmented)
    pairs = list(itertools.product(range(max_degree + 1), repeat=2))
    values: dict[Mode, float] = {(a, b): float(mu[a, b]) / (n_keys if b else 1) for a, b in pairs}
    counts: dict[Mode, float] = {(a, b): float(multiplicity(dim, a)) * multiplicity(dim, b) for a, b in pairs}
    cross = 1 / (4 * dim)
    if augmented:
        cross = 2 * float(arc_cosine_coefficients(_TERMS) @ shifted_moments(dim, _TERMS + 1, 0)[1:, 0])
    mean = (1.0 if augmented else 0.5) / n_keys + (n_keys - 1) / n_keys * cross
    return Spectrum(values, counts, max(0.0, mean - sum(values[m] * counts[m] for m in pairs)))


@functools.cache
def perceptron_spectrum(dim: int, n_keys: int, max_degree: int = 8) -> Spectrum:
    r"""Spectrum of the perceptron's kernel under independent tokens, for total degrees up to ``max_degree``.

    .. math:: \lambda_{l_0 .. l_N} = E[\kappa(\rho) \prod_i P_{l_i}(t_i)] = \sum_k c_k k! [z^k] e^{z/2}
              \prod_i m_{l_i}\big(\tfrac{z}{2 (N+1)}\big), \quad m_l(z) = E[e^{z t} P_l(t)], \quad
              \rho = \tfrac12 + \tfrac{1}{2 (N+1)} \sum_i t_i .

    All terms are non-negative. Equal eigenvalues (permuted degrees) are one mode; the mean of K(x, x) is 1/2.
    """
    n_tokens, powers = n_keys + 1, np.arange(_PERCEPTRON_TERMS)
    inverse_factorials = np.exp(-gammaln(powers + 1))
    series = [
        np.array([moment(dim, int(k), degree) for k in powers]) * inverse_factorials * (0.5 / n_tokens) ** powers
        for degree in range(max_degree + 1)
    ]
    weights = arc_cosine_coefficients(_PERCEPTRON_TERMS) * np.exp(gammaln(powers + 1))
    constant = 0.5**powers * inverse_factorials

    def times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.convolve(a, b)[:_PERCEPTRON_TERMS]

    blank = [functools.reduce(times, [series[0]] * count, constant) for count in range(n_tokens + 1)]
    values, counts = {}, {}
    for total in range(max_degree + 1):
        for degrees in _partitions(total, n_tokens):
            product = functools.reduce(times, [series[degree] for degree in degrees], blank[n_tokens - len(degrees)])
            values[degrees] = float(weights @ product)
            repeats = [degrees.count(degree) for degree in set(degrees)] + [n_tokens - len(degrees)]
            arrangements = math.factorial(n_tokens) // math.prod(map(math.factorial, repeats))
            counts[degrees] = float(arrangements) * math.prod(float(multiplicity(dim, degree)) for degree in degrees)
    return Spectrum(values, counts, max(0.0, 0.5 - sum(values[m] * counts[m] for m in values)), attention=False)


def pair_energies(target: str, dim: int) -> dict[tuple[int, int], float]:
    r"""Energies of F(x_0, x) in the modes (l_0, l): squared norms of its harmonic parts.

    ``target`` is ``"b2"`` for <beta, x>^2, ``"s2"`` for <x_0, x>^2, ``"s2b"`` for <x_0, x>^2 <beta, x>, with any power and a
    unit vector beta, each minus its mean: there is no mode (0, 0). Why: t^p = sum_l N(d, l) g_l P_l(t) with
    g_l = E[t^p P_l], so degree l has energy N(d, l) g_l^2; a factor <beta, x> moves degree l to l + 1 and l - 1 in the
    shares (l + d - 2) : l.
    """
    kind, power = parse_target(target)
    shares = {
        degree: multiplicity(dim, degree) * moment(dim, power, degree) ** 2 for degree in range(power % 2, power + 1, 2)
    }
    if kind in ("b", "s"):
        return {(degree if kind == "s" else 0, degree): energy for degree, energy in shares.items() if degree}
    energies = {}
    for degree, energy in shares.items():
        energies[degree, degree + 1] = energy / dim * (degree + dim - 2) / (2 * degree + dim - 2)
        if degree:
            energies[degree, degree - 1] = energy / dim * degree / (2 * degree + dim - 2)
    return energies


def parse_target(target: str) -> tuple[str, int]:
    """Kind (``"b"``, ``"s"`` or ``"sb"``) and power of a target's name."""
    kind, power = target[:1] + ("b" if target[1:].endswith("b") else ""), target[1:].removesuffix("b")
    if kind not in ("b", "s", "sb") or not power.isdecimal() or int(power) < 1:
        raise ValueError(f"target={target!r} is unknown; use names such as 'b2', 's2' or 's1b'")
    return kind, int(power)


def target_energies(target: str, dim: int, n_keys: int) -> dict[tuple[int, int], float]:
    """Energies of the average over keys, f = (1/N) sum_i F(x_0, x_i): those of F, divided by N where l >= 1."""
    return {(a, b): energy / (n_keys if b else 1) for (a, b), energy in pair_energies(target, dim).items()}


def variance(target: str, dim: int, n_keys: int) -> float:
    """Variance of the average over keys: all its energy."""
    return sum(target_energies(target, dim, n_keys).values())


def squared_norm(target: str, dim: int, augmented: bool = True) -> float:
    r"""Squared norm of f in the kernel's space, sum of energies over pair eigenvalues; the number of keys drops out.

    .. math:: \|f\|_K^2 = \sum_{l_0, l} \|F_{l_0 l}\|^2 / \mu_{l_0 l} = \lim_{n \to \infty} y^T K^{-1} y, \text{ from below.}

    Infinite if a mode with energy has eigenvalue zero, as happens without the constant in the tokens.
    """
    energies = pair_energies(target, dim)
    mu = pair_eigenvalues(dim, max(map(max, energies)), augmented)
    return sum(
        math.inf if mu[mode] == 0 else energy / float(mu[mode]) for mode, energy in energies.items() if energy > 0
    )


def tensor_cost(query_order: int, key_order: int) -> float:
    r"""Bound on the squared norm per squared Frobenius norm of a tensor: F = <x_0^{(r)} x x^{(s)}, f_rs> costs 1 / a_rs.

    .. math:: \kappa(\tfrac{(1+u)(1+t)}{4}) (1+t) = \sum_{rs} a_{rs} u^r t^s, \qquad
              a_{rs} = \sum_k c_k 4^{-k} \binom{k}{r} \binom{k+1}{s} .

    Why: every term a_rs u^r t^s is a kernel whose space holds F at this cost, and adding kernels only lowers norms. The
    largest cost at max(r, s) = k is that of r = k, s = 0 and grows like 3^k k^{5/2}; at r = s = k it grows like k^3 only.
    """
    c, k = arc_cosine_coefficients(_TERMS), np.arange(_TERMS)
    logs = -k * math.log(4) + _log_binomial(k, query_order) + _log_binomial(k + 1, key_order)
    return 1 / float(c @ np.exp(logs))


def tensor_bound(target: str, dim: int) -> float:
    """The bound of :func:`tensor_cost` for a target, also with its mean, which is orthogonal to the rest.

    <beta, x>^p is one unit tensor, <x_0, x>^p a tensor of squared norm d (d+1) .. (d+p-1) / p!.
    """
    kind, power = parse_target(target)
    if kind == "b":
        return tensor_cost(0, power)
    if kind == "s":
        return tensor_cost(power, power) * math.comb(dim + power - 1, power)
    raise ValueError(f"target={target!r} has no simple tensor; use powers of <beta, x> or of <x_0, x>")


def _log_rodrigues(dim: int, power, degree: int):
    """Log of k!/(k-l)! times Gamma((d-1)/2) / (2^l Gamma(l + (d-1)/2)) over the normalisation B(1/2, (d-1)/2)."""
    falling = gammaln(np.asarray(power) + 1.0) - gammaln(np.asarray(power) - degree + 1.0)
    constant = gammaln((dim - 1) / 2) - gammaln(degree + (dim - 1) / 2) - degree * math.log(2)
    return falling + constant - betaln(0.5, (dim - 1) / 2)


def _log_binomial(n: np.ndarray, k: int) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.where(n < k, -np.inf, gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(np.maximum(n - k, 0) + 1.0))


def _partitions(total: int, n_parts: int, largest: int | None = None) -> list[Mode]:
    """Partitions of ``total`` into at most ``n_parts`` positive parts, each ascending."""
    if total == 0:
        return [()]
    if n_parts == 0:
        return []
    top = min(total, largest or total)
    return [(*rest, part) for part in range(1, top + 1) for rest in _partitions(total - part, n_parts - 1, part)]
