"""The residual stream of tiny models of transformers: sums that are exact, where the norms stand before and after."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.analysis.instruments.circuits import component_sums
from attnlab.analysis.instruments.inspection import Subject, identities
from attnlab.analysis.instruments.readings import Readings
from attnlab.analysis.instruments.sinks import massive_activations, sink_levels

pytest.importorskip("transformers", reason='needs transformers: pip install "attnlab[models]"')

from attnlab.simulators.outside import streams
from attnlab.simulators.outside.transformers_model import TransformersModel

from .test_transformers_model import inputs_of, made

ROUNDING = 2e-6  # relative, float32: sums of 20 numbers of one size


def recorded(name, side=None, **given):
    model, inputs = TransformersModel(made(name)), inputs_of(name, side)
    kinds = model.streams()
    return model, inputs, kinds, model(inputs, [f"L{layer}.{kind}" for layer in (0, 1) for kind in kinds], **given)


def off(x, y):
    return np.abs(x - y).max() / np.abs(y).max()


@pytest.mark.parametrize("side", [None, "left", "right"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "gpt_oss"])
def test_norms_before_leave_a_sum_of_parts(name, side):
    model, inputs, kinds, found = recorded(name, side)
    assert not set(kinds) & set(streams.SUMS) and ("bias" in kinds) == (name != "llama")
    for layer in ("L0", "L1"):
        total = found[f"{layer}.pre"] + found[f"{layer}.heads"].sum(1) + found[f"{layer}.mlp"]
        total = total + found.get(f"{layer}.bias", 0.0)
        assert off(total, found[f"{layer}.post"]) < ROUNDING
    assert (found["L0.post"] == found["L1.pre"]).all()
    real = inputs["attention_mask"].bool().numpy()
    with torch.no_grad():
        extra = {"position_ids": (inputs["attention_mask"].cumsum(-1) - 1).clamp_min(0)} if side else {}
        states = model.model(**inputs, **extra, output_hidden_states=True).hidden_states
    assert np.abs(found["L1.pre"] - states[1].numpy())[real].max() < 1e-5
    with pytest.raises(ValueError, match="norms of this layer come before"):
        model(inputs, ("L0.mlp_sum",))


@pytest.mark.parametrize("side", [None, "left", "right"])
def test_norms_after_leave_the_sums_before_each_norm_and_no_more(side):
    model, inputs, kinds, found = recorded("bert", side)
    assert set(kinds) == set(streams.KINDS)
    extra = {"position_ids": (inputs["attention_mask"].cumsum(-1) - 1).clamp_min(0)} if side else {}
    with torch.no_grad():
        states = model.model(**inputs, **extra, output_hidden_states=True).hidden_states
    for number, layer in enumerate(("L0", "L1")):
        part = {kind: found[f"{layer}.{kind}"] for kind in kinds}
        assert off(part["pre"] + part["heads"].sum(1) + part["bias"], part["attention_sum"]) < ROUNDING
        assert off(part["mid"] + part["mlp"], part["mlp_sum"]) < ROUNDING
        assert np.abs(part["pre"] - states[number].numpy()).max() < 1e-5
        assert np.abs(part["post"] - states[number + 1].numpy()).max() < 1e-5
        block = model.model.bert.encoder.layer[number]
        for norm, before, after in (
            (block.attention.output.LayerNorm, "attention_sum", "mid"),
            (block.output.LayerNorm, "mlp_sum", "post"),
        ):
            x = part[before].astype(np.float64)
            x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + norm.eps)
            want = x * norm.weight.detach().numpy() + norm.bias.detach().numpy()
            assert off(part[after], want) < 1e-5
        as_if_before = part["pre"] + part["heads"].sum(1) + part["bias"] + part["mlp"]
        assert off(as_if_before, part["post"]) > 0.05, "the twin: the sum of a layer whose norms come before"


def test_instruments_read_the_stream_of_an_encoder_and_refuse_what_it_does_not_define():
    model, inputs, _, found = recorded("bert", "left")
    more = model(inputs, ("L0.pattern", "L1.pattern"))
    real = inputs["attention_mask"].bool().numpy()
    readings = Readings({**found, **more}, real, model.visible(inputs))
    stream = component_sums.measure(readings)["stream"]
    assert (stream.value < 1e-6).all() and (stream.p == 1).all()
    assert {each["name"]: each["holds"] for each in identities(Subject("bert", readings))}["sums before the norms"]
    with pytest.raises(ValueError, match="each LayerNorm rescales"):
        component_sums.components(readings)
    for kind in ("attention_sum", "mlp_sum"):
        wrong = {**readings.sites, f"L1.{kind}": readings.sites[f"L1.{kind}"] * np.float32(1.001)}
        gaps = component_sums.measure(replace(readings, sites=wrong))["stream"]
        assert gaps.p[0] == 1 and gaps.p[1] == 0 and abs(gaps.value[1] - 1e-3) < 1e-5
    without = {name: array for name, array in readings.sites.items() if "_sum" not in name}
    assert (component_sums.measure(replace(readings, sites=without))["stream"].p == 0).all()
    assert np.isfinite(sink_levels.measure(readings)["cosine"].value).all()
    with pytest.raises(ValueError, match="below 32 coordinates"):  # of its own: the states are there
        massive_activations.measure(readings)


def test_a_head_that_is_taken_out_adds_nothing_to_the_stream():
    for name in ("bert", "llama"):
        model, inputs, kinds, found = recorded(name, replace={"L0.H1.z": np.zeros_like})
        assert (found["L0.heads"][:, 1] == 0).all() and np.abs(found["L0.heads"][:, 0]).max() > 0
        total = found["L0.pre"] + found["L0.heads"].sum(1) + found.get("L0.bias", 0.0)
        if name == "bert":
            assert off(total, found["L0.attention_sum"]) < ROUNDING
        one = model(inputs, ("L1.H2.heads",))["L1.H2.heads"]
        assert one.shape == found["L1.heads"][:, 2].shape
        with pytest.raises(ValueError, match=r"unknown site 'L0\.H1\.pre'"):
            model(inputs, ("L0.H1.pre",))
        assert kinds == model.streams()


@pytest.mark.parametrize("name", ["gemma2", "vit"])
def test_layers_of_other_parts_are_refused_by_name(name):
    model = TransformersModel(made(name))
    assert model.streams() == ()
    with pytest.raises(ValueError, match=r"residual stream of .* is not known"):
        model(inputs_of(name), ("L0.pre",))


def test_no_hook_stays_behind_even_after_an_exception():
    model, inputs = TransformersModel(made("bert")), inputs_of("bert")

    def fails(z):
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        model(inputs, ("L1.heads",), {"L0.z": fails})
    for module in model.model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
    assert model.model.config._attn_implementation == "eager"
    assert model(inputs, ("logits",))["logits"].shape[0] == 3
