"""Names that packages load on first use are all there, and others are refused."""

from importlib import import_module

import pytest

from attnlab.analysis import first_use


@pytest.mark.parametrize("package", ["analysis", "analysis.figures", "papers.lab"])
def test_every_public_name_loads_from_the_module_that_is_said_to_hold_it(package):
    home = import_module(f"attnlab.{package}")
    assert home.__all__ == sorted(set(home.__all__)) and set(home.__all__) <= set(dir(home))
    for module, names in home._MODULES.items():
        place = import_module(module if module.startswith("attnlab.") else f"attnlab.{package}.{module}")
        assert all(getattr(home, name) is getattr(place, name) for name in names)
    with pytest.raises(AttributeError, match=f"module 'attnlab.{package}' has no attribute 'nonsense'"):
        home.nonsense  # noqa: B018


def test_modules_are_named_inside_the_package_or_whole():
    modules = {"judges.values": ("agrees",), "attnlab.analysis.judges.order": ("share", "ordered")}
    assert first_use.names(modules) == ["agrees", "ordered", "share"]
    assert first_use.load("attnlab.analysis", modules, "agrees").__module__ == "attnlab.analysis.judges.values"
    assert first_use.load("attnlab.analysis", modules, "share").__module__ == "attnlab.analysis.judges.order"
