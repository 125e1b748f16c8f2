"""The updates of the optimisers as C texts: z the parameters, g their gradients, states as the optimiser has them, all in lanes.

``factors`` are two numbers per step: that of the rate and, for Adam, the inverse root of the second bias correction.
"""

from __future__ import annotations

_HEAD = """
NOINLINE void update(vec *restrict z, const vec *restrict g, vec *const *states, vec rate, const double *factors) {
    const vec h = rate * (real)factors[0];
"""


def adam(beta1: float, beta2: float, eps: float, weight_decay: float) -> str:
    """Adam; the states are mean and square."""
    return (
        f"{_HEAD}    vec *restrict m = states[0], *restrict v = states[1];\n    const real root_factor = (real)factors[1];\n"
        "    for (int64_t i = 0; i < PARAMETERS; i++) {\n"
        f"        const vec d = g[i]{_decay(weight_decay)};\n"
        f"        m[i] += (d - m[i]) * (real){1 - beta1!r};\n"
        f"        v[i] = v[i] * (real){beta2!r} + d * d * (real){1 - beta2!r};\n"
        f"        z[i] -= h * (m[i] / (root(v[i]) * root_factor + (real){eps!r}));\n    }}\n}}\n"
    )


def descent(momentum: float, weight_decay: float) -> str:
    """Gradient descent; the state is the momentum, if there is one."""
    moved = f"g[i]{_decay(weight_decay)}"
    if momentum:
        moved = f"states[0][i] = states[0][i] * (real){momentum!r} + ({moved})"
    return (
        f"{_HEAD}    for (int64_t i = 0; i < PARAMETERS; i++) {{\n        const vec d = {moved};\n"
        "        z[i] -= h * d;\n    }\n}\n"
    )


def normalised(parts: int, floor: float) -> str:
    """Descent of unit direction, for each of ``parts`` equally large parts on its own."""
    return (
        f"{_HEAD}    const int64_t n = PARAMETERS / {parts};\n"
        "    for (int64_t low = 0; low < PARAMETERS; low += n) {\n        vec square = splat(0);\n"
        "        for (int64_t i = low; i < low + n; i++) square += g[i] * g[i];\n"
        f"        const vec size = h / larger(root(square), splat((real){floor!r}));\n"
        "        for (int64_t i = low; i < low + n; i++) z[i] -= g[i] * size;\n    }\n}\n"
    )


def clipped(update: str, largest: float) -> str:
    """The update of a text on gradients that are scaled down, in place, to a norm of at most ``largest``.

    Squares are added up in runs of 64, so that the norm of n numbers is off by at most (64 + n / 64) roundings.
    """
    return (
        f"{update.replace('void update(', 'void unclipped(')}"
        "NOINLINE void update(vec *restrict z, vec *restrict g, vec *const *states, vec rate, const double *factors) {\n"
        "    vec square = splat(0);\n    for (int64_t low = 0; low < PARAMETERS; low += 64) {\n"
        "        const int64_t end = low + 64 < PARAMETERS ? low + 64 : PARAMETERS;\n        vec run = splat(0);\n"
        "        for (int64_t i = low; i < end; i++) run += g[i] * g[i];\n        square += run;\n    }\n"
        f"    const vec kept = (real){largest!r} / larger(root(square), splat((real){largest!r}));\n"
        "    for (int64_t i = 0; i < PARAMETERS; i++) g[i] *= kept;\n"
        "    unclipped(z, g, states, rate, factors);\n}\n"
    )


def _decay(weight_decay: float) -> str:
    return f" + z[i] * (real){weight_decay!r}" if weight_decay else ""
