"""What a random call is: plain data, from which its tensors are made; and the steps that make a failing one smaller."""

import random

import numpy as np
import torch

from attnlab.kernels.attention import masks
from attnlab.kernels.attention.biases import ALiBi, ForgetGate, RelativePosition
from attnlab.kernels.attention.scores import Cosine, registry
from attnlab.kernels.attention.scores.f_over_g import Linear, Power, ReLU, Softmax, Softpick
from attnlab.kernels.attention.scores.rows import Clipped, Entmax, Hardmax, Standardised
from attnlab.kernels.attention.statistics import KNOWN, Mass

MAPS = {
    "softmax": lambda **o: Softmax(**o),
    "softpick": lambda **o: Softpick(**o),
    "linear": lambda **o: Linear(**o),
    "relu": lambda **o: ReLU(**o),
    "power": lambda **o: Power(**o),
    "clipped": lambda **o: Clipped(**o),
    "hardmax": lambda **o: Hardmax(**o),
    "entmax": lambda **o: Entmax(**o),
    "standardised": lambda **o: Standardised(**o),
    "cosine": lambda **o: Cosine(**o),
}
SCORES = [
    ("softmax", {}),
    ("softmax", {}),
    ("softmax", {}),
    ("softpick", {"eps": 1e-3}),
    ("sigmoid", {}),
    ("linear", {"divide": "count"}),
    ("linear", {"divide": "one"}),
    ("relu", {"divide": "count"}),
    ("power", {"power": 2}),
    ("power", {"power": 3}),
    ("power", {"power": 2, "rectified": True}),
    ("softplus", {}),
    ("signed", {}),
    ("cosine", {}),
    ("clipped", {}),
    ("hardmax", {}),
    ("hardmax", {"ties": "average"}),
    ("entmax", {"alpha": 1.5}),
    ("entmax", {"alpha": 1.1}),
    ("entmax", {"alpha": 2.0}),
    ("standardised", {}),
]
COMPILED = ("softmax", "softpick", "sigmoid", "linear", "relu", "power", "softplus", "signed", "cosine")
MODES = (
    "value",
    "reverse",
    "jvp",
    "dual",
    "twice",
    "forward of reverse",
    "vmap",
    "batched",
    "transposed vmap",
    "linearize",
)
MODES += (
    "checkpoint",
    "after inference",
    "again",
    "reverse again",
)  # again: what two calls before it have left is looked up
LAYOUTS = ("plain", "plain", "turned", "gaps", "shared", "negative", "reversed", "column")


def random_case(seed, wide=False, triton=False):
    """The case of a seed: a dictionary of plain values."""
    r = random.Random(seed)
    lead = tuple(r.choice((1, 2, 3)) for _ in range(r.choice((0, 1, 1, 2, 2, 3, 5))))
    if r.random() < 0.4:
        lead = (r.choice((4, 9, 17)), *lead[1:])
    n_k = r.choice((1, 2, 3, 4, 5, 7, 8, 9, 17))
    n_q = n_k if r.random() < 0.6 else r.choice((0, 1, 2, 3, 5, 8))
    score, options = r.choice([s for s in SCORES if not triton or s[0] in COMPILED])
    d, dv = r.choice(((3, 2), (3, 2), (3, 3)) if not wide else ((3, 2), (3, 3), (1, 1), (5, 4), (8, 1), (16, 16)))
    path = "gpu" if triton else r.choice(("auto", "auto", "c", "c", "reference", "sdpa"))
    if path == "sdpa":
        score, options = "softmax", {}
    if path == "c" and score not in COMPILED:
        path = "auto"
    case = {
        "seed": seed,
        "lead": lead,
        "own": [r.random() < 0.75 for _ in range(3)],  # whether q, k, v have all leading axes
        "n_q": n_q,
        "n_k": n_k,
        "d": d,
        "dv": dv,
        "dtype": r.choice(("float32", "float64")),
        "score": (score, options),
        "sink": r.choice((None, None, "number", "tensor"))
        if score == "softmax" and path not in ("sdpa", "gpu")
        else None,
        "scale": r.choice((None, None, 0.7, -0.4, 0.0, 3.0, "tensor")),
        "mask": r.choice(
            (None, None, "causal", "causal", "window", "dilated", "subsample", "shared", "own", "own", "flat", "tall")
        ),
        "bias": r.choice(
            (None, None, None, "tensor", "column", "holes", "nan", "alibi", "forget", "closed", "relative")
        ),
        "layout": [r.choice(LAYOUTS) for _ in range(3)],
        "poison": r.random() < 0.15,
        "statistics": r.sample(KNOWN, r.choice((0, 0, 0, 1, 2, 4))),
        "mode": r.choice(MODES),
        "path": path,
    }
    if path == "sdpa":
        case["statistics"], case["bias"] = r.choice(([], ["column_sum"])), r.choice((None, None, "tensor", "holes"))
        case["n_q"] = max(case["n_q"], 1)
        if case["bias"] or case["mask"] == "own":
            case["mode"] = r.choice(("value", "reverse", "twice"))
    return tidy(case)


def tidy(case):
    """The same case without what its sizes do not allow."""
    if case["bias"] in ("forget", "closed", "alibi", "relative") and case["n_q"] > case["n_k"]:
        case["bias"] = None
    if case["bias"] in ("forget", "closed"):
        case["mask"] = "causal"
    if case["mode"] in (
        "jvp",
        "dual",
        "forward of reverse",
        "linearize",
    ):  # torch's forward mode takes no stride 0 and no negative bit
        case["layout"] = ["plain" if x in ("shared", "column", "negative") else x for x in case["layout"]]
    if case["mode"] in ("again", "reverse again") and case["seed"] % 4:  # what a look-up serves
        plain = {"bias": None, "statistics": [], "sink": None, "own": [True] * 3, "poison": False}
        case |= plain | {"scale": 0.7 if case["scale"] == "tensor" else case["scale"]}
        case["mask"] = "window" if case["mask"] in ("shared", "own", "flat", "tall") else case["mask"]
        case["path"] = "c" if case["score"][0] in COMPILED and case["path"] != "gpu" else case["path"]
    if case["mode"] in ("twice", "forward of reverse") and case["score"][0] == "power":
        case["dtype"] = (
            "float64"  # where one key is left its terms cancel, and the oracle cannot tell how large they are
        )
    if case["mode"] in ("vmap", "transposed vmap") and (
        not (case["lead"] and all(case["own"]))
        or "tensor" in (case["scale"], case["sink"])
        or (case["mask"] == "own" or case["path"] == "sdpa")
    ):
        case["mode"] = "value"
    return case


def smaller(case):
    """Cases that are simpler than this one by one step."""
    plain = {
        "mode": "value",
        "poison": False,
        "statistics": [],
        "bias": None,
        "mask": None,
        "sink": None,
        "scale": None,
    }
    for name, value in plain.items():
        if case[name] != value:
            yield {**case, name: value}
    for i in range(len(case["lead"])):
        yield {**case, "lead": case["lead"][:i] + case["lead"][i + 1 :]}
        if case["lead"][i] > 1:
            yield {**case, "lead": (*case["lead"][:i], 1, *case["lead"][i + 1 :])}
    for name in ("n_q", "n_k"):
        if case[name] > 1:
            yield {**case, name: 1}
            yield {**case, name: case[name] - 1}
    if case["layout"] != ["plain"] * 3:
        yield {**case, "layout": ["plain"] * 3}
    if not all(case["own"]):
        yield {**case, "own": [True] * 3}
    for i in range(len(case["statistics"])):
        yield {**case, "statistics": case["statistics"][:i] + case["statistics"][i + 1 :]}


class Call:
    """The tensors of a case, what the oracle is told of them, and the call."""

    def __init__(self, case):
        self.case, rng = case, np.random.default_rng(case["seed"])
        lead, n_q, n_k = tuple(case["lead"]), case["n_q"], case["n_k"]
        self.dtype = getattr(torch, case["dtype"])
        make = lambda *shape: torch.from_numpy(rng.standard_normal(shape)).to(self.dtype)  # noqa: E731
        sizes = ((n_q, case["d"]), (n_k, case["d"]), (n_k, case["dv"]))
        tensors = [make(*(lead if own else ()), *size) for own, size in zip(case["own"], sizes, strict=True)]
        self.lead = lead if any(case["own"]) else ()
        self.seen, self.mask = self._mask(case["mask"], rng, n_q, n_k)
        self.bias, self.bias_option = self._bias(case["bias"], make, rng, n_q, n_k)
        if case["bias"] == "nan":  # where no problem sees it
            hidden = ~np.broadcast_to(self.seen, (*np.shape(self.seen)[:-2], n_q, n_k)).any(
                tuple(range(self.seen.ndim - 2))
            )
            self.bias.data[..., torch.from_numpy(hidden)] = torch.nan
        if case["poison"] and n_k > 1:
            self.seen = np.array(np.broadcast_to(self.seen, (*np.shape(self.seen)[:-2], n_q, n_k)))
            self.seen[..., n_k // 2] = False
            self.mask = torch.from_numpy(self.seen.copy())
            for x in tensors[1:]:
                x[..., n_k // 2, :] = [torch.nan, torch.inf, -torch.inf][case["seed"] % 3]
        self.tensors = [x.requires_grad_() for x in map(_lay, tensors, case["layout"])]
        self.scale, self.sink = case["scale"], None
        if self.scale == "tensor":
            self.scale = make(*self.lead[:1]).requires_grad_()
        if case["sink"]:
            self.sink = make(*self.lead[:1]).requires_grad_() if case["sink"] == "tensor" else 0.5
        self.live = [*self.tensors, *(x for x in (self.bias, self.scale, self.sink) if _moves(x))]
        if self.case["path"] == "sdpa" and self.bias is not None:
            self.bias.requires_grad_(False)
            self.live = [x for x in self.live if x is not self.bias]
        generator = np.random.default_rng(case["seed"] + 1)
        self.directions = [
            torch.from_numpy(generator.standard_normal(tuple(x.shape))).to(self.dtype) for x in self.live
        ]
        self.names = [name for name in case["statistics"] if name != "mass"]
        self.masses = (0, n_k - 1)
        self.statistics = (*self.names, *((Mass(self.masses),) if "mass" in case["statistics"] else ()))

    def _mask(self, kind, rng, n_q, n_k):
        if kind in ("shared", "own", "flat", "tall"):  # flat: one row for all queries; tall: one column for all keys
            shape = 1 if kind == "flat" else n_q, 1 if kind == "tall" else n_k
            seen = rng.random((*(self.lead if kind == "own" else ()), *shape)) < 0.6
            if self.case["path"] == "sdpa":
                seen[..., -1] = True
            return seen, torch.from_numpy(seen.copy())
        i, j = np.arange(n_q)[:, None] + n_k - n_q, np.arange(n_k)[None, :]
        seen, option = {
            None: (np.ones((n_q, n_k), bool), None),
            "causal": (j <= i, "causal"),
            "window": ((j >= i - 2) & (j <= i + 1), masks.Window(2, 1)),
            "dilated": ((j >= i - 2) & (j <= i) & ((i - j) % 2 == 0), masks.Causal() & masks.Window(1, 0, 2)),
            "subsample": (np.broadcast_to((j == 0) | (j == n_k - 1), (n_q, n_k)), masks.KeySubsample((0, n_k - 1))),
        }[kind]
        if self.case["path"] == "sdpa" and not seen.any(-1).all():
            return np.ones((n_q, n_k), bool), None
        return np.array(seen), option

    def _bias(self, kind, make, rng, n_q, n_k):
        """The tensor that moves, and what is passed; the oracle reads ``bias_matrix``."""
        if kind is None:
            return None, None
        if kind in ("tensor", "column", "holes", "nan"):
            bias = make(*self.lead[1:], n_q, 1 if kind == "column" else n_k)
            if kind == "holes":
                holes = torch.from_numpy(rng.random(tuple(bias.shape)) < 0.25)
                bias[holes] = -torch.inf
                if self.case["path"] == "sdpa":
                    bias[..., -1] = 0.0
            bias.requires_grad_()
            return bias, bias
        if kind == "alibi":
            x = make(*self.lead[1:]).abs().requires_grad_()
            return x, ALiBi(x)
        if kind == "relative":
            x = make(*self.lead[1:], 5).requires_grad_()
            return x, RelativePosition(x)
        x = -make(*self.lead[1:], n_k).abs()
        if kind == "closed":
            x[..., n_k // 2] = -torch.inf
        x.requires_grad_()
        return x, ForgetGate(x)

    def bias_matrix(self, x):
        """The bias of a parameter, for the oracle: by sums over the tokens between."""
        kind, n_q, n_k = self.case["bias"], self.case["n_q"], self.case["n_k"]
        if kind is None or kind in ("tensor", "column", "holes", "nan"):
            return None if kind is None else x
        i, j = np.arange(n_q)[:, None] + n_k - n_q, np.arange(n_k)[None, :]
        if kind == "alibi":
            return -x[..., None, None] * np.abs(i - j)
        if kind == "relative":
            return x[..., np.clip(j - i, -2, 2) + 2]
        out = np.zeros((*x.shape[:-1], n_q, n_k), x.dtype)
        for a in range(n_q):
            for b in range(min(n_k, a + n_k - n_q + 1)):
                out[..., a, b] = x[..., b + 1 : a + n_k - n_q + 1].sum(-1)
        return out

    def score(self, sink):
        """The map as the package has it."""
        name, options = self.case["score"]
        if name == "softmax":
            return Softmax(sink=sink) if sink is not None else "softmax"
        return MAPS[name](**options) if name in MAPS else registry.score_map(name)


def _moves(x):
    return isinstance(x, torch.Tensor) and x.requires_grad


def _lay(x, layout):
    """The same numbers, lying differently in memory."""
    if layout == "turned":
        return x.mT.contiguous().mT
    if layout == "gaps":
        room = torch.full((*x.shape[:-1], 2 * x.shape[-1] + 1), torch.nan, dtype=x.dtype)
        room[..., 1::2] = x
        return room[..., 1::2]
    if layout == "negative":
        return torch.complex(torch.zeros_like(x), -x).conj().imag
    if layout == "shared" and x.ndim > 2:
        x.copy_(x[:1].clone())
        return x[:1].clone().expand(x.shape)
    if layout == "reversed" and x.ndim > 2:
        order = list(range(x.ndim - 2))[::-1]
        return x.permute(*order, -2, -1).contiguous().permute(*order, -2, -1)
    if layout == "column":
        x.copy_(x[..., :1].clone())
        return x[..., :1].clone().expand(x.shape)
    return x
