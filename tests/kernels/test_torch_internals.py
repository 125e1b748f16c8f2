"""What torch does not promise to keep is there, and does what it is used for."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import Function, forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from attnlab.kernels import torch_internals

ROOT = Path(torch_internals.__file__).parents[1]
ONE_FILE = {"kernels": "kernels/torch_internals.py", "analysis": "analysis/exact/torch_internals.py"}
"""Where private names may stand; analysis/ imports nothing of kernels/, so that it has a file of its own."""


def private_names(text):
    """What a file writes of torch that begins with an underscore: attributes, and modules and names that it imports."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = (
                name.split(".") if name.replace(".", "").isidentifier() else [""]
            )  # names with dots, nothing computed
            if parts[0] in ("torch", "forward_ad") and any(p.startswith("_") and not p.startswith("__") for p in parts):
                found.add(name)
    return found


@pytest.mark.slow
def test_private_names_of_torch_stand_in_one_file_of_each_folder():
    found = {
        str(path.relative_to(ROOT)): names
        for folder in ("theory", "kernels", "simulators", "analysis", "papers")
        for path in (ROOT / folder).rglob("*.py")
        if str(path.relative_to(ROOT)) != ONE_FILE.get(folder)
        and (names := private_names(path.read_text(encoding="utf-8")))
    }
    assert not found
    assert all(private_names((ROOT / name).read_text(encoding="utf-8")) for name in ONE_FILE.values())


@pytest.mark.parametrize(
    "line", ["torch._C._x()", "from torch.utils._a import B", "from torch.nn import _b", "import torch._c"]
)
def test_the_check_sees_a_private_name(line):
    assert private_names(line)


def test_the_state_of_a_generator_is_put_in_word_for_word_and_another_layout_is_refused(monkeypatch):
    words = np.random.SeedSequence(5).generate_state(torch_internals.TWISTER_WORDS, np.uint32)
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": words, "pos": torch_internals.TWISTER_WORDS}}
    generator = torch.Generator().manual_seed(3)
    torch.randn(7, generator=generator)  # counters of an earlier use are gone
    torch_internals.set_twister(generator, words)
    drawn = torch.empty(500, dtype=torch.int64).random_(0, 2**31, generator=generator)
    expected = twister.random_raw(1000)[1::2] % 2**31  # 64 bits per number, the low half from the second word
    assert np.array_equal(drawn.numpy(), expected.astype(np.int64))
    monkeypatch.setattr(torch_internals, "_RECORD", 5048)
    with pytest.raises(RuntimeError, match="5056 bytes, not 5048"):
        torch_internals.set_twister(generator, words)


def test_a_mode_sees_operations_below_autograd_and_leaves_finds_tensors_inside():
    names = []

    class Watch(torch_internals.DispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    with Watch():
        torch.nn.functional.silu(torch.ones(2))
    assert names[-1] == "silu"
    assert torch_internals.leaves(([1, (2,)], {"a": 3})) == [1, 2, 3]


def test_decompositions_give_the_values_of_the_operation():
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    rule = torch_internals.decompositions()[torch.ops.aten.silu.default]
    assert torch.allclose(rule(x), torch.nn.functional.silu(x), rtol=1e-15)


def test_transforms_and_their_wrappers_are_seen():
    assert not torch_internals.transforms_active() and not torch_internals.is_wrapped(torch.ones(1))
    seen = []

    def look(x):
        with torch_internals.plain_tensors():
            fresh = torch.ones(2)
        seen.append(
            (torch_internals.transforms_active(), torch_internals.is_wrapped(x), torch_internals.is_wrapped(fresh))
        )
        return x.sum()

    torch.func.grad(look)(torch.ones(2))
    torch.func.vmap(look)(torch.ones(2, 2))
    assert seen == [(True, True, False)] * 2


def test_an_open_level_of_forward_mode_is_seen():
    assert not torch_internals.forward_mode_active()
    with forward_ad.dual_level():
        assert torch_internals.forward_mode_active()
    assert not torch_internals.forward_mode_active()


def test_the_short_way_into_a_function_gives_the_same_graph():
    class Twice(Function):
        @staticmethod
        def forward(name, x):
            return 2 * x

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.name = inputs[0]

        @staticmethod
        def backward(ctx, g):
            return None, 2 * g

    x = torch.ones(3, requires_grad=True)
    y = torch_internals.apply_directly(Twice, "name", x)
    assert torch.equal(y, 2 * x) and torch.equal(torch.autograd.grad(y.sum(), x)[0], torch.full((3,), 2.0))
    left = {}
    torch.func.grad(lambda z: left.setdefault("z", z * 1).sum())(x)
    assert torch.equal(torch_internals.apply_directly(Twice, "name", left["z"]), 2 * x)


@pytest.mark.parametrize("causal", [False, True])
def test_fused_operators_are_attention_with_its_log_sum_exp(causal):
    assert torch_internals.has_flash()
    forward, backward, view = torch_internals.flash_operators()
    q, k, v, g = (torch.randn(2, 1, 5, 3, dtype=torch.float64) for _ in range(4))
    o, lse = forward(q, k, v, 0.0, causal, attn_mask=None, scale=0.7)
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    s = 0.7 * leaves[0] @ leaves[1].mT
    s = s.masked_fill(~torch.ones(5, 5, dtype=torch.bool).tril(), -torch.inf) if causal else s
    right = s.softmax(-1) @ leaves[2]
    assert torch.allclose(o, right, atol=1e-13) and torch.allclose(lse, s.logsumexp(-1), atol=1e-13)
    found = backward(g, q, k, v, o, lse, 0.0, causal, attn_mask=None, scale=0.7)
    for a, b in zip(found, torch.autograd.grad(right, leaves, g), strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    assert view(o, (2, 5, 3)).shape == (2, 5, 3)


def test_the_backward_of_softmax_writes_where_it_is_told():
    g, w, out = torch.randn(3, 5), torch.randn(3, 5).softmax(-1), torch.empty(3, 5)
    torch_internals.softmax_backward(g, w, out)
    assert (out - w * (g - (w * g).sum(-1, keepdim=True))).abs().max() < 1e-6


def test_modes_that_trace_are_told_from_modes_that_look_on():
    class Look(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            return function(*args, **(kwargs or {}))

    seen = []
    assert not torch_internals.tracing()
    with Look():
        assert not torch_internals.tracing()
    with FakeTensorMode():
        assert torch_internals.tracing() and not torch_internals.all_finite(torch.ones(2))
    make_fx(lambda x: seen.append(torch_internals.tracing()) or x + 1)(torch.ones(2))
    torch.compile(lambda x: x + 1 if torch_internals.tracing() else x, backend="eager", fullgraph=True)(torch.ones(2))
    assert seen == [True]


def test_finiteness_is_seen_through_the_wrappers_of_transforms():
    seen = []
    bad = torch.tensor([[1.0, 2.0], [torch.nan, 1.0]])
    look = lambda x: seen.append(torch_internals.all_finite(x)) or x.sum()  # noqa: E731
    torch.func.vmap(torch.func.grad(look))(bad)
    torch.func.vmap(torch.func.grad(look))(bad.nan_to_num())
    assert seen == [False, True] and not torch_internals.all_finite(torch.tensor([torch.inf]))
    assert torch_internals.all_finite(bad[:1], torch.zeros(0))


def test_only_one_level_of_forward_mode_suits_a_function():
    seen = []
    look = lambda x: seen.append(torch_internals.transforms_of_a_function()) or x.sum()  # noqa: E731
    x = torch.ones(2)
    torch.func.hessian(look)(x)
    torch.func.jvp(lambda y: torch.func.jvp(look, (y,), (y,))[1], (x,), (x,))
    torch.func.functionalize(look)(x)
    assert seen == [True, False, False]


@pytest.mark.slow
def test_the_mark_of_a_constant_is_the_one_that_torch_sets_and_imports_no_compiler():
    import subprocess
    import sys

    def ours():
        return True

    def theirs():
        return True

    assert vars(torch_internals.constant_when_compiled(ours)) == vars(torch.compiler.assume_constant_result(theirs))
    code = "import sys, attnlab.kernels.attention.operation; assert 'torch._dynamo' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=240).returncode == 0


def test_tensors_whose_numbers_do_not_lie_at_their_address_are_seen():
    with FakeTensorMode() as mode:
        fake = torch.ones(2)
    plain, zero = torch.ones(2), torch._efficientzerotensor((2,))
    assert torch_internals.dispatches(fake) and not torch_internals.dispatches(torch.nn.Parameter(plain))
    assert torch_internals.mode_of(plain, fake) is mode
    assert torch_internals.without_memory(plain, torch.ones(2, device="meta")) and not torch_internals.without_memory(
        plain
    )
    assert (
        zero.data_ptr() == 0 != torch_internals.in_memory(zero).data_ptr() and torch_internals.in_memory(plain) is plain
    )
    with torch.inference_mode(), torch_internals.kept_tensors():
        kept = torch.ones(2)
    assert not kept.is_inference() and not torch_internals.autocast_active()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch_internals.autocast_active()
