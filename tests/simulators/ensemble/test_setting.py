"""Settings reject what they cannot use, with the name of the field."""

from dataclasses import dataclass, fields, replace
from inspect import signature

import pytest

from attnlab.simulators.ensemble.setting import (
    checked,
    overridden,
    require_inside,
    require_one_of,
    require_positive,
    with_named_fields,
)
from attnlab.simulators.in_context_regression.training import Setting


@dataclass(frozen=True)
class Small:
    count: int = 3
    rate: float = 0.5
    kind: str = "one"
    flag: bool = False
    sizes: tuple[int, ...] = (1, 2)
    groups: tuple[tuple[float, ...], ...] = ((1.0,),)
    n_replicas: int = 2

    def __post_init__(self):
        checked(self)
        require_positive(self, "count", "sizes")
        require_inside(self, 0, 1, "rate")
        require_one_of(self, "kind", ("one", "another"))


def test_a_field_that_a_class_lacks_is_refused_with_the_nearest_one_and_the_list():
    from attnlab.simulators.ensemble.plan import Plan, Record

    with pytest.raises(
        TypeError, match=r"Plan has no field 'n_stps'; did you mean 'n_steps'\?; the fields are n_steps, loss"
    ):
        Plan(n_stps=3)
    with pytest.raises(
        TypeError, match=r"Record has no field 'step'; did you mean 'steps'\?; the fields are observe, st"
    ):
        Record(step=(1,), observe=None)
    with pytest.raises(
        TypeError, match=r"Setting has no field 'n_contxt'; did you mean 'n_context'\?; the fields are "
    ):
        replace(Setting(), n_contxt=3)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'n_steps'"):
        Plan()
    assert Plan(3) == Plan(n_steps=3) and str(signature(Plan)).startswith("(n_steps: 'int', loss_steps")


def test_a_class_is_given_its_words_once_and_one_that_takes_any_name_stays_as_it_is():
    class Free:
        def __init__(self, **values):
            self.values = values

    class Heir(Small):
        pass

    made = with_named_fields(Small).__init__
    assert with_named_fields(Small).__init__ is made is with_named_fields(Heir).__init__
    assert with_named_fields(Free)(x=1).values == {"x": 1}
    with pytest.raises(TypeError, match="Heir has no field 'cuont'"):
        Heir(cuont=3)


def test_whole_numbers_and_lists_take_the_declared_type():
    setting = Small(count=4.0, groups=[[1, 2], (3,)])
    assert (setting.count, setting.groups) == (4, ((1.0, 2.0), (3.0,)))
    assert type(setting.count) is int and type(setting.groups[0][0]) is float
    assert setting == Small(count=4, groups=((1.0, 2.0), (3.0,)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", 0),
        ("count", -1),
        ("count", 2.5),
        ("count", True),
        ("count", float("nan")),
        ("count", "3"),
        ("rate", 0.0),
        ("rate", 1),
        ("rate", float("nan")),
        ("rate", float("inf")),
        ("rate", None),
        ("kind", "ane"),
        ("kind", 1),
        ("flag", 1),
        ("sizes", 3),
        ("sizes", (1, 0)),
        ("groups", (1.0,)),
    ],
)
def test_a_value_out_of_place_is_named_with_its_field(field, value):
    with pytest.raises(ValueError, match=f"^{field}="):
        Small(**{field: value})


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("20_000", "count", 20_000),
        ("2e4", "count", 20_000),
        ("0.25", "rate", 0.25),
        ("another", "kind", "another"),
        ("true", "flag", True),
        ("10,20", "sizes", (10, 20)),
        ("(5,)", "sizes", (5,)),
        ("7", "sizes", (7,)),
        ("((0.1,-0.1),(2,))", "groups", ((0.1, -0.1), (2.0,))),
    ],
)
def test_texts_are_read_by_the_type_of_the_field(text, field, value):
    assert getattr(overridden(Small(), {field: text}), field) == value


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("count", "three"),
        ("count", "nan"),
        ("rate", "nan"),
        ("flag", "yes"),
        ("sizes", "a,b"),
        ("count", "2.5"),
        ("rate", ""),
    ],
)
def test_a_text_of_the_wrong_kind_is_named_with_its_field(field, text):
    with pytest.raises(ValueError, match=f"^{field}="):
        overridden(Small(), {field: text})


def test_an_unknown_key_is_answered_with_the_nearest_name():
    with pytest.raises(ValueError, match="unknown key 'cuont' in Small; did you mean 'count'"):
        overridden(Small(), {"cuont": "3"})


@pytest.mark.parametrize("field", [field.name for field in fields(Setting) if field.type in ("int", "float")])
def test_every_number_of_the_regression_setting_rejects_nan_and_minus_two(field):
    for value in (float("nan"), -2):
        with pytest.raises(ValueError, match=f"^{field}="):
            Setting(**{field: value})


@pytest.mark.parametrize(
    "field",
    [
        "dim",
        "n_context",
        "n_heads",
        "init_scale",
        "batch",
        "learning_rate",
        "n_steps",
        "n_records",
        "n_test",
        "n_replicas",
    ],
)
def test_counts_and_scales_of_the_regression_setting_reject_zero(field):
    with pytest.raises(ValueError, match=f"^{field}="):
        Setting(**{field: 0})


def test_a_noiseless_isotropic_regression_is_a_setting():
    assert Setting(noise_std=0, covariance_decay=0).noise_std == 0.0
