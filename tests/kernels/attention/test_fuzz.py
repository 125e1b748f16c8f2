"""Random calls against the oracle of ``fuzz``: 500 of them, of which a run of the fast tests takes a tenth by the commit; 20,000 by ``python tests/kernels/attention/fuzz --cases 20000``."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FUZZ = Path(__file__).parent / "fuzz"


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("attention_fuzz", FUZZ / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not sys.modules["oracle"].EXTENDED:
        pytest.skip("long double is no longer than double on this machine: no oracle")
    return module


@pytest.mark.sampled(10)
@pytest.mark.parametrize("first", range(0, 500, 25))
def test_random_calls_are_what_the_oracle_says(first, fuzz, needs_c):
    for seed in range(first, first + 25):
        case = fuzz.random_case(seed)
        why = fuzz.fails(case)
        if why is not None:
            simplest, why = fuzz.shrunk(case, why)
            pytest.fail(f"seed {seed}: {why}\n{simplest}\n{fuzz.snippet(simplest)}")


def test_a_second_derivative_is_allowed_the_rounding_of_its_terms(fuzz):
    """softplus / sum softplus over a single key is 1, with tangents of logits up to 30: 0 as a sum of terms of a thousand."""
    case = fuzz.random_case(100287) | {
        "lead": [17],
        "own": [True] * 3,
        "n_q": 1,
        "n_k": 1,
        "d": 3,
        "dv": 3,
        "mask": None,
    }
    case |= {"bias": None, "layout": ["plain"] * 3, "poison": False, "statistics": [], "path": "reference"}
    assert (case["score"][0], case["mode"], case["dtype"]) == ("softplus", "forward of reverse", "float32")
    assert fuzz.fails(case) is None
    oracle, call = sys.modules["check"].Oracle(fuzz.Call(case)), fuzz.Call(case)
    q, k, v = (x.detach().double().numpy() for x in call.tensors)
    dq, dk, _ = (x.detach().double().numpy() for x in call.directions)
    tangents = case["scale"] * ((dq * k).sum(-1) + (q * dk).sum(-1))  # one query, one key
    by_hand = np.linalg.norm(tangents**2 * (1 + np.abs(v).sum(-1)))
    assert oracle.terms() == pytest.approx(by_hand, rel=1e-6)
    assert oracle.roundings(4) == 4 * (1 + case["d"] + 8) * 2.0**-23


@pytest.mark.parametrize(
    ("twin", "change"),
    [
        ("a scale that is off by 1 part in 1000", {"scale": 0.7007}),
        ("a window that is one key longer", {"mask": "window"}),
        ("the sink forgotten", {"sink": None}),
    ],
)
def test_the_oracle_tells_false_twins(twin, change, fuzz, monkeypatch, needs_c):
    """The same call with one thing slightly different is wrong, in value and in derivatives, and shrinks to a small case."""
    check = sys.modules["check"]
    plain, seen = check.attention, 0
    for seed in range(3):
        for mode in ("value", "reverse", "jvp", "twice"):
            case = fuzz.random_case(seed) | {
                "lead": (9,), "own": [True] * 3, "n_q": 5, "n_k": 5, "score": ("softmax", {}), "sink": "number", "scale": 0.7,
                "mask": "dilated", "bias": None, "poison": False, "statistics": [], "mode": mode, "path": "auto",
                "layout": ["plain"] * 3,
            }  # fmt: skip
            assert fuzz.fails(case) is None
            monkeypatch.setattr(check, "attention", lambda *x, **o: plain(*x, **{**o, **_twin(change)}))
            seen += fuzz.fails(case) is not None
            if mode == "value":
                simplest, _ = fuzz.shrunk(case, fuzz.fails(case))
                assert (
                    simplest["lead"] in ((), (1,))
                    and simplest["mode"] == "value"
                    and "attention(" in fuzz.snippet(simplest)
                )
            monkeypatch.undo()
    assert seen >= 11  # of 12: a derivative along one direction may be blind to the change


def _twin(change):
    from attnlab.kernels.attention.masks import Window

    name, value = next(iter(change.items()))
    return {"scale": value} if name == "scale" else {"mask": Window(2, 1)} if name == "mask" else {"score": "softmax"}


@pytest.mark.slow
def test_random_calls_of_the_triton_kernels():
    pytest.importorskip("triton")
    command = [sys.executable, str(FUZZ), "--triton", "--cases", "60"]
    run = subprocess.run(
        command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
