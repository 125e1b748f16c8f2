"""What files say is remembered by their bytes, and names that a package offers at first use lead to the modules behind them."""

import hashlib
import json
import os

import pytest

from attnlab.papers.lab.run import read_code
from attnlab.papers.lab.run.fingerprint import code_fingerprint, forget, modules_behind


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a process that has read nothing."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ATTNLAB_CACHE", str(folder))
    monkeypatch.setattr(read_code, "_known", None)
    monkeypatch.setattr(read_code, "_used", {})
    forget()
    yield folder
    forget()


def another_process(monkeypatch):
    monkeypatch.setattr(read_code, "_known", None)
    monkeypatch.setattr(read_code, "_used", {})
    forget()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes the files of a package into a folder on Python's path."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / "code" / (name.replace("__", "/", 1) + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(tmp_path / "code")
        forget()

    yield write
    forget()


def test_another_process_parses_only_what_has_changed(cache, package, monkeypatch):
    package(rc_one="import rc_two\n", rc_two="x = 1\n")
    parsed = []
    parse = read_code.ast.parse
    monkeypatch.setattr(read_code.ast, "parse", lambda text: parsed.append(text) or parse(text))
    first = code_fingerprint("rc_one")
    assert len(parsed) == 2
    another_process(monkeypatch)
    assert code_fingerprint("rc_one") == first and len(parsed) == 2
    package(rc_two="x = 2\n")
    assert code_fingerprint("rc_one") != first and parsed[2:] == [b"x = 2\n"]
    package(rc_two="x = 1\n")  # as it was: both are known
    assert code_fingerprint("rc_one") == first and len(parsed) == 3


@pytest.mark.parametrize("damage", ["torn", "another digest", "no JSON", "a folder"])
def test_a_damaged_cache_is_read_again_and_mended(cache, package, monkeypatch, damage):
    package(rc_one="import rc_two\n", rc_two="x = 1\n")
    first = modules_behind("rc_one")
    (path,) = (cache / "code").iterdir()
    whole = path.read_bytes()
    content = whole.partition(b"\n")[2]
    if damage == "torn":
        path.write_bytes(whole[:-9])
    elif damage == "another digest":  # a bit has flipped in what it says of a file
        entry = json.loads(content)
        key = next(iter(entry))
        entry[key][0] = "0" * 64
        path.write_bytes(whole[:65] + json.dumps(entry).encode())
    elif damage == "no JSON":
        path.write_bytes(hashlib.sha256(b"[]}").hexdigest().encode() + b"\n[]}")
    else:
        path.unlink()
        path.mkdir()
    another_process(monkeypatch)
    assert modules_behind("rc_one") == first
    assert damage == "a folder" or path.read_bytes() == whole


def test_what_others_could_write_is_not_read(cache, package, monkeypatch):
    package(rc_one="x = 1\n")
    first = code_fingerprint("rc_one")
    (path,) = (cache / "code").iterdir()
    content = json.dumps({key: ["0" * 64, [], [], {}, []] for key in read_code._used}).encode()
    path.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    another_process(monkeypatch)
    assert code_fingerprint("rc_one") != first  # it is believed
    (cache / "code").chmod(0o777)
    another_process(monkeypatch)
    assert code_fingerprint("rc_one") == first


def test_the_cache_does_not_grow_without_end(cache, package, monkeypatch):
    monkeypatch.setattr(read_code, "MOST", 2)
    package(rc_one="x = 1\n", rc_two="x = 2\n", rc_three="x = 3\n")
    for name in ("rc_one", "rc_two", "rc_three"):
        another_process(monkeypatch)
        code_fingerprint(name)
    (path,) = (cache / "code").iterdir()
    assert len(json.loads(path.read_bytes().partition(b"\n")[2])) == 1
    assert os.listdir(cache / "code") == [path.name]


LAZY = (
    "from importlib import import_module\ndef __getattr__(name):\n    return getattr(import_module(HOME[name]), name)\n"
)


@pytest.mark.parametrize(
    "door",
    [
        "MODULES = {'near': ('f', 'g'), 'far': ['h']}\nHOME = {n: f'rc_pack.{m}' for m, ns in MODULES.items() for n in ns}\n"
        + LAZY,
        "HOME = {'f': 'rc_pack.near', 'g': 'rc_pack.near', 'h': 'rc_pack.far'}\n" + LAZY,
    ],
    ids=["names by module", "modules by name"],
)
def test_a_name_that_a_package_offers_at_first_use_leads_to_its_module(package, door):
    near, far = "def f(x):\n    return x\ng = 1\n", "import rc_deep\nh = 2\n"
    package(rc_pack____init__=door, rc_pack__near=near, rc_pack__far=far, rc_deep="y = 1\n")
    package(
        rc_one="from rc_pack import f\n",
        rc_two="from rc_pack import h\n",
        rc_all="import rc_pack\n",
        rc_star="from rc_pack import *\n",
        rc_inside="import rc_pack.near as near\n",
    )
    assert set(modules_behind("rc_one")) == {"rc_one", "rc_pack", "rc_pack.near"}
    assert set(modules_behind("rc_two")) == {"rc_two", "rc_pack", "rc_pack.far", "rc_deep"}
    assert set(modules_behind("rc_all")) == {"rc_all", "rc_pack", "rc_pack.near", "rc_pack.far", "rc_deep"}
    assert set(modules_behind("rc_star")) == {"rc_star", "rc_pack", "rc_pack.near", "rc_pack.far", "rc_deep"}
    assert set(modules_behind("rc_inside")) == {"rc_inside", "rc_pack", "rc_pack.near"}
    before = code_fingerprint("rc_one"), code_fingerprint("rc_two")
    package(rc_deep="y = 2\n")
    assert code_fingerprint("rc_one") == before[0] and code_fingerprint("rc_two") != before[1]


def test_a_package_that_does_not_say_what_comes_from_where_counts_as_a_whole(package):
    package(rc_pack____init__="import lazy\n__getattr__ = lazy.attach(__name__)\n", rc_pack__near="f = 1\n")
    package(rc_one="from rc_pack import f\n", rc_inside="import rc_pack.near as near\nfrom rc_pack.near import f\n")
    package(rc_pack__far="h = 1\n")
    assert set(modules_behind("rc_one")) >= {"rc_pack.near", "rc_pack.far"}
    assert "rc_pack.far" not in modules_behind("rc_inside")


def test_the_code_that_judges_a_claim_has_the_judges_in_it():
    behind = modules_behind("attnlab.papers.gatv2_dynamic_attention.rankings_and_maps")
    assert {"attnlab.analysis.judges.exact", "attnlab.analysis.judges.values"} <= set(behind)
    assert "attnlab.analysis.judges.rates" not in behind
    assert "attnlab.analysis.figures.plate" in modules_behind("attnlab.papers.gatv2_dynamic_attention.figures")
    assert "attnlab.analysis.judges.exact" not in modules_behind("attnlab.simulators.graph_attention.lookup")


def test_a_package_beside_a_simulation_is_followed_into_its_modules(package):
    package(rc_pack____init__="from .core import f\nimport rc_pack.more\n", rc_pack__core="import rc_deep\nf = 1\n")
    package(
        rc_pack__more="",
        rc_deep="y = 1\n",
        rc_one="import rc_pack\n",
        rc_two="import rc_pack, numpy\nfrom scipy import stats\n",
    )
    inside = {"rc_pack", "rc_pack.core", "rc_pack.more", "rc_deep"}
    assert set(modules_behind("rc_one")) == {"rc_one", *inside}
    assert set(modules_behind("rc_two")) == {"rc_two", *inside, "numpy", "scipy"}


@pytest.mark.parametrize("name", ["weights.txt", "W.CSV", "rates.pt", "a b.tsv", "weights", "more/rates.toml"])
def test_files_that_a_users_module_names_count_whatever_their_ending(package, tmp_path, name):
    package(rc_one=f"def f():\n    return open({name!r}).read()\n")
    path = tmp_path / "code" / name
    path.parent.mkdir(exist_ok=True)
    seen = set()
    for text in ("1", "9"):
        path.write_text(text)
        forget()
        seen.add(code_fingerprint("rc_one"))
    assert len(seen) == 2


def test_tables_that_a_users_module_names_count_wherever_it_may_find_them(package, tmp_path):
    package(
        rc_one="import numpy as np\nfrom pathlib import Path\n"
        "def f():\n    return np.load(Path(__file__).parent / 'data' / 'rates.npy') + np.loadtxt('more.csv')\n",
        rc_two="x = 1\n",
    )
    code = tmp_path / "code"

    def found():
        forget()
        return code_fingerprint("rc_one"), code_fingerprint("rc_two")

    seen = [found()]
    (code / "data").mkdir()
    for path, text in {"data/rates.npy": "1", "more.csv": "2"}.items():
        (code / path).write_text(text)
        seen.append(found())
    (code / "data" / "rates.npy").write_text("3")
    seen.append(found())
    assert len({one for one, _ in seen}) == 4 and len({two for _, two in seen}) == 1
    for other in ("other.csv", "data/other.npy"):  # nobody names them
        (code / other).write_text("4")
    assert found() == seen[-1]
    (code / "more.csv").unlink()
    (code / "more.csv").mkdir()
    assert found()[0] not in {one for one, _ in seen[-2:]}
