"""What attention is, once more: from the definitions, in extended precision and without any stabilising step.

Nothing here comes from the package. Logits stay below 10,000, where exp does not leave the range of an 80-bit float, so
that every map is the quotient of its definition. Derivatives are differences of these values, see ``fuzz``.
"""

import numpy as np

REAL = np.longdouble
#: Whether the machine's long double has more digits and range than double: otherwise there is no oracle.
EXTENDED = np.finfo(REAL).nmant > 60


def attention(q, k, v, score, seen, bias, scale, sink, mass):
    """Output (..., query, width), every statistic (..., query) or (..., key), and a signature of what is smooth only in pieces.

    q, k, v as arrays that broadcast, ``seen`` boolean and ``bias`` or None likewise; ``scale`` and ``sink`` arrays with two
    axes of length one last, or numbers; ``sink`` may be None.
    """
    v = np.asarray(v, REAL)
    s = logits(q, k, score, bias, scale)
    name, options = score if score[0] != "cosine" else ("softmax", {})
    seen = np.broadcast_to(
        seen, np.broadcast_shapes(s.shape, np.shape(seen), np.shape(sink) if sink is not None else ())
    )
    s = np.broadcast_to(s, seen.shape)
    seen = seen & ~np.isneginf(s)
    s = np.where(seen, s, 0)
    w, z, signature = WEIGHTS[name](s, seen, sink, **options)
    w = np.where(seen, w, 0)
    o = (w[..., None] * np.where(seen[..., None], v[..., None, :, :], 0)).sum(-2)
    return o, _statistics(w, s, seen, z, mass), (signature, w.argmax(-1) if w.shape[-1] else 0, np.sign(w))


def logits(q, k, score, bias, scale):
    """What the score map is applied to."""
    q, k = (np.asarray(x, REAL) for x in (q, k))
    if score[0] == "cosine":
        q, k = _unit(q), _unit(k)
    s = (q[..., :, None, :] * k[..., None, :, :]).sum(-1) * scale
    return s if bias is None else s + bias


def _unit(x):
    size = np.sqrt((x * x).sum(-1, keepdims=True))
    return np.where(size > 0, x / np.where(size > 0, size, 1), 0)


def _quotient(f, g, c, seen):
    f, g = np.where(seen, f, 0), np.where(seen, g, 0)
    z = c + g.sum(-1, keepdims=True)
    return np.where(z == 0, 0, f / np.where(z == 0, 1, z)), z


def _log(z):
    return np.where(z > 0, np.log(np.where(z > 0, z, 1)), -np.inf)[..., 0]


def _softmax(s, seen, sink):
    w, z = _quotient(np.exp(s), np.exp(s), 0 if sink is None else np.exp(np.asarray(sink, REAL)), seen)
    return w, _log(z), 0


def _softpick(s, seen, sink, eps=1e-6):
    e = np.expm1(s)
    w, z = _quotient(np.maximum(e, 0), np.abs(e), REAL(eps), seen)
    return w, _log(z), np.sign(s)


def _sigmoid(s, seen, sink):
    w, z = _quotient(1 / (1 + np.exp(-s)), 0 * s, REAL(1), seen)
    return w, _log(z), 0


def _linear(s, seen, sink, divide="count", rectified=False):
    n = seen.sum(-1, keepdims=True).astype(REAL) if divide == "count" else np.ones((*s.shape[:-1], 1), REAL)
    w, z = _quotient(np.maximum(s, 0) if rectified else s, 0 * s, n, seen)
    return w, _log(z), np.sign(s) if rectified else 0


def _power(s, seen, sink, power=2, rectified=False):
    base = np.maximum(s, 0) if rectified else s
    w, z = _quotient(base**power, np.abs(base) ** power, 0, seen)
    return w, _log(z), np.sign(s)


def _softplus(s, seen, sink):
    f = np.log1p(np.exp(s))
    w, z = _quotient(f, f, 0, seen)
    return w, _log(z), 0


def _signed(s, seen, sink):
    w, z = _quotient(np.sign(s) * np.exp(np.abs(s)), np.exp(np.abs(s)), 0, seen)
    return w, _log(z), np.sign(s)


def _clipped(s, seen, sink, gamma=-0.03, zeta=1.0):
    p, log_z, _ = _softmax(s, seen, None)
    raw = (zeta - gamma) * p + gamma
    return np.clip(raw, 0, 1), log_z, raw > 0


def _hardmax(s, seen, sink, ties="first"):
    top = np.where(seen, s, -np.inf).max(-1, keepdims=True)
    winners = seen & (s == top)
    if ties == "first":
        winners &= winners.cumsum(-1) == 1
    return winners / np.maximum(winners.sum(-1, keepdims=True), 1), top[..., 0], winners


def _entmax(s, seen, sink, alpha=1.5):
    x, r = np.where(seen, (alpha - 1) * s, -np.inf), REAL(1) / (alpha - 1)
    top = np.where(seen.any(-1, keepdims=True), x.max(-1, keepdims=True), 0)
    low, high = top - 1, top
    for _ in range(80):
        tau = (low + high) / 2
        heavy = (np.maximum(x - tau, 0) ** r).sum(-1, keepdims=True) >= 1
        low, high = np.where(heavy, tau, low), np.where(heavy, high, tau)
    w = np.where(seen, np.maximum(x - low, 0) ** r, 0)
    return w, np.where(seen.any(-1), low[..., 0], -np.inf), w > 0


def _standardised(s, seen, sink, gain=1.0, offset=0.0, eps=1e-3):
    n = np.maximum(seen.sum(-1, keepdims=True), 1)
    centred = np.where(seen, s - np.where(seen, s, 0).sum(-1, keepdims=True) / n, 0)
    spread = np.sqrt((centred**2).sum(-1, keepdims=True) / n) + eps
    return gain * centred / spread + offset, np.log(spread)[..., 0], 0


WEIGHTS = {
    "softmax": _softmax,
    "softpick": _softpick,
    "sigmoid": _sigmoid,
    "linear": _linear,
    "relu": lambda s, seen, sink, **more: _linear(s, seen, sink, rectified=True, **more),
    "power": _power,
    "softplus": _softplus,
    "signed": _signed,
    "clipped": _clipped,
    "hardmax": _hardmax,
    "entmax": _entmax,
    "standardised": _standardised,
}


def _statistics(w, s, seen, log_z, mass):
    size = np.abs(w)
    total = size.sum(-1, keepdims=True)
    pi = np.where(total > 0, size / np.where(total > 0, total, 1), 0)
    n = np.maximum(seen.sum(-1), 1)
    mean, wmean = s.sum(-1) / n, (pi * s).sum(-1)
    square = (pi**2).sum(-1)
    return {
        "log_sum_exp": log_z,
        "entropy": -(pi * np.log(np.where(pi > 0, pi, 1))).sum(-1),
        "max_weight": size.max(-1, initial=0),
        "participation_ratio": np.where(square > 0, 1 / np.where(square > 0, square, 1), 0),
        "row_sum": w.sum(-1),
        "column_sum": w.sum(-2),
        "logit_mean": mean,
        "logit_variance": (np.where(seen, s - mean[..., None], 0) ** 2).sum(-1) / n,
        "weighted_logit_mean": wmean,
        "weighted_logit_variance": (pi * (s - wmean[..., None]) ** 2).sum(-1),
        "mass": w[..., sorted(set(mass))].sum(-1) if w.shape[-1] else w.sum(-1),
    }
