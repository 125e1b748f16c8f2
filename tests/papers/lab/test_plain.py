"""Settings as plain data, and as people read them."""

from attnlab.papers.lab.plain import in_short


def test_long_values_are_cut_and_say_so_and_short_ones_stand():
    assert in_short((1, 2.5, "a")) == "(1, 2.5, 'a')"
    text = in_short("x" * 1000)
    assert text.startswith("x" * 160 + " …") and text.endswith("(1000 characters)") and len(text) < 200
