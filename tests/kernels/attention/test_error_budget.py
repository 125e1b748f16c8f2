"""Every path stays within the published error budget, on ordinary and on nasty inputs."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attnlab.kernels.attention import attention, error_budget
from attnlab.kernels.attention.error_budget import QUANTITIES, combinations, worst_over_cases

DOCUMENT = Path(__file__).parents[3] / "docs" / "error_budget.md"
QUICK = ("ordinary", "masked rows", "huge logits", "ties", "zero keys", "length one", "strided")


def label(value):
    return str(value).removeprefix("torch.")


@pytest.mark.sampled(8)
@pytest.mark.parametrize(("path", "dtype", "score"), combinations(), ids=label)
def test_path_keeps_its_budget(path, dtype, score, needs_c):
    for quantity, (error, share, case) in worst_over_cases(path, dtype, score, only=QUICK).items():
        assert share <= 1, f"{quantity} is off by {error:.3g} units on {case!r}"


@pytest.mark.slow
@pytest.mark.parametrize(("path", "dtype", "score"), combinations(), ids=label)
def test_path_keeps_its_budget_on_every_input(path, dtype, score, needs_c):
    for quantity, (error, share, case) in worst_over_cases(path, dtype, score).items():
        assert share <= 1, f"{quantity} is off by {error:.3g} units on {case!r}"


def test_a_kernel_that_rounds_its_logits_to_half_precision_breaks_the_budget(monkeypatch):
    """The twin: the budget tells eps of float32 from eps of bfloat16."""

    def sloppy(q, k, v, *, path, **keep):
        return attention(q.bfloat16().to(q) if path == "c" else q, k, v, path="reference", **keep)

    monkeypatch.setattr(error_budget, "attention", sloppy)
    found = worst_over_cases("c", torch.float32, "softmax", only=("ordinary",))
    assert all(share > 1 for _, share, _ in found.values())


def test_the_document_lists_every_combination_within_its_budget():
    rows = {
        tuple(cell.strip() for cell in line.split("|")[1:4]): line.split("|")[4:-1]
        for line in DOCUMENT.read_text().splitlines()
        if line.startswith("| ") and "%" in line
    }
    assert set(rows) == {
        (path, label(dtype), score) for path, dtype, score in combinations() + combinations(triton=True)
    }
    for cells in rows.values():
        assert len(cells) == len(QUANTITIES)
        for cell in cells:
            error, share = cell.replace("(", "").replace("%)", "").split()
            assert math.isfinite(float(error)) and 0 <= float(share) <= 100


CODE = """
import torch
from attnlab.kernels.attention import attention
empty = torch.empty
def poisoned(*args, **more):
    x = empty(*args, **more)
    return x.fill_(float("nan")) if x.is_floating_point() else x
torch.empty = poisoned
generator = torch.Generator().manual_seed(0)
q, k, v = (torch.randn(5, 6, 3, generator=generator).requires_grad_() for _ in range(3))
total = 0
for score in ("softmax", "softpick", "relu"):
    for mask in ("causal", torch.eye(6, dtype=torch.bool).roll(1, 0) & torch.tensor([[1], [0], [1], [1], [0], [1]]).bool()):
        names = ("entropy", "logit_variance") if score == "softmax" else ()
        o = attention(q, k, v[..., :2], score=score, mask=mask, statistics=names, path="c")
        o, extra = o if names else (o, {})
        grads = torch.autograd.grad(o.sin().sum() + sum(x.sum() for x in extra.values()), (q, k, v), create_graph=True)
        again = torch.autograd.grad(sum(g.square().sum() for g in grads), (q, k, v))
        for x in (o, *grads, *again):
            print(x.detach().double().sum().item().hex(), x.detach().double().abs().sum().item().hex())
"""


@pytest.mark.slow
def test_nothing_is_read_before_it_is_written(needs_c):
    """Outputs filled with NaN, and (glibc) fresh memory filled with 0xfe bytes, give the same bits."""
    runs = [
        subprocess.run(
            [sys.executable, "-c", CODE],
            env={**os.environ, "MALLOC_PERTURB_": perturb},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for perturb in ("0", "1")
    ]
    assert runs[0] == runs[1] and "nan" not in runs[0] and runs[0].count("\n") == 42
