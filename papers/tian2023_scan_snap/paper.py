"""The paper, its settings, and what its claims share: predictions of the reduced flow, tokens by rank, entropies."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from attnlab.papers.lab.conditions import at_least, at_most, one_of, that
from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.token_selection.training import Setting
from attnlab.theory.token_selection.reduced_flow import SymmetricClasses, snap_time_exact, token_descent, token_flow

paper = Paper(
    key="tian2023_scan_snap",
    title="Scan and Snap: Understanding Training Dynamics and Token Composition in 1-layer Transformer",
    sources=[
        Source(
            authors="Yuandong Tian, Yiping Wang, Beidi Chen, Simon S. Du",
            year=2023,
            arxiv="2305.16380",
            title="Scan and Snap: Understanding Training Dynamics and Token Composition in 1-layer Transformer",
            venue="Advances in Neural Information Processing Systems",
        )
    ],
    statements={
        1: "With pairwise logits Z (attention) and Y (decoder) as parameters, the gradient flow of a sample has a closed form.",
        2: "In long sequences attention over token types is proportional to P(l | n) exp(z_l); nothing else matters.",
        3: "With frozen attention the residual follows a scalar h(t) in closed form, and the gradient sent back has a speed that "
        "rises linearly, peaks, and decays like log t / t.",
        4: "Logits of distinct tokens grow; that of a single common token shrinks, and so do those of a symmetric family.",
        5: "The relative gain of two distinct tokens obeys r(t) = r(0) exp(2 (z(t) - z(0))): the more frequent one takes over.",
        6: "There is no winner: after t_0 = 2 K ln M / eta_Y growth slows from a power of t to a logarithm.",
        7: "Larger eta_Y snaps earlier; it gives denser attention at fixed eta_Z, and larger rates sparser at a fixed ratio.",
        8: "Adam selects other subsets of distinct tokens at other rates; on WikiText attention entropy falls with the rate.",
    },
)
SMALL = Setting(
    n_classes=2,
    decoder_rate=0.2,
    attention_rate=0.2,
    n_steps=200,
    n_records=40,
    spacing="linear",
    sequence_length=513,
    n_replicas=32,
)
paper.scales(
    smoke=replace(SMALL, n_replicas=16),
    desk=SMALL,
    paper=replace(SMALL, decoder_rate=0.02, attention_rate=0.02, n_steps=2_000, sequence_length=1025, n_replicas=64),
)
PUBLISHED_SMALL = Setting(momentum=0.9, spacing="linear")  # the two-class runs behind the published maps
MEDIUM = Setting(n_classes=6, classes_per_query=2, momentum=0.9, start="uniform", n_records=4)


#: What the equations of plain gradient descent from zero cover.
DESCENT = {
    "optimiser": one_of("sgd", why="the equations are of gradient descent"),
    "momentum": one_of(0.0, why="the equations are of plain gradient descent"),
    "start": one_of("zero", why="the reduction needs Y = Z = 0 at the start"),
    "decoder_rate": at_most(1.0, "larger steps leave the gradient flow"),
    "attention_rate": that(
        lambda rate: 0 < rate <= 1, "in (0, 1]", "frozen attention shows nothing, and larger steps leave the flow"
    ),
    "n_common": at_least(1, "the statement compares distinct tokens with common ones"),
    "n_distinct": at_least(3, "three tokens of each class are compared"),
    "n_classes": at_least(2, "the theory is of several classes"),
}
#: The same for the mean over classes of endless sequences, all classes of one profile.
ENDLESS_CLASSES = DESCENT | {
    "batch": one_of(0, why="the statement is of the mean over endless sequences"),
    "profile": one_of("linear", "random", why="the statement is of symmetric classes"),
}


def scales(desk, smoke=None, published=None):
    """Settings at three scales from that at desk and what changes: up to 16 replicas at smoke, twice as many at paper scale."""
    return Scales(
        replace(desk, n_replicas=min(desk.n_replicas, 16), **(smoke or {})),
        desk,
        replace(desk, n_replicas=2 * desk.n_replicas, **(published or {})),
    )


def reduced(setting, profile):
    """The classes of a run, for the reduced flow. ``profile (local,)``: P of one class, the same in all."""
    C = setting.n_common
    return SymmetricClasses(profile[:C], profile[C:], setting.n_classes, setting.vocabulary, setting.classes_per_query)


@functools.cache
def _flow(setting, profile, times):
    return token_flow(
        reduced(setting, np.array(profile)), setting.decoder_rate, setting.attention_rate, np.array(times)
    )


def flow(setting, profile, times):
    """The reduced flow at the recorded steps."""
    return _flow(setting, tuple(profile.tolist()), tuple(np.asarray(times, float).tolist()))


@functools.cache
def _descent(setting, profile):
    return token_descent(
        reduced(setting, np.array(profile)), setting.decoder_rate, setting.attention_rate, setting.n_steps
    )


def descent(setting, profile):
    """The reduced steps of gradient descent, at every step."""
    return _descent(setting, tuple(profile.tolist()))


@functools.cache
def _snap_time(setting, profile):
    return snap_time_exact(reduced(setting, np.array(profile)), setting.decoder_rate, setting.attention_rate)


def snap_time(setting, profile):
    """When the most frequent distinct token grows fastest, by the reduced flow, in steps."""
    return _snap_time(setting, tuple(profile.tolist()))


def at_rest(values, start):
    """Null control of values ``(replica, ...)``: they stay at ``start``, with their noise over replicas."""
    return values - values.mean(0) + start


def direction(c):
    """f = c / |c| over the tokens of a class."""
    return c / np.linalg.norm(c, axis=-1, keepdims=True)


def entropy(setting, c):
    """Entropy (nats) of the attention on a class's distinct tokens, renormalised; mean over classes. ``c (..., class,
    local)``.
    """
    distinct = c[..., setting.n_common :]
    share = distinct / distinct.sum(-1, keepdims=True)
    return -(share * np.log(share + 1e-30)).sum(-1).mean(-1)
