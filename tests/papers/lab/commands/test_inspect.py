"""``attnlab inspect`` on planted models, files and functions."""

import json
import sys

import numpy as np
import pytest

from attnlab.papers.lab.commands import cli
from attnlab.simulators.planted.planted import planted_model

MODULE = """
from attnlab.simulators.planted.planted import planted_model
import numpy as np

def model():
    made = planted_model("sinks")
    prompts = made.draw(np.random.default_rng(0), 6)
    return made.model.run, prompts.tokens, {"tokens": prompts.tokens}

def module():
    import torch
    from torch import nn
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(12, 4, 24, batch_first=True)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(12, 9)).eval()
    return model, torch.randn(6, 10, 12)

def wrong():
    return 3
"""


def test_every_instrument_that_fits_says_a_line(capsys):
    assert cli.main(["inspect", "planted.uniform", "--prompts", "4", "--instruments", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["instruments"]
    assert "nats" in said["sinks/sink_strength"] and said["maps/induction_score"].startswith("refused: ")
    assert cli.main(["inspect", "planted.uniform", "--prompts", "4", "--instruments"]) == 0
    assert "\n  sinks/removal " in capsys.readouterr().out


@pytest.mark.slow
def test_a_planted_model_in_the_terminal_as_json_and_as_a_page(tmp_path, capsys):
    out = tmp_path / "page.html"
    assert cli.main(["inspect", "planted.sinks", "--prompts", "8", "--heads", "L1", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "sink: L0H1, L1H2, L1H3" in text and "components make the logits" in text
    assert "\nL1H2 " in text and "\nL0H1 " not in text and f"page {out}" in text
    assert out.read_text().startswith("<!doctype html>") and "could not have shown" in text
    assert cli.main(["inspect", "planted.sinks", "--prompts", "8", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["found"]["sink"] == ["L0H1", "L1H2", "L1H3"] and len(record["heads"]) == 8


def test_a_file_of_arrays_and_one_whose_identity_fails(tmp_path, capsys):
    made = planted_model("induction")
    prompts = made.draw(np.random.default_rng(0), 8)
    arrays = made.model.run(prompts.tokens, ("L0.pattern", "L1.pattern", "L1.v", "L1.z", "L0.v", "L0.z"))
    np.savez(tmp_path / "good.npz", tokens=prompts.tokens, periods=prompts.periods, **arrays)
    assert cli.main(["inspect", str(tmp_path / "good.npz")]) == 0
    text = capsys.readouterr().out
    assert "previous: L0H0; induction: L1H0, L1H1" in text and "cause: not asked" in text
    np.savez(tmp_path / "bad.npz", **{**arrays, "L1.z": 2 * arrays["L1.z"]})
    assert cli.main(["inspect", str(tmp_path / "bad.npz")]) == 1
    assert "FAILS  A v = z" in capsys.readouterr().out


def test_a_function_of_a_module_in_this_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine_to_inspect.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["inspect", "mine_to_inspect:model"]) == 0
    assert "sink: L0H1, L1H2, L1H3" in capsys.readouterr().out and str(tmp_path) not in sys.path
    assert cli.main(["inspect", "mine_to_inspect:module"]) == 0
    text = capsys.readouterr().out
    assert "4 in each of 2 layers" in text and "holds  A v = z" in text and "without it" in text and "as given" in text
    assert cli.main(["inspect", "mine_to_inspect:wrong"]) == 2
    assert "must return (model, inputs)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["planted.sink"], "did you mean 'sinks'"),
        (["nothing"], "no FILE.npz, planted.NAME, FOLDER"),
        (["nothing.npz"], "no file nothing.npz"),
        (["no_module:f"], "cannot call no_module:f"),
        (["planted.sinks", "--prompts", "1"], "1 prompt has no interval"),
        (["planted.sinks", "--heads", "L7"], "no head 'L7'"),
        (["planted.sinks", "--alpha", "2"], "alpha must lie in (0, 1)"),
        (["planted.sinks", "--open"], "--out PAGE.html"),
    ],
)
def test_what_cannot_be_inspected_is_a_usage_error(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["inspect", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_file_with_pickled_objects_is_refused(tmp_path, capsys):
    np.savez(tmp_path / "objects.npz", pattern=np.array([{"a": 1}], dtype=object))
    assert cli.main(["inspect", str(tmp_path / "objects.npz")]) == 2
    assert "without pickle" in capsys.readouterr().err


def test_the_folder_of_a_saved_model(tmp_path, capsys):
    transformers = pytest.importorskip("transformers", reason='needs transformers: pip install "attnlab[models]"')
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=4, n_positions=40, bos_token_id=0)
        transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "tiny")
    capsys.readouterr()
    assert cli.main(["inspect", str(tmp_path / "tiny"), "--prompts", "6"]) == 0
    text = capsys.readouterr().out
    assert "GPT2LMHeadModel" in text and "16 in each" not in text and "token 0" in text and "holds  A v = z" in text
    assert "no head is of a kind asked for" in text  # nothing was learnt
    assert cli.main(["inspect", str(tmp_path)]) == 2
    assert "no config.json" in capsys.readouterr().err
