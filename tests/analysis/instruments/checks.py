"""What the one test asks of every instrument: a table of checks, each of which must be able to fail."""

import dataclasses
import itertools
import sys
import zlib
from dataclasses import replace

import numpy as np

from attnlab.analysis.instruments.over_prompts import POWER
from attnlab.analysis.instruments.readings import Readings, chosen, padded
from attnlab.analysis.statistics.intervals import clopper_pearson

ERROR = 1e-4
"""The chance with which one comparison of a true instrument errs; a run of the family makes some 20 of them per member."""

SIGMAS = 4.0  # two-sided normal tail 6e-5 < ERROR
DRAWS = {"few": 160, "all": 400}
"""Draws of every world, heads of several subjects: in the fast suite, and in the slow one."""


def generator(name, purpose):
    """Random numbers of one check of one instrument, the same on every run."""
    return np.random.default_rng([zlib.crc32(name.encode()), zlib.crc32(purpose.encode())])


def main_of(instrument, subject):
    """The main reading and its entries in which the effect was planted."""
    reading = instrument.measure(subject)[instrument.main]
    return reading, np.ravel(np.asarray(reading.value)[instrument.where])


def many(rng, draw, n):
    """Results of ``draw(rng)``, vectors, until there are n."""
    found = []
    while sum(len(each) for each in found) < n:
        found.append(np.ravel(draw(rng)))
    return np.concatenate(found)


def error_of(values):
    """Standard error of the mean of independent draws."""
    return values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0


def arrays_of(subject):
    """Every array of a subject, by name."""
    for each in dataclasses.fields(subject) if dataclasses.is_dataclass(subject) else ():
        value = getattr(subject, each.name)
        if isinstance(value, np.ndarray):
            yield each.name, value
        elif isinstance(value, dict):
            yield from ((f"{each.name}.{key}", array) for key, array in value.items() if isinstance(array, np.ndarray))


def has_shapes_axes_and_units(name, instrument, n):
    rng = generator(name, "shapes")
    subject = instrument.planted(rng, instrument.strengths[1])
    before = {key: array.copy() for key, array in arrays_of(subject)}
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    readings = instrument.measure(subject)
    assert instrument.main in readings
    for key, reading in readings.items():
        assert np.ndim(reading.value) == len(reading.axes), key
        assert np.shape(reading.low) == np.shape(reading.value) == np.shape(reading.high), key
        assert (np.asarray(reading.low) <= reading.value).all() and (np.asarray(reading.high) >= reading.value).all(), (
            key
        )
        assert reading.assumptions and reading.n >= 1 and np.isfinite(reading.value).all(), key
        assert reading.p is None or (np.shape(reading.p) == np.shape(reading.value)), key
        assert reading.p is None or ((reading.p >= 0) & (reading.p <= 1)).all(), key
    assert all((array == before[key]).all() for key, array in arrays_of(subject)), "the subject was changed"
    assert (np.random.get_state()[1] == state).all(), "the global generator was used"  # noqa: NPY002


def computes_in_float32_what_it_computes_in_float64(name, instrument, n):
    subject = instrument.planted(generator(name, "float32"), instrument.strengths[1])
    if not isinstance(subject, Readings):
        return
    single = replace(subject, sites={key: array.astype(np.float32) for key, array in subject.sites.items()})
    double, less = (instrument.measure(each)[instrument.main].value for each in (subject, single))
    assert np.abs(double - less).max() <= instrument.budget * max(1.0, np.abs(double).max())


def keeps_its_invariances(name, instrument, n):
    subject = instrument.planted(generator(name, "invariances"), instrument.strengths[1])
    if not isinstance(subject, Readings):
        return
    whole = instrument.measure(subject)
    order = generator(name, "order").permutation(subject.n_prompts)
    others = {"prompts": chosen(subject, order)} if "prompts" in instrument.invariances else {}
    if "padding" in instrument.invariances:
        others |= {
            f"padded {left} left, {right} right": padded(subject, left, right)
            for left, right in ((3, 0), (0, 7), (2, 1))
        }
    for change, other in others.items():
        for key, reading in instrument.measure(other).items():
            scale = max(1.0, np.abs(whole[key].value).max())
            assert np.abs(reading.value - whole[key].value).max() <= 1e-12 * scale, (change, key)
            if reading.p is not None:
                assert np.abs(reading.p - whole[key].p).max() <= 1e-9, (change, key)
    if "heads" in instrument.invariances:
        n_heads = next(array.shape[1] for key, array in subject.sites.items() if key.endswith("pattern"))
        order = generator(name, "heads").permutation(n_heads)
        four = {key: array[:, order] if array.ndim == 4 else array for key, array in subject.sites.items()}
        for key, reading in instrument.measure(replace(subject, sites=four)).items():
            if "head" in reading.axes:
                want = np.take(whole[key].value, order, reading.axes.index("head"))
                assert np.abs(reading.value - want).max() <= 1e-12 * max(1.0, np.abs(want).max()), key


def gives_false_alarms_at_its_level(name, instrument, n):
    assert instrument.nulls or instrument.no_null
    for world, draw in instrument.nulls.items():
        rng = generator(name, world)

        def one(rng, draw=draw):
            return instrument.measure(draw(rng))[instrument.main].p

        p = many(rng, one, n)
        if instrument.exact:
            assert (p == 1).all(), f"{world}: an alarm where nothing is wrong"
            continue
        low, high = clopper_pearson(int((p <= instrument.level).sum()), len(p), 1 - ERROR)
        assert low <= instrument.level <= high, f"{world}: false alarms {np.mean(p <= instrument.level):.3f}"


def recovers_the_planted_truth(name, instrument, n):
    for strength in instrument.strengths:
        rng = generator(name, f"truth {strength}")
        values, inside = [], []
        while sum(map(len, inside)) < (1 if instrument.exact else n):
            reading = instrument.measure(instrument.planted(rng, strength))[instrument.main]
            truth = np.broadcast_to(instrument.truth(strength), reading.value.shape)
            inside.append(np.ravel((reading.low <= truth) & (truth <= reading.high)))
            values.append(np.ravel((np.asarray(reading.value) - truth)[instrument.where]))
        values, inside = np.concatenate(values), np.concatenate(inside)
        assert abs(values.mean()) <= instrument.tolerance + SIGMAS * error_of(values), (strength, values.mean())
        if not (instrument.exact or instrument.no_interval):
            high = clopper_pearson(int(inside.sum()), len(inside), 1 - ERROR)[1]
            assert high >= 0.95, f"strength {strength}: the interval covers in {inside.mean():.3f}"


def finds_what_it_says_it_would_find(name, instrument, n):
    if np.isnan(instrument.limit):
        assert instrument.no_null
        return
    shares = []
    for part in (0.4, 0.7, 1.0, 1.4, 2.0):
        rng = generator(name, f"power {part}")

        def one(rng, part=part):
            reading = instrument.measure(instrument.planted(rng, part * instrument.limit))[instrument.main]
            return np.asarray(reading.p)[instrument.where]

        p = many(rng, one, 1 if instrument.exact else n)
        shares.append(float(np.mean(p <= instrument.level)))
    if instrument.exact:
        assert shares[0] == shares[1] == 0 and shares[3] == shares[4] == 1, shares
        return
    noise = SIGMAS * (2 * 0.25 / n) ** 0.5
    assert all(later > before - noise for before, later in itertools.pairwise(shares)), shares
    assert 0.65 <= shares[2] <= 0.95 and POWER == 0.8, shares
    assert shares[0] < shares[2] < shares[4] + noise, shares


def tells_its_rivals_apart(name, instrument, n):
    for rival in instrument.rivals:
        rng = generator(name, rival.name)
        drawn = many(rng, rival.draw, 1 if instrument.exact else n)
        if rival.of == "level":
            low, _ = clopper_pearson(int((drawn <= instrument.level).sum()), len(drawn), 1 - ERROR)
            assert low > instrument.level, f"{rival.name}: alarms {np.mean(drawn <= instrument.level):.3f}"
        else:
            gap = abs(drawn.mean() - rival.truth)
            assert gap > instrument.tolerance + SIGMAS * error_of(drawn), f"{rival.name}: differs by {gap:.3g}"


def broken(subject):
    """What must be refused: a change of a good subject, and a word that the error must contain."""
    site = next(key for key in subject.sites if key.endswith("pattern"))
    good = subject.sites[site]

    def with_map(array):
        return {**subject.sites, site: array}

    nan, negative, hidden = (good.copy() for _ in range(3))
    nan[1, 0, 2, 1] = np.nan
    negative[0, 0, 3, :2] += (-2.0, 2.0)
    yield "nan", lambda: replace(subject, sites=with_map(nan))
    yield "negative weight", lambda: replace(subject, sites=with_map(negative))
    yield "sums to 1.11", lambda: replace(subject, sites=with_map(1.11 * good))
    if subject.visible is None:
        hidden[0, 0, 1, :] = 1 / hidden.shape[-1]
        yield "invisible", lambda: replace(subject, sites=with_map(hidden))
    yield "all padding", lambda: replace(subject, real=np.zeros((subject.n_prompts, subject.n_tokens), bool))
    yield "empty", lambda: Readings({key: array[:0] for key, array in subject.sites.items()})
    yield "interval", lambda: chosen(subject, np.array([0]))


def refuses_by_name(name, instrument, n):
    subject = instrument.planted(generator(name, "refusals"), instrument.strengths[1])
    if not isinstance(subject, Readings) or not any(key.endswith("pattern") for key in subject.sites):
        return
    cases = [*broken(subject)]
    if instrument.exact or instrument.per_prompt:
        cases = [case for case in cases if case[0] != "interval"]
    for word, make in cases:
        try:
            instrument.measure(make())
        except ValueError as error:
            assert word in str(error).lower(), (word, str(error))
        else:
            raise AssertionError(f"took what has {word}")
    without = {"embed": np.zeros((subject.n_prompts, subject.n_tokens, 2))}
    try:
        instrument.measure(replace(subject, sites=without))
    except ValueError as error:
        assert "no site" in str(error)
    else:
        raise AssertionError("took readings without its sites")


def raises_no_alarm_on_even_maps(name, instrument, n):
    """All keys alike in all prompts: no spread, and nothing to be found, whatever the precision and the order in memory."""
    if instrument.needs != ("pattern",):
        return
    even = np.tri(12) / np.arange(1, 13)[:, None]
    for dtype in (np.float64, np.float32, np.float16):
        maps = np.broadcast_to(even, (4, 3, 12, 12)).astype(dtype)
        subject = Readings({"L0.pattern": maps}, periods=np.array([3, 4, 5, 4]))
        for key, reading in instrument.measure(subject).items():
            assert np.isfinite(reading.value).all(), (key, dtype)
            if dtype != np.float16:  # which is off by 5e-4 of every weight, alike in all prompts
                assert reading.p is None or (reading.p > instrument.level).all(), (key, dtype, reading.p)
    planted = instrument.planted(generator(name, "order in memory"), instrument.strengths[1])
    if isinstance(planted, Readings):
        turned = replace(planted, sites={key: np.asfortranarray(array) for key, array in planted.sites.items()})
        plain, other = (instrument.measure(each)[instrument.main].value for each in (planted, turned))
        assert np.abs(plain - other).max() <= 1e-12 * max(1.0, np.abs(plain).max())


def draws_a_figure_and_says_what_it_is(name, instrument, n):
    made = [
        instrument.measure(instrument.planted(generator(name, "figure"), instrument.strengths[1])) for _ in range(2)
    ]
    first, second = (instrument.figure(each) for each in made)
    rows = [[row for mark in plate.marks for row in mark.rows()] for plate in (first, second)]
    assert rows[0] and rows[0] == rows[1]
    assert first.caption and second.caption == first.caption
    if n == DRAWS["all"]:
        assert first._repr_html_() == second._repr_html_(), "the picture is not the same twice"
    text = sys.modules[f"attnlab.analysis.instruments.{name.replace('/', '.')}"].__doc__
    for word in ("Formula:", "Null:", "Limit:", "Twin:", "Sheet:"):
        assert word in text, f"the docstring of {name} lacks {word!r}"


CHECKS = {
    check.__name__: check
    for check in (
        has_shapes_axes_and_units,
        computes_in_float32_what_it_computes_in_float64,
        keeps_its_invariances,
        gives_false_alarms_at_its_level,
        recovers_the_planted_truth,
        finds_what_it_says_it_would_find,
        tells_its_rivals_apart,
        refuses_by_name,
        raises_no_alarm_on_even_maps,
        draws_a_figure_and_says_what_it_is,
    )
}
