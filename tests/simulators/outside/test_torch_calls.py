"""Torch modules as instruments read them: patterns are eager weights, edits reach the output, what cannot be read is refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attnlab.analysis.instruments.inspection import Subject, inspect
from attnlab.analysis.instruments.readings import Readings
from attnlab.simulators.outside.sink_sites import sites_of_model
from attnlab.simulators.outside.torch_calls import TorchModel

VOCABULARY, DIM, HEADS, KV = 11, 12, 4, 2


class Block(nn.Module):
    """Causal attention with grouped keys; ``way`` is how it is computed."""

    def __init__(self, way="sdpa"):
        super().__init__()
        self.way, width = way, DIM // HEADS
        self.q, self.k, self.v = nn.Linear(DIM, DIM), nn.Linear(DIM, KV * width), nn.Linear(DIM, KV * width)
        self.o = nn.Linear(DIM, DIM)

    def split(self, x, n):
        return x.view(*x.shape[:2], n, -1).transpose(1, 2)

    def forward(self, x, mask=None):
        q, k, v = self.split(self.q(x), HEADS), self.split(self.k(x), KV), self.split(self.v(x), KV)
        if self.way == "decode":
            z = F.scaled_dot_product_attention(q[:, :, -1:], k, v, enable_gqa=True).expand_as(q)
        elif self.way in ("sdpa", "dropout"):
            given = {"attn_mask": mask} if mask is not None else {"is_causal": True}
            z = F.scaled_dot_product_attention(
                q, k, v, enable_gqa=True, dropout_p=0.1 * (self.way == "dropout"), **given
            )
        else:
            k, v = (y.repeat_interleave(HEADS // KV, 1) for y in (k, v))
            s = q @ k.mT / q.shape[-1] ** 0.5
            n = x.shape[1]
            seen = torch.ones(n, n, dtype=torch.bool).tril() if mask is None else mask
            self.weights = torch.softmax(s.masked_fill(~seen, -torch.inf), -1).nan_to_num(0.0)
            z = self.weights @ v
        self.z = z
        return x + self.o(z.transpose(1, 2).reshape(x.shape))


class Model(nn.Module):
    def __init__(self, way="sdpa", seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(VOCABULARY, DIM)
        self.blocks = nn.ModuleList(Block(way) for _ in range(2))
        self.out = nn.Linear(DIM, VOCABULARY)

    def forward(self, tokens, mask=None):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, mask)
        return self.out(x)


def pair(dtype=torch.float32, **given):
    """The same weights by sdpa and by hand."""
    with torch.random.fork_rng():
        fast, slow = Model(**given).to(dtype).eval(), Model("eager", **given).to(dtype).eval()
    return fast, slow


TOKENS = torch.arange(24).reshape(3, 8) * 7 % VOCABULARY


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_patterns_of_grouped_heads_are_the_eager_weights(dtype):
    fast, slow = pair(dtype)
    with torch.no_grad():
        want = slow(TOKENS)
    found = TorchModel(fast)(TOKENS, ("L0.pattern", "L1.pattern", "L1.z", "L1.H3.z", "L0.k", "logits"))
    for layer, block in enumerate(slow.blocks):
        assert np.abs(found[f"L{layer}.pattern"] - block.weights.numpy()).max() < 1e3 * torch.finfo(dtype).eps
    assert np.abs(found["logits"] - want.numpy()).max() < 1e3 * torch.finfo(dtype).eps
    assert (found["L1.H3.z"] == found["L1.z"][:, 3]).all() and found["L0.k"].shape[1] == KV


@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize("left", [0, 2])
def test_padding_masks_are_read(left, additive):
    fast, slow = pair()
    real = torch.ones(3, 8, dtype=torch.bool)
    real[1, :left] = False
    seen = torch.ones(8, 8, dtype=torch.bool).tril() & real[:, None, None, :]
    given = torch.where(seen, 0.0, torch.finfo(torch.float32).min) if additive else seen
    with torch.no_grad():
        slow(TOKENS, seen)
    model = TorchModel(lambda tokens: fast(tokens, given))
    found = model(TOKENS, ("L0.pattern", "L1.pattern", "L0.v", "L0.z", "L1.v", "L1.z", "logits"))
    for layer, block in enumerate(slow.blocks):
        wanted = block.weights.numpy()
        assert (
            np.abs((found[f"L{layer}.pattern"] - wanted)[np.broadcast_to(real[:, None].numpy(), (3, HEADS, 8))]).max()
            < 1e-5
        )
    assert (np.broadcast_to(model.visible(TOKENS), (3, 1, 8, 8)) == seen.numpy()).all()
    record, _ = inspect(Subject("tiny", Readings(found, real.numpy(), model.visible(TOKENS)), {}, model, TOKENS))
    assert "stopped" not in record and len(record["heads"]) == 8


def test_replacing_z_by_itself_changes_nothing_and_zero_is_a_head_taken_out():
    fast, slow = pair(torch.float64)
    model = TorchModel(fast)
    whole = model(TOKENS, ("L0.z", "L1.z", "logits"))
    same = model(TOKENS, ("logits",), {"L0.z": whole["L0.z"], "L1.H2.z": lambda z: z})["logits"]
    assert (same == whole["logits"]).all()
    without = model(TOKENS, ("logits", "L1.z"), {"L1.H2.z": np.zeros_like(whole["L1.z"][:, 2])})
    width = DIM // HEADS
    with torch.no_grad():  # the same by weights: the columns of W_O that read this head are zero
        slow.blocks[1].o.weight[:, 2 * width : 3 * width] = 0
        wanted = slow(TOKENS).numpy()
    assert np.abs(without["logits"] - wanted).max() < 1e-12 and (without["L1.z"][:, 2] == 0).all()
    assert (model(TOKENS, ("logits",))["logits"] == whole["logits"]).all(), "an edit stayed behind"


def test_a_transformer_encoder_of_torch_is_read_with_its_padding_and_gives_the_same_output():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layer = nn.TransformerEncoderLayer(DIM, HEADS, 24, batch_first=True)
        encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
        x = torch.randn(3, 8, DIM)
    hidden = torch.zeros(3, 8, dtype=torch.bool)
    hidden[1, 6:] = True
    with torch.no_grad():
        want = encoder(x, src_key_padding_mask=hidden)
    model = TorchModel(lambda x: encoder(x, src_key_padding_mask=hidden))
    found = model(x, ("L0.pattern", "L1.pattern", "logits"))
    kept = ~hidden.numpy()
    assert np.abs((found["logits"] - want.numpy())[kept]).max() < 1e-5
    with torch.no_grad():
        _, weights = encoder.layers[0].self_attn(x, x, x, key_padding_mask=hidden, average_attn_weights=False)
    assert np.abs(found["L0.pattern"] - weights.numpy()).max() < 1e-6
    assert (found["L0.pattern"][1, :, :, 6:] == 0).all()


@pytest.mark.parametrize("average", [True, False])
def test_weights_that_the_model_asks_for_are_those_it_would_get(average):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        attention, x = nn.MultiheadAttention(DIM, HEADS, batch_first=True).eval(), torch.randn(2, 5, DIM)
    with torch.no_grad():
        _, want = attention(x, x, x, average_attn_weights=average)
    got = []

    def forward(x):
        out, weights = attention(x, x, x, average_attn_weights=average)
        got.append(weights)
        return out

    TorchModel(forward)(x, ("logits",))
    assert got[0].shape == want.shape and (got[0] - want).abs().max() < 1e-6


def test_half_precision_is_read_in_float32():
    fast, _ = pair(torch.bfloat16)
    found = TorchModel(fast)(TOKENS, ("L0.pattern",))["L0.pattern"]
    assert found.dtype == np.float32 and np.abs(found.sum(-1) - 1).max() < 1e-6


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TorchModel(Model("eager").eval())(TOKENS, ("logits",)), "no call of scaled_dot_product_attention"),
        (lambda: TorchModel(Model("dropout").eval())(TOKENS, ("logits",)), r"dropout_p=0\.1"),
        (lambda: TorchModel(Model("decode").eval())(TOKENS, ("logits",)), "whole sequences"),
        (lambda: TorchModel(Model()), "training mode"),
        (lambda: TorchModel(type("Compiled", (), {"_orig_mod": None})()), "torch.compile"),
        (lambda: TorchModel(Model().eval())(TOKENS, ("L2.z",)), "2 attention calls"),
        (lambda: TorchModel(Model().eval())(TOKENS, ("L0.patern",)), r"did you mean 'L0\.pattern'"),
        (lambda: TorchModel(Model().eval())(TOKENS, (), {"L0.pattern": np.zeros(1)}), "only z can be replaced"),
        (lambda: TorchModel(Model().eval())(TOKENS, (), {"L5.z": np.zeros(1)}), "no L5"),
        (lambda: TorchModel(Model().eval())(TOKENS, (), {"L0.z": np.zeros(3)}), "has shape"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(make, words):
    with torch.random.fork_rng(), pytest.raises(ValueError, match=words):
        make()


def test_weights_that_are_not_those_of_the_arguments_are_refused():
    from attnlab.simulators.outside.torch_calls import Call

    q = torch.randn(1, 2, 4, 3, generator=torch.Generator().manual_seed(3))
    z = F.scaled_dot_product_attention(q, q, q)
    assert Call(q, q, q, None, 3**-0.5, z).weights().shape == (1, 2, 4, 4)
    capped = torch.softmax(torch.tanh(q @ q.mT * 3**-0.5), -1) @ q
    for wrong in (capped, z * 0.9):
        with pytest.raises(ValueError, match="softcap, sinks or a bias"):
            Call(q, q, q, None, 3**-0.5, wrong).weights()


def test_layers_of_different_masks_have_no_common_mask():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        x = torch.randn(1, 2, 5, 3)

    def forward(x):
        y = F.scaled_dot_product_attention(x, x, x, is_causal=True)
        return F.scaled_dot_product_attention(y, y, y).transpose(1, 2).flatten(2)

    with pytest.raises(ValueError, match="different masks"):
        TorchModel(forward).visible(x)


def test_nothing_is_left_behind_in_torch_also_after_an_error():
    before = F.scaled_dot_product_attention
    with torch.random.fork_rng():
        attention, x = nn.MultiheadAttention(DIM, HEADS, batch_first=True).eval(), torch.randn(2, 5, DIM)
    with pytest.raises(ValueError, match="whole sequences"):
        TorchModel(lambda x: attention(x, x[:, :3], x[:, :3])[0])(x, ("logits",))
    assert F.scaled_dot_product_attention is before


def test_a_part_that_went_back_to_training_is_refused_at_the_next_run():
    layer = nn.TransformerEncoderLayer(12, 4, 24, dropout=0.1, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    run = TorchModel(model)
    x = torch.randn(2, 6, 12)
    assert run(x, ("L0.pattern",))["L0.pattern"].shape == (2, 4, 6, 6)
    model.layers[1].dropout2.train()  # dropout of what is added, which no attention call shows
    with pytest.raises(ValueError, match=r"layers\.1\.dropout2 drops \(p=0\.1\)"):
        run(x, ("L0.pattern",))
    model.train()
    with pytest.raises(ValueError, match="training mode"):
        run(x, ("L0.pattern",))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_modules_in_half_precision_are_read_in_float32_with_and_without_maps(dtype):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(32, 4, batch_first=True).eval().to(dtype)
    run = TorchModel(lambda x: attention(x, x, x, need_weights=False)[0])
    x = torch.randn(3, 16, 32).to(dtype)
    a = run(x, ("L0.pattern",))["L0.pattern"]
    assert a.dtype == np.float32 and np.abs(a.sum(-1) - 1).max() < 1e-5
    assert np.abs(sites_of_model(run, x)["L0.received"] - a.sum(2)).max() < 1e-5


def test_activations_that_are_not_finite_are_refused():
    attention = nn.MultiheadAttention(12, 4, batch_first=True).eval()
    run = TorchModel(lambda x: attention(x, x, x, need_weights=False)[0])
    x = torch.randn(2, 6, 12)
    x[1, 2, 3] = float("nan")
    found = run(x, ("L0.pattern",))
    assert np.isfinite(found["L0.pattern"][0]).all() and np.isnan(found["L0.pattern"][1]).any()
    with pytest.raises(ValueError, match=r"L0\.pattern' is nan at prompt 1.*diverged"):
        Readings(found, visible=np.ones((1, 1, 6, 6), bool))
    with pytest.raises(ValueError, match="A v differs from the head outputs by nan"):
        sites_of_model(run, x)
