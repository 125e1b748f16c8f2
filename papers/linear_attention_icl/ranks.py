"""Claims on heads of rank above one, and on the drops of softmax attention (5, 10)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, all_of, bounded, ordered
from attnlab.papers.lab.conditions import at_least, at_most, one_of, that
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_attention_icl.paper import REST, STAIRS, components, half_times, learnt, longest_rest, paper
from attnlab.simulators.linear_attention import softmax
from attnlab.simulators.linear_attention import training as simulator
from attnlab.simulators.linear_attention.softmax import SoftmaxSetting

RANKS = replace(STAIRS, init_scale=0.05, learning_rate=0.4, n_steps=7_500, n_records=2_500, n_replicas=32)
RANK_SCALES = Scales(smoke=RANKS, desk=replace(RANKS, n_replicas=64), paper=replace(RANKS, n_heads=9, n_replicas=64))
SMALLER = 5.0


def dwell_times(setting, runs):
    """Time ``(replica, d)`` that components spend between the half rise of one and of the next: at plateaus 0 to d - 1.

    What is not learnt in the end counts as learnt then: such times are too short.
    """
    time, found = runs["time"][0], components(setting, runs)
    done = learnt(setting, found[:, -1])
    times = np.where(done, half_times(time, np.moveaxis(found, 1, 2)), time[-1])
    return np.diff(np.sort(times, axis=1), axis=1, prepend=0.0)


def log_time(dwell, *plateaus_of):
    """Logarithm of the time spent at some plateaus, ``(replica,)``; one unit is added, below the record interval."""
    return np.log(dwell[:, list(plateaus_of)].sum(1) + 1.0)


@paper.claim(
    "rank_rule",
    source="Zhang, Singh, Latham, Saxe, Section 4.4",
    statements=[5],
    parts=5,
    setting=RANK_SCALES,
    formula="plateaus m = R, 2R, ...: time ~ 1 / start; all others: time ~ ln(1 / start)",
    assumptions=["population loss", "the first four plateaus, m = 0 to 3", "starts a factor of 5 apart"],
    judged="from the smaller start: rank 2 rests at m = 2 twice as long as at m = 1 or 3, rank 4 at m = 0 twice as long as "
    "at 1, 2 and 3 together; between the starts the logarithm of the time at m = 0 and 2 (rank 2) rises by more than half of "
    "ln 5, at m = 1 (rank 2) and m = 1, 2, 3 (rank 4) by less; means over replicas",
    reads=("spectrum", "n_context"),
    covers={
        "kind": one_of("separate"),
        "spectrum": that(lambda s: len(set(s)) == len(s) == 4, "four different eigenvalues", "ranks 2 and 4 of four"),
        "n_heads": at_least(4, "each eigenvector needs a head of its own at rank one"),
        "init_scale": at_most(0.1, "plateaus are limits of small starts"),
        "learning_rate": at_most(0.5, "larger steps jump over plateaus"),
        "normalised": one_of(True),
        "n_sequences": one_of(0),
    },
)
def rank_rule(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Heads of rank R rest after every R-th eigenvector for a time that grows like the inverse start; elsewhere hardly at all.

    Twins: the plateaus of the other rank; of the growth, the plateaus of the other kind.
    """
    small = replace(setting, init_scale=setting.init_scale / SMALLER, n_steps=int(SMALLER * setting.n_steps))
    keys = [(start, rank) for start in (0, 1) for rank in (2, 4)]
    runs = lab.simulate(simulator.train, *(replace((setting, small)[start], rank=rank) for start, rank in keys))
    dwell = {key: dwell_times(setting, run) for key, run in zip(keys, runs, strict=True)}

    def between(rank):
        """Logarithms of the longer rest at m = 1 and 3, and of that at m = 2, from the smaller start."""
        d = dwell[1, rank]
        return np.maximum(log_time(d, 1), log_time(d, 3)), log_time(d, 2)

    def after(rank):
        """Logarithms of the time at m = 1, 2, 3 together, and of that at m = 0."""
        return log_time(dwell[1, rank], 1, 2, 3), log_time(dwell[1, rank], 0)

    twice = float(np.log(2))
    verdicts = []
    for name, measure, rank, other in (("rank 2, m = 2", between, 2, 4), ("rank 4, m = 0", after, 4, 2)):
        (brief, long), (rival_brief, rival_long) = measure(rank), measure(other)
        twin = Twin.of(f"the plateaus of rank {other}", smaller=rival_brief, larger=rival_long)
        verdicts.append(ordered(brief, long, by=twice, twin=twin).named(name))
    half = float(np.log(SMALLER)) / 2
    long, brief = ([log_time(dwell[start, 2], *chosen) for start in (0, 1)] for chosen in ((0, 2), (1,)))
    full = [log_time(dwell[start, 4], 1, 2, 3) for start in (0, 1)]
    for name, (before, later), rival in (
        ("growth, rank 2, m = 0, 2", long, brief),
        ("brief, rank 2, m = 1", brief, long),
        ("brief, rank 4", full, long),
    ):
        if name.startswith("growth"):
            claim, twin = {"smaller": before + half, "larger": later}, {"smaller": rival[0] + half, "larger": rival[1]}
        else:
            claim, twin = {"smaller": later, "larger": before + half}, {"smaller": rival[1], "larger": rival[0] + half}
        kind = "brief" if name.startswith("growth") else "conspicuous"
        verdicts.append(ordered(**claim, paired=False, twin=Twin.of(f"a {kind} plateau", **twin)).named(name))
    return all_of(*verdicts)


SOFTMAX = SoftmaxSetting(init_scale=0.08, batch=32, learning_rate=0.2, n_steps=7_500, n_records=750, n_replicas=16)
SOFTMAX_SCALES = Scales(
    smoke=replace(SOFTMAX, n_steps=1_500, n_records=150, batch=16),
    desk=replace(SOFTMAX, n_replicas=48),
    paper=replace(SOFTMAX, n_heads=8, batch=256, init_scale=0.03, n_steps=100_000, n_replicas=48),
)


def softmax_pair(setting, lab: Lab):
    """Runs of softmax attention with merged and with separate key and query.

    The merged model starts 8 times smaller, which lengthens its wait, and has fewer, larger batches and smaller steps.
    """
    return lab.simulate(
        softmax.train,
        replace(
            setting,
            kind="merged",
            init_scale=setting.init_scale / 8,
            batch=4 * setting.batch,
            learning_rate=setting.learning_rate / 2,
            n_steps=max(setting.n_steps // 7, 900),
            n_records=75,
        ),
        setting,
    )


@paper.claim(
    "softmax_drops",
    source="Zhang, Singh, Latham, Saxe, Section 5",
    statements=[10],
    parts=2,
    setting=SOFTMAX_SCALES,
    undecided_at_smoke="16 replicas of short runs differ too much",
    formula="longest time within 5 % of the drop, at 20 to 80 %, times ||S^2||_F",
    assumptions=["softmax over the context, query no key", "fresh sequences, small random start"],
    judged="merged: at most 3 in the median, what makes the drop would grow twentyfold meanwhile; separate: more than twice as "
    "long as merged, mean of the logarithms. A loss that does not fall rests all the time",
    reads=("spectrum",),
    covers={
        "spectrum": that(lambda s: len(set(s)) == len(s) > 1, "different eigenvalues", "equal ones merge plateaus"),
        "score": one_of("softmax"),
        "kind": one_of("separate", why="the merged model is run beside it"),
        "rank": one_of(1),
        "init_scale": at_most(0.2, "drops are seen from small starts"),
    },
)
def softmax_drops(setting: SoftmaxSetting, lab: Lab) -> Verdict:
    """Softmax attention falls in one drop with merged key and query, and in several with separate ones.

    Twins: the separate model in place of the merged one; a rest fifty times as long.
    """
    rests, frozen = [], []
    for runs in softmax_pair(setting, lab):
        loss, time = runs["loss"][:, 1:], runs["time"][0, 1:]
        rests.append(longest_rest(setting, time, loss, np.median(loss[:, -10:])))
        frozen.append(longest_rest(setting, time, np.repeat(loss[:, :1], loss.shape[1], axis=1), 0.0))
    one = bounded(
        rests[0], REST, of="median over replicas", twin=Twin.of("separate", measured=rests[1]), null=frozen[0]
    )
    merged, separate = (np.log(each) for each in rests)
    several = ordered(
        merged, separate, by=float(np.log(2)), paired=False, twin=Twin.of("fifty times", by=float(np.log(50)))
    )
    return all_of(one.named("merged"), several.named("separate"))
