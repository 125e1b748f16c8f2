"""A small part of the campaign, as a test; ``make campaign`` runs the whole."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the campaign forks and reads /proc")
def test_every_kind_of_fault_leaves_whole_results_and_a_sentence():
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaign.campaign", "--share", "0.03"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("| none |") == 9
