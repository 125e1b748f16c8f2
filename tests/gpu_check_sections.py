"""What ``gpu_check.py`` looks at, one function per section: each yields a name and the function that finds (result, right)."""

from __future__ import annotations

import functools
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAPS = (
    "softmax",
    "softmax_plus_one",
    "softpick",
    "sigmoid",
    "linear",
    "relu",
    "power",
    "relu_power",
    "softplus",
    "signed",
)
FORMULAS = (("log(1 + exp(s))", "sum"), ("exp(-s**2)", "sum"), ("exp(30*tanh(s/30))", "sum"))
#: What a section yields: a name, and the function that finds (result, right).
Rows = Iterator[tuple[str, Callable[[], tuple[str, bool | None]]]]
TRAINED = (
    "in_context_regression.train",
    "induction_heads.train",
    "linear_attention_softmax.train",
    "stiffness_networks.train_gated",
)


@dataclass
class Check:
    """The device, the time that is left, and what was found: rows (section, what, result, right)."""

    dry: bool
    minutes: float
    rows: list[tuple[str, str, str, bool | None]] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def device(self) -> str:
        return "cpu" if self.dry else "cuda"

    def note(self, section: str, what: str, result: str, right: bool | None) -> None:
        """One row; ``right`` is None for a measurement that nothing can be wrong with."""
        self.rows.append((section, what, result, right))
        print(f"{section:10s} {what:66s} {result}{'' if right is not False else '   WRONG'}", flush=True)

    def time_left(self, share: float = 1.0) -> float:
        """Seconds until ``share`` of the time is spent."""
        return 60 * self.minutes * share - (time.monotonic() - self.started)


def _tensors(check: Check, dtype, *shapes):
    import torch

    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).to(check.device) for shape in shapes]


def _all(tensors, g, **options):
    """Output and gradients."""
    import torch

    from attnlab.kernels.attention import attention

    leaves = [x.detach().requires_grad_() for x in tensors]
    o = attention(*leaves, **options)
    return [o.detach(), *torch.autograd.grad(o, leaves, g.to(o))]


def correct(check: Check) -> Rows:
    """Each dtype, map and shape against float64 on the CPU: the error over that of the same formula in plain operations."""
    import torch

    from attnlab.kernels.attention.masks import Window
    from attnlab.kernels.attention.scores import SCORE_MAPS, score_map

    scores = [(name, SCORE_MAPS[name]) for name in MAPS]
    scores += [(f"{text} by {divide}", score_map(text, divide=divide)) for text, divide in FORMULAS]
    shapes = {
        "40 tokens, causal": (3, 40, 40, 6, "causal"),
        "1 query": (9, 1, 40, 6, None),
        "band, width 64": (2, 130, 130, 64, Window(9)),
    }
    dtypes = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
    if check.dry:
        shapes, scores, dtypes = {"5 tokens, causal": (3, 5, 5, 2, "causal")}, [scores[0], scores[-3]], dtypes[:3]

    def run(dtype, score, problems, n_q, n_k, d, mask):
        tensors = _tensors(check, dtype, (problems, n_q, d), (problems, n_k, d), (problems, n_k, d))
        (g,) = _tensors(check, dtype, (problems, n_q, d))
        options = {"score": score, "mask": mask}
        found = _all(tensors, g, path="gpu", **options)
        exact = _all([x.double().cpu() for x in tensors], g.cpu(), path="reference", **options)
        ratio = error_ratio(found, _all(tensors, g, path="reference", **options), exact, torch.finfo(dtype).eps)
        return f"{ratio:.2g} of what is allowed", ratio <= 1

    for dtype, (label, shape), (name, score) in itertools.product(dtypes, shapes.items(), scores):
        yield f"{str(dtype)[6:]}, {label}, {name}", functools.partial(run, dtype, score, *shape)


def error_ratio(found, plain, exact, eps: float) -> float:
    """Largest error in units of twice the error of plain operations plus eight roundings of the largest number."""
    worst = 0.0
    for a, b, c in zip(found, plain, exact, strict=True):
        error, own = ((x.double().cpu() - c).abs().max().item() for x in (a, b))
        if not math.isfinite(error):
            return math.inf
        worst = max(worst, error / (2 * own + 8 * eps * c.abs().max().item() + 1e-300))
    return worst


def limits(check: Check) -> Rows:
    """Problems beyond what the second axis of a grid holds, with gradients: the first and the last are right."""
    import torch

    def run(problems, n):
        tensors = _tensors(check, torch.float32, *((problems, n, 3),) * 3)
        found = _all(tensors, torch.ones(problems, n, 3), path="gpu", mask="causal")
        ends = [0, problems - 1]
        exact = _all([x[ends].double().cpu() for x in tensors], torch.ones(2, n, 3), path="reference", mask="causal")
        ratio = error_ratio([x[ends] for x in found], exact, exact, (n + 11) * torch.finfo(torch.float32).eps)
        return f"{ratio:.2g} of what is allowed", ratio <= 1

    for problems, n in ((65_536, 17), (200_000, 5)) if not check.dry else ((6, 17),):
        yield f"{problems} problems of {n} tokens", functools.partial(run, problems, n)


def graphs(check: Check) -> Rows:
    """A recorded call gives, replayed on new inputs, the bits of a direct call."""
    import torch

    from attnlab.kernels.attention import attention
    from attnlab.kernels.attention.masks import Window

    n = 40
    seen = torch.rand(n, n, generator=torch.Generator().manual_seed(0)) < 0.7
    seen[:, 0] = True
    cases = {
        "causal": {"mask": "causal"},
        "window": {"mask": Window(5)},
        "boolean tensor": {"mask": seen.to(check.device)},
        "bias and scale": {
            "bias": torch.randn(n, n, generator=torch.Generator().manual_seed(1)).to(check.device),
            "scale": 0.3,
        },
        "softplus": {"score": "softplus"},
    }

    def run(options):
        if check.dry:
            return "needs a device", None
        q, k, v = (x.requires_grad_() for x in _tensors(check, torch.float32, *((64, n, 6),) * 3))

        def call():
            o = attention(q, k, v, path="gpu", **options)
            return [o, *torch.autograd.grad(o.square().sum(), (q, k, v))]

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            recorded = call()
        with torch.no_grad():
            for x in (q, k, v):
                x.copy_(torch.randn_like(x))
        graph.replay()
        torch.cuda.synchronize()
        equal = all(torch.equal(a, b) for a, b in zip(recorded, call(), strict=True))
        return "the same bits" if equal else "other numbers", equal

    for name, options in cases.items():
        yield f"forward and backward, {name}", functools.partial(run, options)


def speed(check: Check) -> Rows:
    """Times against the alternatives, forward and backward; a ratio above 1 means that attention() is faster."""
    import torch
    import torch.nn.functional as F

    from attnlab.kernels.attention import attention

    shapes = [(4096, 16, 4), (1024, 40, 6), (512, 128, 16), (64, 512, 64), (16, 2048, 64)]
    dtypes = [torch.float32, torch.bfloat16]
    if check.dry:
        shapes, dtypes = [(2, 5, 2)], dtypes[:1]
    compiled, flex = _compiled(check)
    with_compiled = {
        (torch.float32, 1024),
        (torch.float32, 64),
        (torch.float32, 2),
    }  # each compilation takes half a minute

    def run(dtype, problems, n, d):
        leaves = [x.requires_grad_() for x in _tensors(check, dtype, *((problems, 1, n, d),) * 3)]
        g = torch.ones(problems, 1, n, d, dtype=dtype, device=check.device)
        rivals = {
            "SDPA": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
            "plain torch": _plain,
        }
        if (dtype, problems) in with_compiled:
            rivals |= {"torch.compile": compiled} | ({"FlexAttention": flex(n)} if d >= 16 else {})
        ours = _seconds(check, lambda q, k, v: attention(q, k, v, mask="causal", path="gpu"), leaves, g)
        parts = [f"{1e6 * ours:.0f} us"]
        for name, function in rivals.items():
            try:
                parts.append(f"{name} {_seconds(check, function, leaves, g) / ours:.2f}")
            except Exception as error:  # a rival that does not run is a result
                parts.append(f"{name} {type(error).__name__}")
        return ", ".join(parts), None

    for dtype, (problems, n, d) in itertools.product(dtypes, shapes):
        what = f"{str(dtype)[6:]}, {problems} problems, {n} tokens of width {d}, causal"
        yield what, functools.partial(run, dtype, problems, n, d)


def _plain(q, k, v):
    import torch

    s = q @ k.mT / q.shape[-1] ** 0.5
    hidden = torch.ones(s.shape[-2:], dtype=torch.bool, device=s.device).triu(1)
    return s.masked_fill(hidden, float("-inf")).softmax(-1) @ v


def _compiled(check: Check) -> tuple[Callable, Callable]:
    """torch.compile of plain attention, and FlexAttention for a length; as they are in a dry run, where compiling takes too long."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    make = (lambda f: f) if check.dry else (lambda f: torch.compile(f, dynamic=False))
    made = make(flex_attention)

    def flex(n: int) -> Callable:
        mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, n, n, device=check.device)
        return lambda q, k, v: made(q, k, v, block_mask=mask)

    return make(_plain), flex


def _seconds(check: Check, function: Callable, leaves: list, g) -> float:
    """Median of eleven timings of forward and backward, each of enough calls to last two milliseconds."""
    import torch

    def run() -> None:
        torch.autograd.grad(function(*leaves), leaves, g)

    def wait() -> None:
        if not check.dry:
            torch.cuda.synchronize()

    for _ in range(1 if check.dry else 3):
        run()
    wait()
    start = time.perf_counter()
    run()
    wait()
    repeat = 1 if check.dry else max(1, min(100, int(2e-3 / (time.perf_counter() - start))))
    found = []
    for _ in range(1 if check.dry else 11):
        start = time.perf_counter()
        for _ in range(repeat):
            run()
        wait()
        found.append((time.perf_counter() - start) / repeat)
    return statistics.median(found)


def _simulations() -> dict:
    import pkgutil

    import attnlab.simulators
    from attnlab.simulators.ensemble.simulation import simulations_of

    found = {}
    for module in pkgutil.iter_modules(attnlab.simulators.__path__):
        if module.ispkg:
            found |= simulations_of(f"attnlab.simulators.{module.name}")
    return found


def _small():
    import importlib.util

    spec = importlib.util.spec_from_file_location("small_settings", ROOT / "tests" / "simulators" / "small_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.small


def simulators(check: Check) -> Rows:
    """Every simulation that declares CUDA, at a small setting: it runs there, and returns arrays of the CPU's names and shapes."""
    import numpy as np

    small, known = _small(), _simulations()
    names = [name for name, each in known.items() if "cuda" in each.devices]

    def run(name):
        seeds = [np.random.SeedSequence(0, spawn_key=(i,)) for i in range(2)]
        setting = small(known[name])
        here, there = (
            {k: (x.shape, x.dtype) for k, x in known[name](setting, seeds, device).items()}
            for device in ("cpu", check.device)
        )
        return "the same arrays" if here == there else "other arrays", here == there

    yield "declared", lambda: (f"{len(names)} of {len(known)} compute on a GPU, the others on the CPU", None)
    for name in names if not check.dry else names[:2]:
        yield name, functools.partial(run, name)


def trainer(check: Check) -> Rows:
    """Seconds per step of training at the default setting with few steps: CPU (as it runs by default) over GPU."""
    from dataclasses import replace

    import numpy as np

    known = _simulations()

    def run(name):
        each, steps = known[name], 2 if check.dry else 64
        few = {"n_records": 1, "snapshot_steps": (1,)}
        setting = each.setting_type()
        setting = replace(setting, **{k: v for k, v in few.items() if hasattr(setting, k)})
        seeds = [np.random.SeedSequence(0, spawn_key=(i,)) for i in range(2 if check.dry else each.block)]
        times = {}
        for device in ("cpu", check.device):
            spent = []
            for n in (steps, 2 * steps):  # the difference leaves out what a run does once
                start = time.perf_counter()
                each(replace(setting, n_steps=n), seeds, device)
                spent.append(time.perf_counter() - start)
            times[device] = max(spent[1] - spent[0], 1e-9) / steps
        ratio = times["cpu"] / times[check.device]
        check.ratios.append(ratio)
        here, there = (1e3 * times[x] for x in ("cpu", check.device))
        return f"{here:.3g} ms per step on the CPU, {there:.3g} there: {ratio:.2g} times as fast", None

    for name in TRAINED if not check.dry else TRAINED[2:3]:
        yield name, functools.partial(run, name)


SECTIONS = {
    "correct": correct,
    "limits": limits,
    "graphs": graphs,
    "speed": speed,
    "simulators": simulators,
    "trainer": trainer,
}
