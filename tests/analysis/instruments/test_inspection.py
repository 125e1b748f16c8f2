"""The record of an inspection: exactly the planted heads over many draws, identities that stop it, and the page."""

import re
from dataclasses import replace

import numpy as np
import pytest

from attnlab.analysis.instruments.inspection import KINDS, Subject, identities, inspect, zeroed
from attnlab.analysis.instruments.page import page, summary
from attnlab.analysis.instruments.readings import Readings, padded
from attnlab.analysis.statistics.intervals import clopper_pearson
from attnlab.simulators.planted.planted import planted_model


def subject(name, seed=0, n=16, run=True):
    made = planted_model(name)
    prompts = made.draw(np.random.default_rng(seed), n)
    recorded = made.model.run(prompts.tokens, made.model.sites())
    readings = Readings(recorded, tokens=prompts.tokens, periods=prompts.periods)
    return Subject(name, readings, {}, made.model.run if run else None, prompts.tokens, made.model.unembed), made


def planted(made):
    return {(kind, f"L{layer}H{head}") for kind, heads in made.heads.items() for layer, head in heads}


def found(record):
    return {(kind, head) for kind, heads in record["found"].items() for head in heads}


@pytest.mark.parametrize("name", ["induction", "sinks", "random_heads", "uniform"])
@pytest.mark.parametrize("draws", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_exactly_the_planted_heads_are_found_at_the_stated_error(name, draws):
    false = 0
    for seed in range(draws):
        here, made = subject(name, seed, 10, run=False)
        record, _ = inspect(here, alpha=0.05)
        assert planted(made) <= found(record), seed  # strengths of 2.5 nats and more, of which 2 take 4 prompts
        false += found(record) != planted(made)
    assert clopper_pearson(false, draws, 0.9999)[0] <= 0.05


def test_a_failed_identity_stops_everything_after_it():
    here, _ = subject("induction")
    z = here.readings.sites["L1.z"]
    off = replace(here, readings=replace(here.readings, sites={**here.readings.sites, "L1.z": z * (1 + 1e-6)}))
    record, readings = inspect(off)
    assert "A v = z" in record["stopped"] and readings == {} and "heads" not in record
    failed = next(each for each in record["identities"] if not each["holds"])
    assert failed["layer"] == "L1" and 5e-7 < failed["gap"] < 2e-6 and failed["budget"] == 1e-10
    assert "Stopped" in page(record, readings, off.readings, KINDS) and summary(record).startswith("stopped")
    assert all(each["holds"] for each in identities(replace(off, budget=1e-5)))  # a wider budget lets it pass


def test_a_head_that_nothing_reads_has_the_pattern_and_exactly_no_effect():
    here, made = subject("induction")
    effect = zeroed(here)
    acting = effect.value > 1e-12
    assert {tuple(map(int, at)) for at in np.argwhere(acting)} == set(made.acting)
    record, _ = inspect(here)
    rows = {row["head"]: row for row in record["heads"]}
    assert rows["L1H1"]["is"] == ["induction"] and not rows["L1H1"]["acts"] and rows["L1H0"]["acts"]


def test_arrays_alone_say_what_was_not_asked_and_padding_is_dropped():
    here, _ = subject("sinks", run=False)
    maps = {name: array for name, array in here.readings.sites.items() if name.endswith("pattern")}
    bare = Subject("arrays", Readings(maps))
    record, _ = inspect(bare)
    wide, _ = inspect(Subject("arrays", padded(bare.readings, 5, 0)))
    assert found(wide) == found(record) and wide["ran"]["padding"] == "left, dropped"
    said = " ".join(record["not_shown"])
    assert "induction: not asked" in said and "cause: not asked" in said and "sink: not found in 5 of 8" in said
    with pytest.raises(ValueError, match="1 prompt has no interval"):
        inspect(Subject("one", Readings({k: v[:1] for k, v in maps.items()})))
    with pytest.raises(ValueError, match="alpha"):
        inspect(bare, alpha=5)


@pytest.mark.slow
def test_the_page_is_one_file_that_asks_nothing_of_a_network():
    here, _ = subject("induction")
    record, readings = inspect(here)
    text = page(record, readings, here.readings, KINDS)
    assert not re.search(r"https?://|<script|<link|@import|src=\"(?!data:)", text)
    assert text.count("<h2>") == 5 and "induction (nothing reads it)" in text and "without it" in text
    few = page(record, readings, here.readings, KINDS, frozenset({"L0H0"}))
    assert "<td>L0H0</td>" in few and "<td>L0H1</td>" not in few


@pytest.mark.slow
def test_a_name_is_text_on_the_page_and_no_markup():
    here, _ = subject("uniform", n=4)
    record, readings = inspect(replace(here, name="<b>&x"))
    assert "<b>&x" not in page(record, readings, here.readings, KINDS)


def test_copies_of_a_prompt_are_refused():
    here, _ = subject("sinks", n=4, run=False)
    readings = here.readings
    tokens = readings.tokens.copy()
    tokens[3] = tokens[1]
    with pytest.raises(ValueError, match="prompt 3 is the same as prompt 1: a copy is no replication"):
        inspect(replace(here, readings=replace(readings, tokens=tokens)))
