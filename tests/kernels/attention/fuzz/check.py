"""One case: the call and its derivatives against the oracle; tolerances come from how the oracle itself moves.

The allowed error is the number of roundings of a sum over keys and widths, times the change of the oracle when every input
moves by one unit in the last place of the type (the largest of a few random moves), plus as many roundings of the result, and
of the terms of a second derivative: over a single key softplus / sum softplus is 1, and its second derivative, 0, a sum of large terms.
Derivatives are differences of the oracle at five places, with what a step of twice the size changes as their own error; where a piecewise map changes
its piece between them the case has no derivative.
"""

import numpy as np
import torch
from cases import Call
from oracle import REAL, logits
from oracle import attention as oracle
from torch.utils.checkpoint import checkpoint

from attnlab.kernels.attention import attention

STEP = 1e-5
VALUES = ("value", "again", "vmap", "transposed vmap")


class Wrong(AssertionError):
    """The call answered, and not what it should."""


def check(case):
    """Raise ``Wrong`` if the call of a case is not what the oracle says."""
    call = Call(case)
    exact = Oracle(call)
    mode = case["mode"]
    try:
        found = _mapped(call, mode) if mode in VALUES else {mode: _derivative(call, mode)}
    except ValueError as error:
        if case["path"] in ("c", "sdpa") and str(error).startswith(f"path={case['path']!r}"):
            return  # refused by name
        raise
    if mode in VALUES:
        right, more = exact.value(), 0.0
        allowed = exact.allowed(lambda o: o.value())
    else:
        order = 2 if mode in ("twice", "forward of reverse") else 1
        slope, coarse, smooth = exact.derivative(order)
        if not smooth:
            return
        right, more = {mode: slope}, 2 * abs(float(slope - coarse)) + 1e-11 * (1 + exact.size())
        allowed = exact.allowed(lambda o: {mode: o.derivative(order)[0]}, 4)
        more += exact.roundings(4) * exact.terms() if order == 2 else 0.0
    for name, x in found.items():
        _compare(name, x, right[name], allowed[name] + more)


def _compare(name, found, right, allowed):
    found = found.detach().double().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    right = np.asarray(right, np.float64)
    if found.shape != right.shape:
        raise Wrong(f"{name} has shape {found.shape}; expected {right.shape}")
    both = (found == right) | (np.isnan(found) & np.isnan(right))
    error = np.where(both, 0.0, np.abs(found - np.where(np.isinf(right), np.nan, right)))
    if not (error <= allowed).all():
        at = np.unravel_index(np.nanargmax(np.where(np.isnan(error), np.inf, error - allowed)), error.shape or (1,))
        raise Wrong(
            f"{name} is {found[at] if found.ndim else found} at {at}; expected {right[at] if right.ndim else right}"
        )


def _arguments(call, tensors, bias, scale, sink):
    option = call.bias_option
    if bias is not None:
        option = bias if call.case["bias"] in ("tensor", "column", "holes", "nan") else type(option)(bias)
    more = {"scale": scale} if scale is not None else {}
    return {
        "score": call.score(sink),
        "mask": call.mask,
        "bias": option,
        "statistics": call.statistics,
        "path": call.case["path"],
        **more,
    }


def _run(call, live):
    """Output and statistics by name, as functions of what moves."""
    live = list(live)
    tensors, rest = live[:3], live[3:]
    pick = lambda old: rest.pop(0) if any(old is x for x in call.live[3:]) else old  # noqa: E731
    bias, scale, sink = pick(call.bias), pick(call.scale), pick(call.sink)
    found = attention(*tensors, **_arguments(call, tensors, bias, scale, sink))
    o, statistics = found if call.statistics else (found, {})
    return {"output": o, **statistics}


def _loss(call, found):
    """A sum with fixed random coefficients, so that one number sees everything."""
    rng, total = np.random.default_rng(call.case["seed"] + 2), 0.0
    for name in ("output", *sorted(set(found) - {"output"})):
        x = found[name]
        c = rng.standard_normal(tuple(x.shape))
        if isinstance(x, torch.Tensor):
            c, dead = torch.from_numpy(c).to(x.dtype), torch.isneginf(x)
            total = total + (torch.where(dead, 0.0, x) * c).sum()
        else:
            total = total + (np.where(np.isneginf(x), 0, x) * c).sum()
    return total


def _mapped(call, mode):
    if mode == "value":
        return _run(call, call.live)
    if mode == "again":
        with torch.no_grad():
            return [_run(call, call.live) for _ in range(3)][-1]

    def one(*tensors):
        return _run(call, (*tensors, *call.live[3:]))

    if mode == "vmap":
        return torch.func.vmap(one)(*call.tensors)
    return torch.func.vmap(one, in_dims=-1)(*(x.movedim(0, -1) for x in call.tensors))


def _derivative(call, mode):
    live, directions = call.live, call.directions
    loss = lambda *x: _loss(call, _run(call, x))  # noqa: E731
    if mode == "jvp":
        return torch.func.jvp(loss, tuple(x.detach() for x in live), tuple(directions))[1]
    if mode == "dual":
        with torch.autograd.forward_ad.dual_level():
            duals = [torch.autograd.forward_ad.make_dual(x.detach(), t) for x, t in zip(live, directions, strict=True)]
            return torch.autograd.forward_ad.unpack_dual(loss(*duals)).tangent
    if mode == "linearize":
        return torch.func.linearize(loss, *(x.detach() for x in live))[1](*directions)
    if mode == "after inference":  # what such a call keeps must serve a backward pass
        with torch.inference_mode():
            _run(call, [x.detach() + 0 for x in live])
    if mode == "reverse again":
        for _ in range(2):
            _run(call, live)
    if mode == "forward of reverse":
        slope = torch.func.grad(loss, argnums=tuple(range(len(live))))
        tangents = torch.func.jvp(slope, tuple(x.detach() for x in live), tuple(directions))[1]
        return _dot(tangents, directions)
    value = checkpoint(loss, *live, use_reentrant=False) if mode == "checkpoint" else loss(*live)
    if mode == "batched":
        scales = torch.tensor([1.0, -2.0], dtype=value.dtype)
        grads = torch.autograd.grad(value, live, scales, is_grads_batched=True, allow_unused=True)
        first, second = ([None if x is None else x[i] for x in grads] for i in (0, 1))
        if abs(_dot(first, directions) * -2 - _dot(second, directions)) > 1e-3 * (1 + abs(_dot(first, directions))):
            raise Wrong("gradients of a batch of cotangents are not proportional to the cotangents")
        return _dot(first, directions)
    grads = torch.autograd.grad(value, live, create_graph=mode == "twice", allow_unused=True)
    if mode != "twice":
        return _dot(grads, directions)
    inner = _dot(grads, directions)
    if not inner.requires_grad:
        return torch.zeros(())
    return _dot(torch.autograd.grad(inner, live, allow_unused=True), directions)


def _dot(grads, directions):
    pairs = [(g, t) for g, t in zip(grads, directions, strict=True) if g is not None]
    total = torch.zeros((), dtype=directions[0].dtype)
    for g, t in pairs:  # hidden poison has a gradient of zero; anything else there is a fault, and stays one
        total = total + (g * t).sum()
    return total


class Oracle:
    """The oracle at the numbers of a call, possibly moved."""

    def __init__(self, call, live=None):
        self.call = call
        self.live = [_numbers(x) for x in call.live] if live is None else live

    def at(self, t):
        """Everything at the place that is t along the directions."""
        moved = [
            x + REAL(t) * np.asarray(u.numpy(), REAL) for x, u in zip(self.live, self.call.directions, strict=True)
        ]
        return self._evaluate(moved)

    def value(self):
        """Output and statistics."""
        return self._evaluate(self.live)[0]

    def derivative(self, order):
        """The derivative of the loss along the directions, the same from twice the step, and whether it has one."""
        h = REAL(STEP if order == 1 else 50 * STEP)
        weights = {1: (1, -8, 0, 8, -1), 2: (-1, 16, -30, 16, -1)}[order]  # five points: errors of fourth order
        places = {i: self.at(i * h) for i in (-4, -2, -1, 0, 1, 2, 4)}
        smooth = all(
            np.array_equal(x, y) for _, piece in places.values() for x, y in zip(piece, places[0][1], strict=True)
        )
        losses = {i: _loss(self.call, found) for i, (found, _) in places.items()}
        fine, coarse = (
            sum(w * losses[i * step] for w, i in zip(weights, (-2, -1, 0, 1, 2), strict=True))
            / (12 * (step * h) ** order)
            for step in (1, 2)
        )
        return fine, coarse, smooth

    def size(self):
        """How large the loss's terms are."""
        return float(sum(np.abs(np.where(np.isfinite(x), x, 0)).sum() for x in self.value().values()))

    def roundings(self, passes):
        """Those of a sum over keys and widths, as a share of its terms."""
        return passes * (self.call.case["n_k"] + self.call.case["d"] + 8) * float(torch.finfo(self.call.dtype).eps)

    def terms(self):
        """How large the terms of a second derivative of the loss are, of which a map's quotient may leave nothing.

        A row's are its largest tangent of a logit, squared, times its largest value; rows round independently.
        """
        h = REAL(STEP)
        there, back = (
            self._logits(
                [x + t * np.asarray(u.numpy(), REAL) for x, u in zip(self.live, self.call.directions, strict=True)]
            )
            for t in (h, -h)
        )
        with np.errstate(invalid="ignore"):
            tangent = np.nan_to_num(np.abs(there - back) / (2 * h), nan=0.0, posinf=0.0)
        v = np.abs(np.nan_to_num(self.live[2], nan=0.0, posinf=0.0, neginf=0.0)).sum(-1).max(-1, initial=0)
        return float(np.linalg.norm((tangent.max(-1, initial=0) ** 2 * (1 + v)[..., None]).ravel()))

    def allowed(self, quantities, passes=1):
        """Allowed error of each quantity: roundings times its change under moves of one unit in the last place."""
        call = self.call
        eps, rng = float(torch.finfo(call.dtype).eps), np.random.default_rng(call.case["seed"] + 3)
        numbers = lambda o: {name: np.asarray(x, np.float64) for name, x in quantities(o).items()}  # noqa: E731
        here = numbers(self)
        worst = {name: np.zeros(x.shape) for name, x in here.items()}
        for _ in range(3):
            moved = [x * (1 + eps * rng.choice((-1.0, 1.0), x.shape)) for x in self.live]
            for name, there in numbers(Oracle(call, moved)).items():
                with np.errstate(invalid="ignore"):
                    change = np.nan_to_num(np.abs(there - here[name]), nan=0.0, posinf=0.0)
                worst[name] = np.maximum(worst[name], change)
        roundings, found = self.roundings(passes) / eps, {}
        for name, x in here.items():
            base = np.abs(np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0))
            found[name] = roundings * (4 * worst[name] + eps * (base + np.max(base, initial=0.0) + 1.0))
        return found

    def _options(self, live):
        """Bias, scale and sink at the numbers of ``live``, with the axes of the logits."""
        call, rest = self.call, list(live[3:])

        def pick(old):
            if any(old is x for x in call.live[3:]):
                return rest.pop(0)
            return _numbers(old) if isinstance(old, torch.Tensor) else old

        bias, scale, sink = pick(call.bias), pick(call.scale), pick(call.sink)
        bias = None if bias is None else call.bias_matrix(bias)
        name = call.case["score"][0]
        if scale is None:
            scale = 1.0 if name in ("cosine", "standardised") else call.case["d"] ** -0.5

        def widen(x):
            if isinstance(x, np.ndarray) and x.ndim:
                return x.reshape(*x.shape, *(1,) * (len(call.lead) + 2 - x.ndim))
            return x

        return bias, widen(scale), widen(sink)

    def _logits(self, live):
        bias, scale, _ = self._options(live)
        return logits(*live[:2], self.call.case["score"], bias, scale)

    def _evaluate(self, live):
        call, seen = self.call, self.call.seen
        bias, scale, sink = self._options(live)
        q, k, v = live[:3]
        if call.case["poison"]:  # hidden from every query: any number will do
            k, v = (np.where(np.isfinite(x), x, 0) for x in (k, v))
        o, found, signature = oracle(q, k, v, call.case["score"], seen, bias, scale, sink, call.masses)
        lead = np.broadcast_shapes(call.lead, o.shape[:-2])
        chosen = {"output": np.broadcast_to(o, (*lead, *o.shape[-2:]))}
        for key in call.case["statistics"]:
            chosen[key] = np.broadcast_to(found[key], (*lead, found[key].shape[-1]))
        return chosen, signature


def _numbers(x):
    return np.asarray(x.detach().resolve_neg().double().numpy(), REAL)
