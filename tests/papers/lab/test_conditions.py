"""Conditions of theorems: outside them a claim is VACUOUS, before anything is simulated."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from attnlab.analysis import Outcome, Twin, Verdict, agrees, bounded
from attnlab.papers.lab.conditions import DECLARED, at_least, at_most, not_yet, one_of, outside, that, too_few
from attnlab.papers.lab.declare import Paper, Scales, Source


@dataclass(frozen=True)
class Law:
    n_labels: int = 8


@dataclass(frozen=True)
class Toy:
    dim: int = 3
    keys: tuple = (1.0, 2.0)
    law: Law = Law()


def claimed(**how):
    paper = Paper("toy", "Toy", [Source("A", "T", 2020)], {1: "one"})
    paper.scales(smoke=Toy(), desk=Toy(dim=4), paper=Toy(dim=5))

    @paper.claim("c", source="s", statements=[1], **how)
    def c(setting, lab):
        """One is one."""
        return agrees([1.0, 1.0], 1.0, within=0.1, of="every replica", twin=Twin.of("two", predicted=2.0))

    return paper.claims["c"]


@pytest.mark.parametrize(
    ("covers", "setting"),
    [
        ({"dim": at_least(3)}, Toy(dim=2)),
        ({"dim": at_most(5, "sheet, table 1")}, Toy(dim=6)),
        ({"dim": DECLARED}, Toy(dim=9)),
        ({"keys": DECLARED}, Toy(keys=(2.0, 1.0))),
        ({"n_labels": one_of(8, 16)}, Toy(law=Law(7))),
        ({"keys": that(lambda keys: keys[0] < keys[1], "rising keys")}, Toy(keys=(2.0, 1.0))),
    ],
)
def test_values_that_a_prediction_does_not_cover_are_vacuous_with_the_reason(covers, setting):
    claim = claimed(covers=covers)
    for own in (claim.setting.smoke, claim.setting.desk, claim.setting.paper):
        assert claim.judge(own, None).outcome is Outcome.HOLDS
    verdict = claim.judge(setting, None)
    assert verdict.outcome is Outcome.VACUOUS and next(iter(covers)) in verdict.reason


def test_a_claim_must_cover_its_own_settings_and_name_their_fields():
    with pytest.raises(ValueError, match="does not cover its own setting"):
        claimed(covers={"dim": at_least(4)})
    with pytest.raises(ValueError, match="does not have"):
        claimed(covers={"width": at_least(4)})
    with pytest.raises(ValueError, match="does not have"):
        claimed(reads=["width"])


def test_the_kind_of_a_claim_is_copied_into_its_verdict():
    assert claimed().judge(Toy(), None).record()["kind"] == "published"
    assert claimed(kind="anchor").judge(Toy(), None).record()["kind"] == "anchor"
    with pytest.raises(ValueError, match="kind must be one of"):
        claimed(kind="fact")


def test_too_few_is_none_where_enough_meet_the_condition():
    assert too_few(np.array([True, True, False]), "have learnt") is None
    few = too_few(np.array([True, False, False]), "have learnt")
    assert few.outcome is Outcome.UNDECIDED and few.wants == "training" and "1 of 3 replicas have learnt" in few.reason
    assert too_few(np.array([True]), "are accepted", wants="replicas").more_replicas_may_decide
    assert not not_yet("too short").more_replicas_may_decide and outside("white").outcome is Outcome.VACUOUS


def test_a_claim_for_all_inputs_resolves_what_its_sharpest_input_leaves():
    claim = claimed()
    sharp = Verdict(Outcome.HOLDS, "for_all", tightness=0.97)
    object.__setattr__(claim, "function", lambda setting, lab: sharp)
    assert claim.judge(Toy(), None).resolves == pytest.approx(0.03)


def test_a_twin_that_another_setting_makes_the_claim_itself_is_vacuous_and_at_the_claims_own_an_error():
    def with_twin(judge):
        paper = Paper("toy", "Toy", [Source("A", "T", 2020)], {1: "one"})
        paper.scales(smoke=Toy(dim=4), desk=Toy(dim=4), paper=Toy(dim=5))

        @paper.claim("c", source="s", statements=[1])
        def c(setting, lab):
            """One is one."""
            return judge(setting.dim - 2.0)

        return paper.claims["c"]

    ones = np.ones(20)
    for judge in (
        lambda rival: agrees(ones, 1.0, within=0.1, of="every replica", twin=Twin.of("rival", predicted=rival)),
        lambda rival: bounded(ones, 1.0, side="below", of="every replica", twin=Twin.of("rival", bound=rival)),
    ):
        claim = with_twin(judge)
        assert claim.judge(Toy(dim=4), None).outcome is Outcome.HOLDS
        verdict = claim.judge(Toy(dim=3), None)
        assert verdict.outcome is Outcome.VACUOUS and "'rival'" in verdict.reason
        own = replace(claim, setting=Scales(Toy(dim=3), Toy(dim=4), Toy(dim=5)))
        with pytest.raises(ValueError, match="rival"):
            own.judge(Toy(dim=3), None)


def test_a_rival_that_another_setting_brings_too_near_is_vacuous_and_at_the_claims_own_invalid():
    claim = claimed()

    def near(setting, lab):
        rival = 1 + (setting.dim - 2.9) / 2
        return agrees(np.ones(20), 1.0, within=0.2, of="every replica", twin=Twin.of("rival", predicted=rival))

    far = replace(claim, function=near, setting=Scales(Toy(dim=4), Toy(dim=4), Toy(dim=5)))
    assert far.judge(Toy(dim=4), None).outcome is Outcome.HOLDS
    verdict = far.judge(Toy(dim=3), None)  # a rival at 1.05, within .2
    assert verdict.outcome is Outcome.VACUOUS and "rival" in verdict.reason
    assert replace(far, setting=Scales(Toy(dim=3), Toy(), Toy())).judge(Toy(dim=3), None).outcome is Outcome.INVALID
