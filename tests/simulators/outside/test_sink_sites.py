"""What keys receive, from queries and keys on the fused path: the numbers of the maps, without a map."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from attnlab.analysis.instruments.readings import REDUCED, Readings
from attnlab.analysis.instruments.sinks import hidden_sinks, sink_strength
from attnlab.simulators.outside import sink_sites as module
from attnlab.simulators.outside.sink_sites import KINDS, sink_sites, sites_of_arrays, sites_of_model
from attnlab.simulators.outside.torch_calls import Call, TorchModel

EXACT = 1e-12  # float64, rows of 40 keys: some hundred roundings of numbers of size 1 to 4


def drawn(batch=3, heads=4, kv_heads=2, tokens=40, dim=8, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((batch, h, tokens, dim)) for h in (heads, kv_heads, kv_heads))


def softmax(scores, seen):
    """The oracle: plain weights in numpy, zero rows where nothing is seen."""
    s = np.where(seen, scores, -np.inf)
    e = np.exp(s - np.where(seen.any(-1, keepdims=True), s.max(-1, keepdims=True), 0.0))
    return e / np.maximum(e.sum(-1, keepdims=True), 1e-300)


def by_maps(q, k, seen, scale=None):
    """Readings of layer 0 by way of whole maps."""
    k = np.repeat(k, q.shape[1] // k.shape[1], 1)
    s = q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    s, seen = np.broadcast_arrays(s, seen)
    return {"L0.pattern": softmax(s, seen), "L0.scores": np.where(seen, s, -np.inf)}


@pytest.mark.parametrize("side", [None, "left", "right", "both"])
@pytest.mark.parametrize("causal", [True, False])
def test_instruments_read_the_same_with_and_without_maps(side, causal):
    q, k, _ = drawn()
    k[:, :, 0] *= 2.0
    real = None
    if side is not None:
        real = np.ones((3, 40), dtype=bool)
        real[1, : 7 * (side in ("left", "both"))] = False
        real[1, 40 - 5 * (side in ("right", "both")) :] = False
        real[2, : 3 * (side == "left")] = False
    shape = np.tri(40, dtype=bool) if causal else np.ones((40, 40), dtype=bool)
    seen = shape[None, None] & (True if real is None else real[:, None, None, :])
    whole = Readings(by_maps(q, k, seen), real=real, visible=np.broadcast_to(seen, (3, 1, 40, 40)))
    made = sites_of_arrays({"L0.q": q, "L0.k": k}, causal=causal, real=real)
    assert set(made) == {f"L0.{kind}" for kind in KINDS} and REDUCED == KINDS
    few = Readings(made, real=real, visible=whole.visible)
    for measure in (sink_strength.measure, hidden_sinks.measure):
        want, got = measure(whole), measure(few)
        assert want.keys() == got.keys()
        for name in want:
            assert np.abs(want[name].value - got[name].value).max() <= EXACT, name
            if want[name].p is not None:
                assert np.abs(want[name].p - got[name].p).max() <= 1e-9
    kept = np.ones((3, 40), dtype=bool) if real is None else real
    received = (whole.sites["L0.pattern"] * kept[:, None, :, None]).sum(2)
    assert np.abs(made["L0.received"] - received * kept[:, None]).max() <= EXACT
    if real is not None:  # the twin: padded queries counted
        careless = sites_of_arrays({"L0.q": q, "L0.k": k}, causal=causal)["L0.received"]
        assert np.abs(careless - received)[:, :, kept[1]].max() > 1e-3


def test_rows_are_those_that_the_instrument_takes():
    assert module.LATE == sink_strength.ROWS == hidden_sinks.ROWS


def test_chunks_and_the_fused_path_agree_and_a_visible_set_of_its_own_is_read():
    q, k, v = (torch.as_tensor(x) for x in drawn(2, 2, 1, 300))
    rng = np.random.default_rng(1)
    own = rng.random((2, 1, 300, 300)) < 0.3
    own[:, :, 5] = False  # a row that sees nothing
    for mask, causal in ((None, True), (None, False), (torch.as_tensor(own), False)):
        shape = np.tri(300, dtype=bool) if causal else np.ones((300, 300), bool)
        seen = shape[None, None] if mask is None else own
        a = by_maps(q.numpy(), k.numpy(), np.broadcast_to(seen, (2, 2, 300, 300)), 0.5)["L0.pattern"]
        z = torch.as_tensor(a @ np.repeat(v.numpy(), 2, 1))
        call = Call(q, k, v, mask, 0.5, z, causal=causal)
        fused, chunks = sink_sites(call, fused=True), sink_sites(call, fused=False)
        for name in KINDS:
            assert np.abs(fused[name] - chunks[name]).max() <= 1e-11, name  # sums of 300 weights
        assert np.abs(fused["received"] - a.sum(2)).max() <= 1e-11
        assert np.abs(fused["first_weight"] - a[..., 0]).max() <= EXACT


def test_learned_sinks_are_fused_and_capped_or_biased_scores_read_in_chunks():
    q, k, v = (torch.as_tensor(x) for x in drawn(2, 4, 2, 20, 8))
    sinks = torch.tensor([0.5, 1.0, -1.0, 2.0], dtype=torch.float64)
    for given in ({"sinks": sinks}, {"softcap": 0.7}, {"mask": torch.randn(1, 4, 20, 20, dtype=torch.float64)}):
        given = {"mask": None, "causal": "mask" not in given, **given}
        call = Call(q, k, v, given["mask"], 0.5, None, given.get("softcap"), given.get("sinks"), given["causal"])
        a = call.weights_of()
        call = Call(q, k, v, call.mask, 0.5, a @ call.per_head(v), call.softcap, call.sinks, call.causal)
        found = sink_sites(call)
        assert np.abs(found["received"] - a.sum(2).numpy()).max() <= EXACT
        assert np.abs(found["first_weight"] - a[..., 0].numpy()).max() <= EXACT
        if call.sinks is None:
            with pytest.raises(ValueError, match="no fused path"):
                sink_sites(call, fused=True)
        wrong = Call(q, k, v, call.mask, 0.5, 1.001 * call.z, call.softcap, call.sinks, call.causal)
        with pytest.raises(ValueError, match="A v differs from the head outputs"):
            sink_sites(wrong)


class Largest(TorchDispatchMode):
    """The largest tensor that any operation makes."""

    size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.size = max([self.size, *(x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor))])
        return out


def test_no_map_of_a_head_is_made():
    tokens = 256
    q, k, v = (torch.as_tensor(x, dtype=torch.float32) for x in drawn(2, 4, 4, tokens))
    z = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    call = Call(q, k, v, None, 8**-0.5, z, causal=True)
    with Largest() as fused:
        sink_sites(call)
    with Largest() as whole:
        call.weights()
    assert fused.size <= tokens**2 and whole.size == 2 * 4 * tokens**2


def test_a_module_is_read_and_keeps_its_maps_to_itself():
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(32, 4, batch_first=True).eval()
    model = TorchModel(lambda x: attention(x, x, x, need_weights=False)[0])
    x = torch.randn(3, 16, 32)
    a = model(x, ("L0.pattern",))["L0.pattern"]
    found = sites_of_model(model, x)
    assert np.abs(found["L0.received"] - a.sum(2)).max() < 1e-5 and found["L0.received"].dtype == np.float32
    padded = np.ones((3, 16), dtype=bool)
    padded[0, 12:] = False
    with pytest.raises(ValueError, match="A v differs"):  # the module was told of no padding and looked at it
        sites_of_model(model, x, padded)
    hidden = TorchModel(lambda x: attention(x, x, x, key_padding_mask=torch.as_tensor(~padded), need_weights=False)[0])
    inside = sites_of_model(hidden, x, padded)["L0.received"]
    assert (inside[0, :, 12:] == 0).all() and np.abs(inside[1:] - found["L0.received"][1:]).max() < 1e-5
    assert np.abs(inside[0].sum(-1) - 12).max() < 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"L0.k": None}, r"queries L0\.q and no keys L0\.k"),
        ({"L0.q": np.zeros((1, 2, 8, 4), int)}, "must be a float array"),
        ({"L0.q": np.full((1, 2, 8, 4), np.nan)}, "not finite"),
        ({"L0.k": np.zeros((1, 3, 8, 4))}, "key heads that divide"),
        ({"L0.q": np.zeros((1, 2, 3, 4)), "L0.k": np.zeros((1, 2, 3, 4))}, "has 3 real tokens; at least 4"),
    ],
)
def test_arrays_that_cannot_be_read_are_refused(change, message):
    good = {"L0.q": np.zeros((1, 2, 8, 4)), "L0.k": np.zeros((1, 2, 8, 4))}
    given = {name: array for name, array in {**good, **change}.items() if array is not None}
    with pytest.raises(ValueError, match=message):
        sites_of_arrays(given)


def test_padding_that_is_no_padding_is_refused():
    good = {"L0.q": np.zeros((1, 2, 8, 4)), "L0.k": np.zeros((1, 2, 8, 4))}
    with pytest.raises(ValueError, match="padding between its tokens"):
        sites_of_arrays(good, real=np.array([[1, 1, 1, 0, 1, 1, 1, 1]], bool))
    with pytest.raises(ValueError, match="real tokens"):
        sites_of_arrays(good, real=np.zeros((1, 8), bool))
    with pytest.raises(ValueError, match=r"no site 'L0\.q'"):
        sites_of_arrays({"q": good["L0.q"]})


def test_strided_arrays_of_another_order_are_read_alike():
    q, k, _ = drawn()
    turned = {"L0.q": np.asfortranarray(q), "L0.k": k[:, :, ::-1].copy()[:, :, ::-1]}
    plain, other = sites_of_arrays({"L0.q": q, "L0.k": k}), sites_of_arrays(turned)
    assert all((plain[name] == other[name]).all() for name in plain)
