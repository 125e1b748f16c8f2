"""Tiny models of transformers, randomly initialised: patterns are eager weights, on both paths, padded on both sides."""

import json

import numpy as np
import pytest
import torch

from attnlab.analysis.instruments.inspection import Subject, inspect
from attnlab.analysis.instruments.readings import Readings
from attnlab.analysis.instruments.sinks import sink_strength
from attnlab.simulators.outside.sink_sites import sites_of_model

transformers = pytest.importorskip("transformers", reason='needs transformers: pip install "attnlab[models]"')

from attnlab.simulators.outside.transformers_model import NAME, TransformersModel, saved_model  # noqa: E402

TEXT = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 20}
GROUPED = {**TEXT, "num_key_value_heads": 2, "head_dim": 4, "max_position_embeddings": 32}
CASES = {
    "gpt2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {"vocab_size": 30, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 32},
    ),
    "llama": ("LlamaForCausalLM", "LlamaConfig", GROUPED),
    "bert": ("BertForMaskedLM", "BertConfig", {**TEXT, "max_position_embeddings": 32}),
    "gemma2": (
        "Gemma2ForCausalLM",
        "Gemma2Config",
        {**GROUPED, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 4},
    ),
    "gpt_oss": ("GptOssForCausalLM", "GptOssConfig", {**GROUPED, "num_local_experts": 2, "num_experts_per_tok": 1}),
    "vit": (
        "ViTForImageClassification",
        "ViTConfig",
        {**{k: v for k, v in TEXT.items() if k != "vocab_size"}, "image_size": 8, "patch_size": 2, "num_channels": 1},
    ),
}
ONLY_EAGER = ("gemma2", "gpt_oss")  # the library's sdpa leaves cap and sinks out


def made(name, way="eager"):
    model, config, given = CASES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = getattr(transformers, model)._from_config(
            getattr(transformers, config)(**given, pad_token_id=0)
            if name != "vit"
            else getattr(transformers, config)(**given),
            attn_implementation=way,
        )
        for parameter in found.parameters():  # sharper heads than at the start, and sinks that matter
            if parameter.ndim < 3:
                torch.nn.init.normal_(parameter, std=0.3)
    return found.eval()


def inputs_of(name, side=None):
    if name == "vit":
        return {"pixel_values": torch.arange(3 * 64).reshape(3, 1, 8, 8) % 7 / 7.0}
    ids = torch.arange(3 * 9).reshape(3, 9) * 11 % 29 + 1
    real = torch.ones_like(ids)
    if side == "left":
        real[1, :3] = 0
    elif side == "right":
        real[1, -3:] = 0
    return {"input_ids": ids, "attention_mask": real}


def cases():
    for name in CASES:
        for way in ("eager",) if name in ONLY_EAGER else ("eager", "sdpa"):
            for side in (None,) if name == "vit" else (None, "left", "right"):
                yield pytest.param(name, way, side, id=f"{name}-{way}-{side}")


@pytest.mark.parametrize(("name", "way", "side"), [*cases()])
def test_patterns_are_the_eager_weights_and_the_output_is_the_same(name, way, side):
    given, model = inputs_of(name, side), TransformersModel(made(name, way))
    found = model(given, ("L0.pattern", "L1.pattern", "L1.z", "logits"))
    slow = made(name)
    real = given.get("attention_mask", torch.ones(3, found["L0.pattern"].shape[-1])).bool()
    extra = {"position_ids": (real.long().cumsum(-1) - 1).clamp_min(0)} if name != "vit" and side else {}
    with torch.no_grad():
        want = slow(**given, **extra, output_attentions=True)
        plain = model.model(**given, **extra).logits.numpy()
    assert (found["logits"] == plain).all(), "watching changed the output"
    kept = real.numpy()
    for layer in range(2):
        gap = np.abs(found[f"L{layer}.pattern"] - want.attentions[layer].numpy())
        assert gap.swapaxes(1, 2)[kept].max() < 1e-5
    same = model(given, ("logits",), {"L0.z": model(given, ("L0.z",))["L0.z"], "L1.H2.z": lambda z: z})["logits"]
    assert (same == found["logits"]).all()
    without = model(given, ("logits",), {"L1.H2.z": np.zeros_like})["logits"]
    assert np.abs(without - found["logits"]).max() > 1e-4
    assert model.model.config._attn_implementation == way
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    assert NAME not in ALL_ATTENTION_FUNCTIONS


def test_a_cap_and_sinks_that_the_fast_path_leaves_out_are_not_taken_for_plain_attention():
    from dataclasses import replace

    for name, field in (("gemma2", "softcap"), ("gpt_oss", "sinks")):
        model = TransformersModel(made(name))
        call = model._run(inputs_of(name), {})[1][0]
        assert getattr(call, field) is not None
        call.weights()
        with pytest.raises(ValueError, match="softcap, sinks or a bias"):
            replace(call, **{field: None}).weights()


def test_sinks_take_a_share_of_the_rows_and_the_readings_know_it():
    model, given = TransformersModel(made("gpt_oss")), inputs_of("gpt_oss")
    found = model(given, ("L0.pattern", "L1.pattern"))
    mass = model.mass(found)
    assert set(mass) == {"L0.pattern", "L1.pattern"} and (mass["L0.pattern"] < 1).all()
    with pytest.raises(ValueError, match="give mass="):
        Readings(found)
    Readings(found, mass=mass)


@pytest.mark.parametrize("name", ["llama", "bert", "gpt_oss", "gemma2"])
@pytest.mark.parametrize("side", [None, "left", "right"])
def test_sinks_are_read_alike_without_maps(name, side):
    model, given = TransformersModel(made(name)), inputs_of(name, side)
    real = given["attention_mask"].bool().numpy()
    found = model(given, ("L0.pattern", "L0.scores"))
    visible = model.visible(given)
    whole = Readings(found, real, visible, mass=model.mass(found))
    few = Readings({k: x for k, x in sites_of_model(model, given).items() if k[:2] == "L0"}, real, visible)
    want, got = sink_strength.measure(whole), sink_strength.measure(few)
    for reading in want:
        assert np.abs(want[reading].value - got[reading].value).max() < 1e-5, reading
    assert np.abs(want["strength"].p - got["strength"].p).max() < 1e-9


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_change_what_is_read_of_a_prompt(side):
    model = TransformersModel(made("gpt2"))
    given = inputs_of("gpt2", side)
    kept = given["attention_mask"][1].bool()
    alone = {"input_ids": given["input_ids"][1:2][:, kept]}
    whole = model(given, ("L1.pattern",))["L1.pattern"][1][:, kept][:, :, kept]
    assert np.abs(whole - model(alone, ("L1.pattern",))["L1.pattern"][0]).max() < 1e-6


def test_a_saved_folder_is_read_and_inspected(tmp_path):
    made("llama").save_pretrained(tmp_path / "tiny")
    model = saved_model(tmp_path / "tiny")
    given = inputs_of("llama", "left")
    found = model(given, ("L0.pattern", "L0.v", "L0.z", "L1.pattern", "L1.v", "L1.z", "logits"))
    readings = Readings(found, given["attention_mask"].bool().numpy(), model.visible(given))
    record, _ = inspect(Subject("tiny", readings, {}, model, given))
    assert "stopped" not in record and record["ran"]["padding"] == "left, dropped" and len(record["heads"]) == 8
    with pytest.raises(ValueError, match=r"no config\.json"):
        saved_model(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text(
        json.dumps({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]})
    )
    with pytest.raises(ValueError, match="from its safetensors"):
        saved_model(tmp_path / "empty")
