"""One item that fails costs nobody else a verdict; both looks spend the whole share; captions tell what was judged."""

import time
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from attnlab.analysis import ErrorLedger, LedgerError, Outcome, Twin, Verdict, agrees
from attnlab.papers.lab.declare import Paper, Source
from attnlab.papers.lab.errors import ItemError, UsageError
from attnlab.papers.lab.registry import Selection
from attnlab.papers.lab.run.display import Display
from attnlab.papers.lab.run.reproduce import Options, exit_status, judge_in_looks, reproduce
from attnlab.simulators.ensemble.setting import with_named_fields


@dataclass(frozen=True)
class Toy:
    dim: int = 3
    n_replicas: int = 8

    def __post_init__(self):
        if self.dim < 1:
            raise ValueError(f"dim must be at least 1, got {self.dim}")


@dataclass(frozen=True)
class Wide(Toy):
    def __post_init__(self):
        if self.dim < 3:
            raise ValueError(f"dim must be at least 3 here, got {self.dim}")


class Memory:
    """What a run asks of a store."""

    def __init__(self, folder):
        self.folder, self.kept = folder, {}

    def put_verdict(self, run, record):
        self.kept[record["id"]] = record

    def verdict_of(self, claim, scale, setting, seed, replicas):
        return self.kept.get(claim)

    def put_figure(self, *arguments):
        pass


@pytest.fixture
def bench(tmp_path):
    return SimpleNamespace(seed=0, store=Memory(tmp_path), display=Display(quiet=True), close=lambda now=False: None)


def toy_paper():
    paper = Paper("toy", "Toy", [Source("A", "T", 2020)], {1: "one"})
    own = paper.scales(smoke=Toy(), desk=Toy(), paper=Toy())
    wide = type(own)(Wide(), Wide(), Wide())

    def claim(name, setting=None):
        return paper.claim(name, source="s", statements=[1], setting=setting)

    @claim("fine")
    def fine(setting, lab):
        """One is one."""
        return agrees(np.ones(8), 1.0, within=0.1, of="every replica", twin=Twin.of("two", predicted=2.0))

    @claim("type")
    def type_(setting, lab):
        """A mistake in a paper's code."""
        return fine(setting) + 1

    @claim("value")
    def value(setting, lab):
        """A formula that does not cover the setting."""
        raise ValueError("n must be even")

    @claim("diverged")
    def diverged(setting, lab):
        """Nothing is left."""
        raise ItemError("every replica of toy diverged; lower the learning rate")

    @claim("wide", setting=wide)
    def wide_claim(setting, lab):
        """Only for dim >= 3."""
        return fine(setting, lab)

    @paper.figure("fig1", caption="No figure.")
    def fig1(setting, lab):
        raise KeyError("risk")

    return paper


class Said(Display):
    """A display that keeps what it says."""

    def __init__(self):
        super().__init__(quiet=True)
        self.lines_said = []

    def say(self, text):
        self.lines_said.append(text)


def run(bench, overrides=None, keep=lambda item: True):
    paper = toy_paper()
    claims, figures = (tuple(filter(keep, items.values())) for items in (paper.claims, paper.figures))
    return reproduce(Selection((paper,), claims, figures, frozenset()), Options("desk", overrides or {}), bench, 1)


def test_one_item_that_fails_is_named_with_its_reason_and_costs_nobody_else_a_verdict(bench):
    result = run(bench)
    words = {row["id"].split(".")[1]: (row["verdict"], row["reason"]) for row in result["claims"]}
    assert words["fine"][0] == words["wide"][0] == "HOLDS"
    assert words["type"][0] == words["value"][0] == words["diverged"][0] == "FAILED"
    assert "TypeError" in words["type"][1] and "test_reproduce.py" in words["type"][1]
    assert "n must be even" in words["value"][1] and "every replica of toy diverged" in words["diverged"][1]
    assert "KeyError" in result["figures"][0]["failed"] and result["figures"][0]["files"] == []
    assert exit_status(result["claims"], result["figures"]) == 3
    assert sorted(bench.store.kept) == ["toy.fine", "toy.wide"]  # a failure is no verdict and replaces none


def test_why_an_item_failed_is_said_by_the_results_and_where_there_are_none_at_their_end(bench):
    bench.display = Said()
    run(bench, keep=lambda item: item.name in ("fine", "value"))
    assert bench.display.lines_said == ["toy.value failed; the results say why"]
    bench.display = Said()

    def full(run, record):
        while not bench.display.lines_said:  # until the other claim has failed
            time.sleep(0.01)
        raise UsageError("the disk is full")

    bench.store.put_verdict = full
    with pytest.raises(UsageError, match="the disk is full"):
        run(bench, keep=lambda item: item.name in ("fine", "value"))
    short, whole = bench.display.lines_said
    assert short == "toy.value failed; the results say why" and whole.startswith(
        "toy.value failed: cannot be evaluated"
    )


def test_a_value_that_one_item_cannot_take_is_refused_by_that_item_alone_and_by_all_is_a_usage_error(bench):
    result = run(bench, {"dim": "2"}, keep=lambda item: item.name in ("fine", "wide"))
    assert [row["verdict"] for row in result["claims"]] == ["HOLDS", "FAILED"]
    assert "dim must be at least 3 here, got 2" in result["claims"][1]["reason"]
    with pytest.raises(UsageError, match="dim must be at least 1"):
        run(bench, {"dim": "0"}, keep=lambda item: item.name == "fine")


def test_a_field_that_a_setting_lacks_is_told_with_the_line_that_gave_it(bench):
    paper = toy_paper()
    kind = with_named_fields(Toy)

    @paper.claim("misspelt", source="s", statements=[1])
    def misspelt(setting, lab):
        """A slip of the pen."""
        return replace(kind(), dmi=4)

    result = reproduce(Selection((paper,), (paper.claims["misspelt"],), (), frozenset()), Options("desk"), bench, 1)
    (reason,) = (row["reason"] for row in result["claims"])
    assert "Toy has no field 'dmi'; did you mean 'dim'" in reason and "(test_reproduce.py:" in reason


def test_what_concerns_the_whole_run_still_ends_it(bench):
    def full(run, record):
        raise UsageError("the disk is full")

    bench.store.put_verdict = full
    with pytest.raises(UsageError, match="the disk is full"):
        run(bench)


def test_both_looks_together_spend_the_whole_share():
    paper, ledger, used = toy_paper(), ErrorLedger(0.01), SimpleNamespace(used={"sim"})
    noisy = Verdict(Outcome.UNDECIDED, "test", reason="wide", wants="replicas")
    drawn = []

    def looking(setting, lab):
        from attnlab.analysis.verdicts.ledger import draw

        drawn.append(draw("test"))
        return noisy

    claim = paper.claims["fine"]
    object.__setattr__(claim, "function", looking)
    assert judge_in_looks(claim, Toy(), lambda look: used, ledger, 0.002, Options()) == (noisy, 2)
    assert drawn == [0.001, 0.001] and ledger.spent == pytest.approx(0.002)


def test_the_last_of_a_known_number_of_looks_draws_what_the_others_left():
    for looks in (1, 2, 3, 5):
        ledger = ErrorLedger(0.01)
        for look in range(1, looks + 1):
            with ledger.claim("c", 0.01, look=look, looks=looks):
                agrees([1.0, 1.1], 1.0, within=3.0, twin=90.0)
        assert ledger.spent == pytest.approx(0.01)
    with pytest.raises(ValueError, match="is the last look"), ErrorLedger().claim("c", 0.001, look=3, looks=2):
        pass
    assert LedgerError  # overdrawing is tested with the ledger


def test_the_caption_of_a_figure_tells_the_verdicts_of_its_claims_and_what_they_resolve(bench):
    from attnlab.analysis.figures.curves import prediction
    from attnlab.analysis.figures.plate import Plate

    paper = toy_paper()

    @paper.figure("fig2", caption="A line over points.", claims=["fine"])
    def fig2(setting, lab):
        plate = Plate()
        prediction(plate[0], [0.0, 1.0], [0.0, 1.0], "theory")
        plate[0].labels(x="x", y="y")
        return plate

    chosen = Selection((paper,), (paper.claims["fine"],), (paper.figures["fig2"],), frozenset())
    caption = reproduce(chosen, Options("desk"), bench, 1)["figures"][0]["caption"]
    assert "Judged by fine: HOLDS, resolves 10 %" in caption


@pytest.mark.parametrize("error", [FileNotFoundError(2, "no such file", "data.csv"), SystemExit(0)])
def test_a_claim_that_lacks_a_file_or_ends_the_program_fails_alone(bench, error):
    paper = toy_paper()

    @paper.claim("bad", source="s", statements=[1])
    def bad(setting, lab):
        """It does not come to its end."""
        raise error

    chosen = Selection((paper,), (paper.claims["fine"], paper.claims["bad"]), (), frozenset())
    claims = reproduce(chosen, Options("desk"), bench, 1)["claims"]
    assert [row["verdict"] for row in claims] == ["HOLDS", "FAILED"] and exit_status(claims) == 3
    assert type(error).__name__ in claims[1]["reason"]


def test_a_full_disk_under_a_claim_ends_the_run(bench):
    paper = toy_paper()

    @paper.claim("full", source="s", statements=[1])
    def full(setting, lab):
        """It writes."""
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        reproduce(Selection((paper,), (paper.claims["full"],), (), frozenset()), Options("desk"), bench, 1)
