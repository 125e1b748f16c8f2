"""The documentation site: builds without a warning, and opens from the disk in a browser: formulas, figures, search, no network."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; ``ATTNLAB_SITE`` names one that is built already."""
    built = os.environ.get("ATTNLAB_SITE")
    if built:
        return Path(built)
    for package in ("sphinx", "myst_parser", "furo", "sphinx_gallery", "sphinxcontrib.bibtex"):
        pytest.importorskip(package, reason="extra docs")
    target = tmp_path_factory.mktemp("site") / "html"
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return target


@pytest.fixture(scope="module")
def browse(site, tmp_path_factory):
    """Open a page headless, with every name unresolvable; returns its DOM, the requests it made, and a screenshot."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    folder = tmp_path_factory.mktemp("browser")

    def open_page(page, *, width=1300, dark=False):
        log, picture = folder / "net.json", folder / "page.png"
        options = [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000",
            f"--window-size={width},1200", "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}",
            "--allow-file-access-from-files", *(["--blink-settings=preferredColorScheme=0"] if dark else []),
        ]  # fmt: skip
        address = f"file://{site}/{page}"
        dom = subprocess.run(
            [*options, f"--log-net-log={log}", "--dump-dom", address], capture_output=True, text=True, timeout=180
        ).stdout
        subprocess.run([*options, f"--screenshot={picture}", address], capture_output=True, timeout=180)
        from matplotlib.image import imread

        return dom, requests(log), imread(picture)[..., :3]

    return open_page


def requests(log):
    """Addresses of the net log that a page asked for, beyond the browser's own housekeeping."""
    text = log.read_text(encoding="utf-8", errors="replace").rstrip().rstrip(",")
    record = json.loads(text if text.endswith("}") else text + "]}")
    asked = {event.get("params", {}).get("url", "") for event in record["events"]}
    own = ("google", "gstatic", "chrome", "googleapis", "gvt1")
    return {url for url in asked if url.startswith("http") and not any(word in url.split("/")[2] for word in own)}


def test_the_landing_page_shows_its_picture_and_both_commands_and_asks_for_nothing(browse):
    dom, asked, picture = browse("index.html")
    text = re.sub(r"<[^>]+>", "", dom)
    assert "make reproduce" in text and "make test" in text and "risk_of_trained_models.png" in dom
    assert not asked
    coloured = (picture.max(-1) - picture.min(-1) > 0.25).mean()
    assert coloured > 1e-3  # the figure's lines


def test_formulas_are_typeset_without_a_network(browse):
    dom, asked, _ = browse("api/attnlab.theory.softmax_attention.html")
    assert dom.count("<mjx-container") > 3 and "<svg" in dom and not asked
    assert "\\begin" not in dom.split("</head>")[1].split("mjx-container")[0]


def test_search_finds_a_page(browse):
    dom, asked, _ = browse("search.html?q=lipschitz")
    assert ("api/attnlab" in dom and "search-result" in dom) or ('class="search"' in dom and "matching" in dom)
    assert not asked


def test_a_figure_of_the_gallery_is_there(browse, site):
    page = next((site / "examples_executed").glob("example_*.html"))
    dom, asked, picture = browse(f"examples_executed/{page.name}")
    assert "sphx_glr" in dom and not asked and (picture.max(-1) - picture.min(-1) > 0.25).any()


@pytest.mark.parametrize("width", [1300, 500])
@pytest.mark.parametrize("dark", [False, True])
def test_pages_read_in_light_and_dark_wide_and_narrow(browse, width, dark):
    _, _, picture = browse("howto/reading_a_verdict.html", width=width, dark=dark)
    ground, ink = np.median(picture, axis=(0, 1)).mean(), picture.mean(-1)
    assert bool(ground < 0.3) is dark
    assert ((ink > 0.6) if dark else (ink < 0.4)).mean() > 0.005  # text that stands off its ground


def test_every_public_module_has_a_page(site):
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    for name in (
        "attnlab.theory.softmax_attention.entropy",
        "attnlab.papers.lab.python.calls",
        "attnlab.analysis.judges.values",
    ):
        assert f'id="module-{name}"' in text
