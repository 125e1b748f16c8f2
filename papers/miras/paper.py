"""The paper, and the settings that its claims and figures share."""

from __future__ import annotations

from dataclasses import replace

from attnlab.analysis import replicas
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.associative_memory.maps import SimplexSetting, SizeSetting
from attnlab.simulators.associative_memory.online import LearnerSetting, ProblemSetting, RepeatSetting
from attnlab.simulators.associative_memory.tracking import ChunkSetting, CorrelatedSetting, StreamSetting
from attnlab.theory.associative_memory.online_errors import best_tracking_rate

TITLE = (
    "It's All Connected: A Journey Through Test-Time Memorization, Attentional Bias, Retention, and Online Optimization"
)
paper = Paper(
    key="miras",
    title=TITLE,
    sources=[
        Source(
            authors="Ali Behrouz, Meisam Razaviyayn, Peilin Zhong, Vahab Mirrokni",
            year=2025,
            arxiv="2504.13173",
            title=TITLE,
        )
    ],
    statements={
        1: "Every layer is specified by four choices: memory, attentional bias, retention and learning algorithm.",
        2: "A step minimises a linearised loss plus a term of retention; forget gates are retention terms.",
        3: "Most models use the dot product or the squared error with a squared retention; others are l_p and Huber losses "
        "and a retention by KL divergence.",
        4: "Moneta (l_p loss, l_q retention), Yaad (Huber) and Memora (KL) recall better than recurrences with a matrix state, "
        "most of all from noisy contexts.",
    },
)


def scaled(desk, small: dict, large: dict) -> Scales:
    """Three scales of one setting."""
    return Scales(smoke=replace(desk, **small), desk=desk, paper=replace(desk, **large))


LEARNERS = paper.scales(
    smoke=LearnerSetting(n_replicas=8), desk=LearnerSetting(), paper=LearnerSetting(16, 16, 200, n_replicas=32)
)
PROBLEMS = scaled(ProblemSetting(), {"n_replicas": 8}, {"key_dim": 12, "value_dim": 12, "n_replicas": 64})
REPEATS = scaled(RepeatSetting(n_replicas=4), {}, {"n_replicas": 16})
SIZES = scaled(SizeSetting(), {"n_replicas": 4}, {"key_dim": 12, "value_dim": 12, "n_replicas": 32})
RESTS = scaled(
    SizeSetting(off=-0.2, rate=0.3, gate=0.98, n_steps=400, n_replicas=4), {"n_replicas": 2}, {"n_replicas": 16}
)
SIMPLEX = scaled(SimplexSetting(), {"n_replicas": 8}, {"n_steps": 400, "n_replicas": 64})
SIGNED = scaled(
    SimplexSetting(total=2.0, rate=0.5, gate=1.0, chunk=True, n_steps=1_000, n_replicas=4),
    {"n_replicas": 2},
    {"n_steps": 10_000, "n_replicas": 16},
)
CORRELATED = scaled(CorrelatedSetting(), {"n_replicas": 4}, {"dim": 64, "n_pairs": 48})
CHUNKS = scaled(ChunkSetting(n_replicas=16), {"n_replicas": 8}, {"dim": 64, "n_replicas": 32})

STREAM = StreamSetting(n_replicas=32)
STREAMS = scaled(STREAM, {"n_replicas": 16}, {"n_replicas": 32, "n_draws": 256})
DRIFT = StreamSetting(noise_std=0.5, drift_std=0.3, rate=best_tracking_rate(16, 0.5, 0.3))
DRIFTS = scaled(DRIFT, {"n_replicas": 8}, {"n_replicas": 32, "n_draws": 256})
GATED = StreamSetting(gate=0.98)
GATES = scaled(GATED, {"n_replicas": 8}, {"n_replicas": 32, "n_draws": 256})

#: Relative spreads over replicas of what claims judge, at the desk's draws: standard deviations of 8 replicas of another seed, so
#: known to a quarter.
SPREADS = {
    ("squared", 0.1): 0.0145,
    ("huber", 0.1): 0.0125,
    ("huber", 0.2): 0.0173,
    ("l1", 0.0): 0.0038,
    ("l1", 0.2): 0.0072,
    "drift, half the best rate": 0.0069,
    "drift, best rate": 0.0053,
    "drift, twice the best rate": 0.0034,
    "gain": 0.0013,
    ("one_by_one", 4): 0.00039,
    ("one_by_one", 16): 0.0012,
    ("one_by_one", 64): 0.0065,
    ("chunk", 4): 0.00035,
    ("chunk", 16): 0.0018,
    ("chunk", 64): 0.0027,
    ("difference", 4): 0.025,
    ("difference", 16): 0.0028,
    ("difference", 64): 0.00032,
    ("limit", 4): 0.0033,
    ("limit", 16): 0.0038,
    ("limit", 64): 0.0035,
}


def noise(name, setting, desk_draws: int, size: float) -> Piece:
    """What the replicas leave open: the relative spread of :data:`SPREADS` falls with the root of the draws."""
    spread = SPREADS[name] * abs(size) * (desk_draws / setting.n_draws) ** 0.5
    return replicas(spread, setting.n_replicas, of=over(setting))


def over(setting) -> str:
    """What verdicts speak of: every replica's number is an average over its draws."""
    return f"mean over replicas of {setting.n_draws} draws"
