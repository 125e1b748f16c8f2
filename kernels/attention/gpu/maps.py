"""The built-in score maps of the Triton kernels: level, f, g and their slopes, divided by the row's common factor.

Map numbers are those of ``cpu.MAPS``. A map that a user gives by its formula brings functions of the same names
(``scores/formula/emit.py``), which take the places of these in a copy of the kernels.
"""

from __future__ import annotations

from attnlab.kernels.attention.gpu.jit import jit, tl


@jit
def power_of(x, P: tl.constexpr):
    y = x * 0.0 + 1.0
    for _ in tl.static_range(P):
        y = y * x
    return y


@jit
def rectified(x):
    """max(x, 0), and NaN for NaN."""
    return tl.where(x < 0, 0.0, x)


@jit
def sigmoids(s):
    """exp(-|s|), 1/(1 + e^-s) and 1/(1 + e^s), each with all its digits."""
    e = tl.exp(-tl.abs(s))
    inverse = 1.0 / (1.0 + e)
    return e, tl.where(s >= 0, inverse, e * inverse), tl.where(s >= 0, e * inverse, inverse)


@jit
def numerators(s, m, MAP: tl.constexpr, P: tl.constexpr):
    """f and g, divided by the row's common factor: exp(m), or m^P for powers."""
    if MAP == 0:
        f = tl.exp(s - m)
        g = f
    elif MAP == 1:
        small = tl.abs(s) < 0.35  # e^s - 1 by its series, where the difference would lose digits
        near = one_minus_exp(tl.where(small, -s, 0.0), 1.0)
        d = tl.where(small, -near * tl.exp(-m), tl.exp(s - m) - tl.exp(-m))
        f = rectified(d)
        g = tl.abs(d)
    elif MAP == 2:
        _, f, _ = sigmoids(s)
        g = s * 0.0
    elif MAP == 3:
        f = s
        g = s * 0.0
    elif MAP == 4:
        f = rectified(s)
        g = s * 0.0
    elif MAP == 5:
        f = power_of(s / m, P)
        g = tl.abs(f)
    elif MAP == 6:
        f = power_of(rectified(s) / m, P)
        g = f
    elif MAP == 7:
        e = tl.exp(-tl.abs(s))
        one = 1.0 + e  # log(1 + e) with the rounding of 1 + e undone
        log = tl.where(one == 1.0, e, tl.log(one) * (e / tl.where(one == 1.0, 1.0, one - 1.0)))
        tail = tl.exp(tl.minimum(s - m, 1.0)) * (1.0 - 0.5 * e)
        f = tl.where(s < -15.0, tail, (tl.maximum(s, 0.0) + log) * tl.exp(tl.minimum(-m, 15.0)))
        g = f
    else:
        g = tl.exp(tl.abs(s) - m)
        f = tl.where(s > 0, g, tl.where(s < 0, -g, 0.0))
    return f, g


@jit
def slopes(s, m, MAP: tl.constexpr, P: tl.constexpr):
    """f' and g', divided by the same factor."""
    if MAP == 0:
        f1 = tl.exp(s - m)
        g1 = f1
    elif MAP == 1:
        e = tl.exp(s - m)
        f1 = tl.where(s > 0, e, 0.0)
        g1 = tl.where(s > 0, e, tl.where(s < 0, -e, 0.0))
    elif MAP == 2:
        e = tl.exp(-tl.abs(s))
        f1 = e / ((1.0 + e) * (1.0 + e))
        g1 = s * 0.0
    elif MAP == 3:
        f1 = s * 0.0 + 1.0
        g1 = s * 0.0
    elif MAP == 4:
        f1 = tl.where(s > 0, 1.0, 0.0)
        g1 = s * 0.0
    elif MAP == 5:
        f1 = P * power_of(s / m, P - 1) / m
        if P % 2 == 1:
            g1 = tl.where(s > 0, f1, tl.where(s < 0, -f1, 0.0))
        else:
            g1 = f1
    elif MAP == 6:
        f1 = tl.where(s > 0, P * power_of(tl.maximum(s, 0.0) / m, P - 1) / m, 0.0)
        g1 = f1
    elif MAP == 7:
        _, up, down = sigmoids(s)
        f1 = tl.where(s < -15.0, tl.exp(tl.minimum(s - m, 1.0)) * down, up * tl.exp(tl.minimum(-m, 15.0)))
        g1 = f1
    else:
        e = tl.exp(tl.abs(s) - m)
        f1 = tl.where(s == 0, 0.0, e)
        g1 = tl.where(s > 0, e, tl.where(s < 0, -e, 0.0))
    return f1, g1


@jit
def level(m, MAP: tl.constexpr):
    """The level of a row from the largest logit (or absolute logit) seen so far."""
    if MAP == 5 or MAP == 6:
        safe = tl.where(m > 0, m, 1.0)
    elif MAP == 7:
        safe = tl.where(m > float("-inf"), tl.minimum(m, 0.0), 0.0)
    else:
        safe = tl.where(m > float("-inf"), m, 0.0)
    return safe


@jit
def log_level(m, MAP: tl.constexpr, P: tl.constexpr):
    """Log of a row's common factor."""
    if MAP == 5 or MAP == 6:
        log = P * tl.log(m)
    elif MAP == 2 or MAP == 3 or MAP == 4:
        log = m * 0.0
    else:
        log = m
    return log


@jit
def log1p_over(u):
    """log(1 + u) / u for u > -1: the rounding of 1 + u is undone by the same difference in the denominator."""
    w = 1.0 + u
    same = w == 1.0
    return tl.where(same, 1.0, tl.log(tl.where(same, 2.0, w)) / tl.where(same, 1.0, w - 1.0))


@jit
def one_minus_exp(x, t):
    """1 - t for t = e^-x, x >= 0: a series where the difference would lose digits."""
    small = x < 0.35
    y = tl.where(small, x, 0.0)
    series = y * 0.0 + 1.0
    for i in tl.static_range(14):
        series = 1.0 - series * y / (15 - i)
    return tl.where(small, y * series, 1.0 - t)


@jit
def root_of(x, p):
    """x^p for x > 0, and 0 at zero."""
    return tl.where(x > 0, tl.exp(p * tl.log(tl.where(x > 0, x, 1.0))), 0.0)


@jit
def level_start(zero, parameter, MAP: tl.constexpr):
    """The level before any key: of zeros and the map's parameter."""
    if MAP == 0:
        m = zero + parameter  # log of the constant; minus infinity without a sink
    elif MAP == 7:
        m = zero + float("-inf")
    else:
        m = zero
    return m


@jit
def level_next(m, s, visible, MAP: tl.constexpr):
    """The level with one more tile of logits (query, key)."""
    if MAP == 0 or MAP == 1 or MAP == 7:
        found = tl.maximum(m, tl.max(tl.where(visible, s, float("-inf")), 1))
    elif MAP == 5 or MAP == 8:
        found = tl.maximum(m, tl.max(tl.where(visible, tl.abs(s), 0.0), 1))
    elif MAP == 6:
        found = tl.maximum(m, tl.max(tl.where(visible, s, 0.0), 1))  # from 0: the largest positive logit
    else:
        found = m
    return found


@jit
def rescale(m, m_new, MAP: tl.constexpr, P: tl.constexpr):
    """What earlier sums are multiplied by when the level rises from m to m_new."""
    safe = level(m_new, MAP)
    if MAP == 0 or MAP == 1 or MAP == 7 or MAP == 8:
        r = tl.where(m > float("-inf"), tl.exp(level(m, MAP) - safe), 0.0)
    elif MAP == 5 or MAP == 6:
        r = power_of(m / safe, P)  # m = 0: nothing but zeros so far
    else:
        r = m * 0.0 + 1.0
    return r


@jit
def constant(parameter, safe, count, MAP: tl.constexpr):
    """The constant of the normaliser, divided by the row's common factor."""
    if MAP == 0:
        c = tl.exp(parameter - safe)
    elif MAP == 1:
        c = parameter * tl.exp(-safe)
    elif MAP == 2:
        c = safe * 0.0 + 1.0
    elif MAP == 3 or MAP == 4:
        c = tl.where(parameter != 0, count, 1.0)
    else:
        c = safe * 0.0
    return c
