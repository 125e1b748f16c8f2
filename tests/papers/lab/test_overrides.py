from dataclasses import dataclass

import pytest

from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.overrides import apply, check_known, split_tokens


@dataclass(frozen=True)
class Setting:
    dim: int = 5
    noise_std: float = 0.3
    lengths: tuple[int, ...] = (1, 2)
    supports: tuple[tuple[int, ...], ...] = ((0, 1), (2,))
    causal: bool = False

    def __post_init__(self):
        if self.dim < 1:
            raise ValueError(f"dim must be at least 1, got {self.dim!r}")


def test_tokens_with_an_equals_sign_are_settings_wherever_they_stand():
    assert split_tokens(["dim=3", "he2025", "noise_std=0.1", "all"]) == (
        ["he2025", "all"],
        {"dim": "3", "noise_std": "0.1"},
    )


def test_values_are_parsed_by_the_type_of_the_field():
    text = {"dim": "1_000", "noise_std": "1e-3", "lengths": "3,4,5", "supports": "(0,1),(2,3)", "causal": "true"}
    assert apply(Setting(), text) == Setting(1000, 1e-3, (3, 4, 5), ((0, 1), (2, 3)), True)


def test_keys_of_other_settings_are_left_alone_and_unknown_ones_are_errors():
    assert apply(Setting(), {"n_heads": "3"}) == Setting()
    check_known(["dim"], [Setting()])
    with pytest.raises(UsageError, match="did you mean 'noise_std'"):
        check_known(["noise_sd"], [Setting()])


@pytest.mark.parametrize(
    "key, text, message",
    [
        ("dim", "0", "dim must be at least 1"),
        ("dim", "few", "'few' is not a whole number"),
        ("noise_std", "low", "not a number"),
        ("causal", "maybe", "use true or false"),
        ("lengths", "1,x", "'1,x'"),
    ],
)
def test_bad_values_name_key_and_value(key, text, message):
    with pytest.raises(UsageError, match=message):
        apply(Setting(), {key: text})


def test_a_key_given_twice_with_two_values_is_an_error():
    with pytest.raises(UsageError, match="given twice"):
        split_tokens(["dim=3", "dim=4"])
    assert split_tokens(["dim=3", "dim=3"]) == ([], {"dim": "3"})
    with pytest.raises(UsageError, match="KEY=VALUE"):
        split_tokens(["=3"])
