r"""One criterion per task of the matrix: plain facts of an operator in, success or failure out.

Letters: m pairs, V values, L layers, h heads, r the rank of a head's map of n tokens, d_v the width of a value, w its reach.
Each criterion looks for what makes success impossible or out of proportion; it predicts success only where nothing of this
applies and the operator reads pairs, all of them, at full rank. Everything else is *open*, which is no prediction.

Rank: values through the L h maps of rank r, each the best projection, are read with margin :math:`a^2 = L h\, d_v\, r/(m - r)`
(:func:`attnlab.theory.task_matrix.mixture.read_through_rank`), a reference that trained maps were seen below and not a bound
that was proved. Reach: two layers see no farther than L w.
"""

from __future__ import annotations

from collections.abc import Callable

from attnlab.theory.task_matrix.facts import ModelSizes, OperatorFacts, Prediction, fails, silent, succeeds
from attnlab.theory.task_matrix.mixture import (
    filter_error_beyond_rank,
    one_step_error,
    read_through_rank,
    share_within_reach,
    softmax_weight,
)

SOLVED = 0.9
EXPLAINED = 0.5  # of the variance, in the task of regression

NOT_PAIRS = {
    "none": "its map reads no token, so that no query finds its key",
    "query": "its map reads the query alone, so that no query finds its key",
    "key": "its map reads keys alone, so that all queries find the same",
    "summary": "its map reads a summary of all tokens, the same for all queries",
}


def recall(facts: OperatorFacts, sizes: ModelSizes, n_pairs: int, n_codes: int = 16) -> Prediction:
    """m pairs, then the m keys in another order; a query is m + i - j tokens behind pair j."""
    blind = _blind(facts)
    if blind:
        return fails(blind)
    distances = [n_pairs + i - j for i in range(n_pairs) for j in range(n_pairs)]
    return _found(facts, sizes, distances, n_pairs, sizes.layers * sizes.heads, n_codes)


def successor(facts: OperatorFacts, sizes: ModelSizes, n_shown: int = 12, n_codes: int = 16) -> Prediction:
    """One layer moves a neighbour (positions are given, so that content may find it), a later one matches: h maps for that."""
    blind = _blind(facts)
    if blind:
        return fails(blind)
    asked = n_shown - 1
    distances = [n_shown + i - (j + 1) for i in range(asked) for j in range(asked)]
    return _found(facts, sizes, distances, n_shown, (sizes.layers - 1) * sizes.heads, n_codes)


def offset(facts: OperatorFacts, sizes: ModelSizes, lag: int = 12, n: int = 32, n_codes: int = 16) -> Prediction:
    """A copy from ``lag`` places before: needs no content but order, of its own or from given positions that content reads."""
    if facts.reach is not None and sizes.layers * facts.reach < lag:
        return fails(f"{sizes.layers} layers of reach {facts.reach} do not see {lag} back", 1 / n_codes)
    if facts.sees_no_order and facts.content in NOT_PAIRS:
        return fails("it sees a set, and its map reads no positions from the tokens", 1 / n_codes)
    return _through_rank(facts, sizes, n - lag, sizes.layers * sizes.heads, n_codes) or _reads_all(facts)


def match(facts: OperatorFacts, sizes: ModelSizes, n: int = 16, n_codes: int = 8) -> Prediction:
    """The value of the key of which the last token is a noisy copy, among as many keys as in training."""
    blind = _blind(facts)
    if blind:
        return fails(blind)
    return _found(facts, sizes, list(range(1, n + 1)), n, sizes.layers * sizes.heads, n_codes)


def longer_match(
    facts: OperatorFacts, sizes: ModelSizes, n: int = 128, trained_at: int = 16, n_codes: int = 8
) -> Prediction:
    """The same among ``n`` keys. Rows of sum 1 dilute: a weight p among 16 keys is 1/(1 + (n - 1)(1/p - 1)/15) among n."""
    blind = _blind(facts)
    if blind:
        return fails(blind)
    weak = _out_of_reach(facts, sizes, list(range(1, n + 1)), n_codes)
    weak = weak or _through_rank(facts, sizes, n, sizes.layers * sizes.heads, n_codes)
    if weak:
        return weak
    if facts.content == "pair" and facts.row_sum == 1.0 and facts.smooth:
        diluted = softmax_weight(n, trained_at, 0.96)
        return fails(f"rows of sum 1 dilute: .96 among {trained_at} keys is {diluted:.2f} among {n}")
    return silent("rows are not of sum 1, or keys are selected: the criterion does not say how weights dilute")


def regression(facts: OperatorFacts, sizes: ModelSizes, dim: int = 5, n: int = 20) -> Prediction:
    """Half of the variance of y explained: one step of gradient descent on the pairs that are seen leaves (d+1)/(k+d+1)."""
    if facts.content == "none":
        return fails("its map reads no token: sums of y x take products that it does not form", EXPLAINED)
    if facts.reach is not None:
        seen = min(n, sizes.layers * facts.reach)
        if 1 - one_step_error(dim, seen) < EXPLAINED:
            return fails(f"it sees {seen} pairs, enough to explain {1 - one_step_error(dim, seen):.2f}")
    if facts.content == "pair" and (facts.reach is None or sizes.layers * facts.reach >= n):
        return succeeds("pairs of tokens give sums of y x, one step of gradient descent")
    return silent(f"content {facts.content!r}: whether it forms sums of y x is not decided")


def grid(facts: OperatorFacts, sizes: ModelSizes, side: int = 6) -> Prediction:
    """A 3 x 3 filter with positions given: neighbours in reach, and enough rank for the filter's spectrum."""
    if facts.reach is not None and sizes.layers * facts.reach < side + 1:
        return fails(f"{sizes.layers} layers of reach {facts.reach} do not see the neighbour at {side + 1} tokens")
    if facts.sees_no_order and facts.content in NOT_PAIRS:
        return fails("it sees a set, and its map reads no positions from the tokens")
    if facts.rank is not None:
        left = filter_error_beyond_rank(side, sizes.layers * sizes.heads * facts.rank)
        if 1 - left < SOLVED:
            return fails(
                f"beyond rank {sizes.layers * sizes.heads * facts.rank} lies {left:.2f} of the filter", 1 - left
            )
        return silent(f"rank {facts.rank} in a head: the tail of the filter does not decide")
    if "interior shift" in facts.symmetries and facts.content == "none":
        return succeeds("it is a convolution")
    return _reads_all(facts)


def count(facts: OperatorFacts, sizes: ModelSizes, largest: int = 8) -> Prediction:
    """Copies of one token: rows of a fixed sum give the same output for every number of copies, exactly."""
    if facts.row_sum is not None:
        return fails("rows have a fixed sum: the output is the same for every number of copies", 1 / largest)
    return silent("rows have no fixed sum; whether they are divided by the number of keys is not declared")


def group(facts: OperatorFacts, sizes: ModelSizes, order: int = 6) -> Prediction:
    """Products in S3: a state whose changes do not commute, or are not linear. Maps of fixed depth stay low in this budget."""
    if facts.content in NOT_PAIRS and facts.content != "summary":
        return fails("the way from a token to the state does not depend on the tokens between")
    if facts.masked:
        return fails(f"{sizes.layers} layers of maps keep no state, and depth does not grow with the length")
    if facts.sees_no_order:
        return fails("the past enters as a set, so that its elements commute")
    return silent("it may keep a state that its tokens change without commuting")


CRITERIA: dict[str, Callable[[OperatorFacts, ModelSizes], Prediction]] = {
    "recall_4": lambda facts, sizes: recall(facts, sizes, 4),
    "recall_32": lambda facts, sizes: recall(facts, sizes, 32),
    "successor": successor,
    "offset": offset,
    "match": match,
    "match_long": longer_match,
    "regression": regression,
    "grid": grid,
    "count": count,
    "group": group,
}


def _blind(facts: OperatorFacts) -> str:
    return NOT_PAIRS.get(facts.content, "")


def _found(
    facts: OperatorFacts, sizes: ModelSizes, distances: list[int], n_pairs: int, n_maps: int, n_codes: int
) -> Prediction:
    """What reach and rank leave of finding one of m values at these distances."""
    return (
        _out_of_reach(facts, sizes, distances, n_codes)
        or _through_rank(facts, sizes, n_pairs, n_maps, n_codes)
        or _reads_all(facts)
    )


def _out_of_reach(facts: OperatorFacts, sizes: ModelSizes, distances: list[int], n_codes: int) -> Prediction | None:
    if facts.reach is None:
        return None
    bound = share_within_reach(distances, sizes.layers * facts.reach, 1 / n_codes)
    if bound < SOLVED:
        return fails(f"{sizes.layers} layers of reach {facts.reach} see too few of the pairs", bound)
    return None


def _through_rank(
    facts: OperatorFacts, sizes: ModelSizes, n_pairs: int, n_maps: int, n_codes: int
) -> Prediction | None:
    if facts.rank is None:
        return None
    bound = read_through_rank(n_pairs, facts.rank, sizes.value_width, n_codes, n_maps)
    if bound < SOLVED:
        return fails(f"{n_maps} maps of rank {facts.rank} read {bound:.2f} of {n_pairs} pairs at best", bound)
    return silent(f"rank {facts.rank}: the reference {bound:.2f} says what will not be, never what will")


def _reads_all(facts: OperatorFacts) -> Prediction:
    if facts.content == "pair" and facts.reach is None and facts.rank is None:
        return succeeds("it reads pairs of tokens, all of them, at full rank")
    return silent(
        f"content {facts.content!r}, reach {facts.reach}, rank {facts.rank}: no reason against it, and none for it"
    )
