"""What a repeated call remembers, and what it must not; vectors of different width; the short way into torch's autograd."""

from dataclasses import dataclass, field

import pytest
import torch

from attnlab.kernels import torch_internals
from attnlab.kernels.attention import attention, cpu, paths, plain, seen
from attnlab.kernels.attention import operation as package
from attnlab.kernels.attention.masks import BlockSparse, Causal, Window
from attnlab.kernels.attention.scores.f_over_g import Cosine, ScoreMap, Softmax
from attnlab.kernels.compiled import compiler, counters

EPS = torch.finfo(torch.float64).eps


@pytest.fixture(autouse=True)
def _forget():
    package._plans.clear()
    seen._calls.clear()


def near(a, b):
    return (a - b).abs().max() < 100 * EPS * (1 + b.abs().max())


def test_a_repeated_call_gives_the_same_bits_and_options_are_not_mixed_up(make):
    q, k, v = make(0, (8, 9, 3), (8, 9, 3), (8, 9, 3))
    options = [
        {},
        {"mask": "causal"},
        {"mask": Window(2, 0)},
        {"scale": 2.0},
        {"score": "relu"},
        {"score": Softmax(sink=0.0)},
        {"path": "reference"},
    ]
    first = [attention(q, k, v, **option) for option in options]
    assert len(package._plans) == len(options)
    again = [attention(q, k, v, **option) for option in options]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for option, o in zip(options, again, strict=True):
        assert near(o, attention(q, k, v, **{**option, "path": "reference"}))
    assert not near(again[0], again[1]) and not near(again[0], again[3])  # the twin: one plan for all


class WithGap(Causal):
    """A causal mask with a number beside its fields, which its comparison does not see."""

    def __init__(self, gap):
        super().__init__()
        object.__setattr__(self, "gap", gap)

    def visible(self, n_queries, n_keys):
        return torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_keys - n_queries - self.gap)


@dataclass(frozen=True, eq=False)
class WithField(Causal):
    """The same with a field, and the comparison of the class above."""

    gap: int = 0
    visible = WithGap.visible


@dataclass(frozen=True)
class WithQuietField(Causal):
    """The same with a field that says that it is not compared."""

    gap: int = field(default=0, compare=False)
    visible = WithGap.visible


class WithSlot(Causal):
    """The same with a slot."""

    __slots__ = ("gap",)
    visible = WithGap.visible

    def __init__(self, gap):
        Causal.__init__(self)
        object.__setattr__(self, "gap", gap)


@pytest.mark.parametrize("path", ["auto", "c", "reference"])
@pytest.mark.parametrize("kind", [WithGap, WithSlot, WithField, WithQuietField])
def test_masks_that_are_equal_but_show_other_keys_are_not_mixed_up(kind, path, make, needs_c):
    q, k, v = make(1, *[(9, 6, 3)] * 3)
    masks = [kind(gap=0), kind(gap=2), kind(gap=0) & Window(3), kind(gap=2) & Window(3)]
    assert masks[0] == masks[1] and hash(masks[0]) == hash(masks[1])
    for mask in masks * 2:
        right = attention(q, k, v, mask=mask.visible(6, 6), path="reference")
        assert near(attention(q, k, v, mask=mask, path=path), right)


@dataclass(frozen=True)
class Steeper(ScoreMap):
    """A map of the user's own with a number beside its fields, or in the map inside it."""

    inner: ScoreMap | None = None

    def by(self, factor):
        object.__setattr__(self, "factor", factor)
        return self

    def weights(self, s, visible):
        return self.inner.weights(s, visible) if self.inner else Softmax().weights(self.factor * s, visible)


@pytest.mark.parametrize("wrap", [lambda x: x, Steeper, Cosine])
def test_maps_that_are_equal_but_weigh_otherwise_are_not_mixed_up(wrap, make):
    q, k, v = make(2, *[(8, 9, 3)] * 3)
    one, two = (wrap(Steeper().by(factor)) for factor in (1.0, 2.0))
    assert one == two
    for _ in range(2):
        a, b = (attention(q, k, v, score=score, scale=1.0) for score in (one, two))
        c = attention(q, k, v, score=one, scale=2.0)
        assert near(b, c) and not near(a, b)


@dataclass(frozen=True)
class Halved(ScoreMap):
    """A map of the user's own that prepares queries, and is its own map of logits."""

    def prepare(self, q, k):
        return q / 2, k

    def weights(self, s, visible):
        return Softmax().weights(s, visible)


@pytest.mark.parametrize("path", ["auto", "reference"])
def test_a_map_prepares_queries_and_keys_at_every_call(path, make):
    q, k, v = make(1, *[(8, 9, 3)] * 3)
    for options in ({}, {"mask": "causal"}, {"statistics": ("entropy",)}):
        right = attention(q / 2, k, v, path="reference", **options)
        for _ in range(3):
            found = attention(q, k, v, score=Halved(), path=path, **options)
            if options.get("statistics"):
                assert near(found[0], right[0]) and near(found[1]["entropy"], right[1]["entropy"])
            else:
                assert near(found, right)


def test_a_call_like_an_earlier_one_gives_its_bits_whatever_lies_how(make, needs_c):
    """Third calls are looked up; each way to lie has an entry, and what the look-up cannot tell takes the whole way."""
    q, k, v = make(3, *[(9, 6, 4)] * 3)
    turned, strided = q.mT.contiguous().mT, make(4, (9, 6, 9), (1,))[0][..., 1::2]
    negative, zero = (
        torch.complex(torch.zeros_like(q), q).conj().imag,
        torch._efficientzerotensor((9, 6, 4), dtype=q.dtype),
    )
    part = torch._efficientzerotensor((12, 6, 4), dtype=q.dtype)[3:]  # a part of nothing has an address, and no memory
    kinds = {
        "plain": (q, k, v), "turned": (turned, k, v), "strided": (strided, k, v), "shared": (q, k[:1].expand_as(k), v),
        "negative": (negative, k, v), "zero": (q, zero, v), "part": (q, k, part), "parameter": (torch.nn.Parameter(q), k, v),
    }  # fmt: skip
    for options in ({}, {"mask": "causal"}, {"mask": Window(2), "scale": 0.5, "score": "relu"}):
        for name, tensors in kinds.items():
            right = attention(*(x.detach().clone().contiguous() for x in tensors), **options, path="reference")
            for _ in range(4):
                with torch.inference_mode():
                    attention(*tensors, **options)
                assert near(attention(*tensors, **options), right), name
            with torch.no_grad():
                score, mask, scale = options.get("score", "softmax"), options.get("mask"), options.get("scale")
                known = seen.answer(*tensors, score, mask, None, scale, "auto")
            derivatives = any(
                x.requires_grad for x in tensors
            )  # such a call is kept for itself, as its path may be another
            assert derivatives or (known is None) == (name in ("negative", "zero", "part")), name
            assert known is None or near(known, right)
    assert not near(
        attention(turned, k, v), attention(torch.as_strided(turned, q.shape, q.stride()), k, v)
    )  # the twin: strides unread


def test_biases_are_looked_up_too_each_way_they_lie(make, needs_c):
    """Shared, per head, turned, of another type; with derivatives of q, and one of the bias, which takes the whole way."""
    q, k, v, b, c = make(6, *[(5, 2, 6, 4)] * 3, (6, 6), (2, 6, 6))
    single, learnt = b.float(), b.clone().requires_grad_()
    biases = {
        "shared": b,
        "turned": b.mT,
        "heads": c,
        "one row": b[:1],
        "single": single,
        "learnt": learnt,
        "hides": b.relu().log(),
    }
    for name, bias in biases.items():
        for mask in (None, "causal"):
            own = q.clone().requires_grad_()
            wanted = (own, bias) if name == "learnt" else (own,)
            right = attention(own, k, v, bias=bias, mask=mask, path="reference")
            slopes = torch.autograd.grad(right.sin().sum(), wanted)
            for _ in range(4):
                seen_now = attention(own, k, v, bias=bias, mask=mask)
                assert near(seen_now, right), name
                for got, want in zip(torch.autograd.grad(seen_now.sin().sum(), wanted), slopes, strict=True):
                    assert near(got, want), name
                assert near(attention(q, k, v, bias=bias.detach(), mask=mask), right), name
            known = seen.answer(q, k, v, "softmax", mask, bias, None, "auto")
            assert (known is None) == (name in ("single", "learnt")), name
            assert known is None or near(known, right)
    assert not near(attention(q, k, v, bias=b), attention(q, k, v, bias=b.mT))  # the twin: strides unread


def test_a_mask_for_each_problem_is_read_at_every_call(make):
    """Boolean tensors with leading axes: one plan for all of a shape, never the entries of an earlier one."""
    q, k, v, x = make(7, *[(5, 2, 6, 4)] * 3, (5, 2, 6, 6))
    masks = [x > 0, x < 0.5, (x > 0)[:, :1], (x > 0)[:, :1, :1], (x > 0).mT, x > 9.0, (x > 0)[0]]
    for _ in range(3):
        for mask in masks:
            for options in ({}, {"score": "relu"}, {"bias": x[0, 0]}, {"path": "c"}, {"path": "reference"}):
                if options.get("path") == "c" and cpu.library(0, q.dtype, 4, 4, 1) is None:
                    continue
                right = torch.stack(
                    [
                        attention(q[i], k[i], v[i], mask=mask.expand(5, 2, 6, 6)[i], **{**options, "path": "reference"})
                        for i in range(5)
                    ]
                )
                assert near(attention(q, k, v, mask=mask, **options), right)
    mask = x > 0
    own = q.clone().requires_grad_()
    o = attention(own, k, v, mask=mask)
    (right,) = torch.autograd.grad(attention(own, k, v, mask=mask.clone(), path="reference").sum(), own)
    mask.logical_not_()  # changed before the backward pass
    assert near(torch.autograd.grad(o.sum(), own)[0], right)


@pytest.mark.parametrize("path", ["auto", "c", "sdpa"])
def test_forward_mode_after_calls_with_a_mask_for_each_problem(path, make, needs_c):
    """A plan that was made without forward mode serves a call with it: nothing is refused, and the tangent is right."""
    q, k, v, t = make(8, *[(4, 9, 5)] * 4)
    mask = make(9, (4, 9, 9)) > 0
    mask[..., 0] = True
    for _ in range(3):
        attention(q.clone().requires_grad_(), k, v, mask=mask, path=path)
    right = torch.func.jvp(lambda x: attention(x, k, v, mask=mask, path="reference"), (q,), (t,))[1]
    with torch.autograd.forward_ad.dual_level():
        dual = attention(torch.autograd.forward_ad.make_dual(q, t), k, v, mask=mask, path=path)
        assert near(torch.autograd.forward_ad.unpack_dual(dual).tangent, right)


def test_what_is_kept_with_derivatives_does_not_serve_calls_without(make, monkeypatch, needs_c):
    """The table may give them different paths: the one of a call does not depend on which came first."""
    monkeypatch.setattr(paths, "choose_path", lambda possible, family, passes, *_: "c" if passes == "both" else "sdpa")
    taken, forward, (fused, *others) = [], cpu.Ready.carry_out, torch_internals.flash_operators()
    monkeypatch.setattr(cpu.Ready, "carry_out", lambda *args: taken.append("c") or forward(*args))
    counted = (lambda *args, **options: taken.append("sdpa") or fused(*args, **options)), *others
    monkeypatch.setattr(torch_internals, "flash_operators", lambda: counted)
    q, k, v, b = make(10, *[(2, 3, 20, 4)] * 3, (20, 20))
    own = q.clone().requires_grad_()
    for options in ({}, {"bias": b}):
        for x, path in ((own, "c"), (q, "sdpa")) * 3 + ((q, "sdpa"),) * 3 + ((own, "c"),) * 3:
            taken.clear()
            attention(x, k, v, **options)
            assert taken == [path], options


def test_a_look_up_is_no_way_around_modes_and_transforms(make, needs_c):
    q, k, v, t = make(5, *[(9, 6, 4)] * 4)
    for _ in range(3):
        right = attention(q, k, v)
    slope = torch.func.jvp(lambda x: attention(x, k, v, path="reference"), (q,), (t,))[1]
    with torch.autograd.forward_ad.dual_level():
        dual = attention(torch.autograd.forward_ad.make_dual(q, t), k, v)
        assert near(torch.autograd.forward_ad.unpack_dual(dual).tangent, slope)
    assert near(torch.func.jvp(lambda x: attention(x, k, v), (q,), (t,))[1], slope)
    assert near(torch.func.vmap(lambda x: attention(x, k, v))(torch.stack((q, t)))[0], right)
    with counters.counting() as work:
        attention(q, k, v)
    assert work.exponentials > 0
    with plain.plain_formulas():
        assert near(attention(q, k, v), right) and not torch.equal(attention(q, k, v), right)
    assert attention(q.to("meta"), k.to("meta"), v.to("meta")).is_meta
    with pytest.raises(ValueError, match="move them to one device"):
        attention(q, k.to("meta"), v)
    with pytest.raises(ValueError, match="dense"):
        attention(q.to_sparse(), k, v)
    kept = []
    torch.func.jvp(lambda x: (kept.append(x * 1), x.sum())[1], (q,), (t,))  # a wrapper that has outlived its transform
    assert near(attention(kept[0], k, v), right)
    q.requires_grad_()
    first, second = (
        torch.autograd.grad(attention(q, k, v, path=p).sin().sum(), q, create_graph=True)[0]
        for p in ("auto", "reference")
    )
    assert near(first, second)
    assert near(*(torch.autograd.grad(x.square().sum(), q)[0] for x in (first, second)))


def test_a_good_call_does_not_open_the_door_to_a_bad_one(make):
    q, k, v = make(1, (8, 9, 3), (8, 9, 3), (8, 9, 3))
    attention(q, k, v)
    for bad, error, message in (
        ((q, k, v.float()), ValueError, "dtypes"),
        ((q, k, v[:, :5]), ValueError, "values"),
        ((q, k, None), TypeError, "v must be a tensor"),
        (([1.0], k, v), TypeError, "q must be"),
    ):
        with pytest.raises(error, match=message):
            attention(*bad)
    with pytest.raises(ValueError, match="scale"):
        attention(q, k, v, scale=float("nan"))
    with pytest.raises(ValueError, match="mask"):
        attention(q, k, v, mask="casual")


def test_what_holds_tensors_of_the_caller_is_not_remembered(make, needs_c):
    q, k, v = make(2, (8, 4, 3), (8, 4, 3), (8, 4, 3))
    layout = torch.tensor([[True, False], [True, True]])
    mask, sink = BlockSparse(layout, block=2), torch.zeros(8, dtype=torch.float64)
    before = attention(q, k, v, mask=mask), attention(q, k, v, score=Softmax(sink=sink))
    layout[0, 1] = True
    sink += 3.0
    after = attention(q, k, v, mask=mask), attention(q, k, v, score=Softmax(sink=sink))
    assert near(after[0], attention(q, k, v)) and not near(after[0], before[0]) and not near(after[1], before[1])
    for path in ("c", "auto", "auto"):
        assert near(
            attention(q, k, v, score=Softmax(sink=sink), path=path), attention(q, k, v, score=Softmax(sink=3.0))
        )
    assert all(not isinstance(part, BlockSparse) for key in package._plans for part in key)


def test_remembered_calls_work_inside_transforms_and_for_every_derivative(make, needs_c):
    q, k, v = (x.requires_grad_() for x in make(3, (8, 5, 2), (8, 5, 2), (8, 5, 2)))
    for path in ("c", "sdpa"):
        for _ in range(2):
            (gradient,) = torch.autograd.grad(attention(q, k, v, path=path).sin().sum(), q)
            inside = torch.func.grad(lambda x, path=path: attention(x, k, v, path=path).sin().sum())(q)
            mapped = torch.func.vmap(lambda x, y, z, path=path: attention(x[None], y[None], z[None], path=path)[0])(
                q, k, v
            )
            assert near(gradient, inside) and near(mapped, attention(q, k, v, path=path))
            (first,) = torch.autograd.grad(attention(q, k, v, path=path).sin().sum(), q, create_graph=True)
            assert near(first, gradient) and torch.autograd.grad(first.square().sum(), q)[0].abs().max() > 0


@pytest.mark.parametrize("shape", [(8, 9, 3), (2, 4, 9, 3), (4, 2, 1, 9, 3)], ids=str)
def test_fused_operator_takes_any_number_of_leading_axes(make, shape):
    q, k, v = (x.requires_grad_() for x in make(4, shape, shape, shape))
    wide = torch.stack([q.detach(), q.detach()], -1)[..., 0].requires_grad_()  # stride 2 along the width
    for query in (q, wide):
        found = [
            torch.autograd.grad(attention(query, k, v, mask="causal", path=path).sin().sum(), (query, k, v))
            for path in ("sdpa", "reference")
        ]
        assert all(near(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_a_lane_computes_does_not_depend_on_the_width_of_the_vector(make, dtype, monkeypatch, needs_c):
    q, k, v = (x.requires_grad_() for x in make(5, (21, 7, 3), (21, 7, 3), (21, 7, 5), dtype=dtype))

    def run():
        o = attention(q, k, v, mask="causal", path="c")
        return [o, *torch.autograd.grad(o.sin().sum(), (q, k, v))]

    wide = run()
    n_wide, plain = cpu.n_lanes(cpu.library(0, dtype, 3, 5, 1)), compiler.load
    cpu.library.cache_clear()
    monkeypatch.setattr(compiler, "load", lambda *source, **macros: plain(*source, **{**macros, "NARROW": 1}))
    try:
        narrow = run()
        n_narrow = cpu.n_lanes(cpu.library(0, dtype, 3, 5, 1))
    finally:
        cpu.library.cache_clear()
    assert n_narrow == (8 if dtype == torch.float32 else 4) and n_wide in (n_narrow, 2 * n_narrow)
    assert all(torch.equal(a, b) for a, b in zip(wide, narrow, strict=True))
