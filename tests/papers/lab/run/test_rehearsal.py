"""``--dry-run``: blocks that are missing, seconds from those that are kept, nothing run and no folder made."""

import pytest

from attnlab.papers.lab.run.rehearsal import likely_seconds


class Simulation:
    reads = ("n_steps", "dim", "colour")


class Setting:
    n_steps, dim, colour = 400, 5, "red"


def test_seconds_scale_with_the_sizes_and_the_nearest_block_counts():
    known = [({"n_steps": 100, "dim": 5, "colour": "red"}, 2.0), ({"n_steps": 4, "dim": 5, "colour": "red"}, 1.0)]
    assert likely_seconds(Simulation, Setting, known) == pytest.approx(8.0)
    assert likely_seconds(Simulation, Setting, []) is None


@pytest.mark.slow
def test_a_dry_run_counts_blocks_and_runs_nothing(cli, tmp_path):
    out = tmp_path / "results"
    status, result, err = cli("reproduce", "toy2026", "--scale", "smoke", "--dry-run", "--workers", 1, "--json")
    (row,) = result["dry_run"]["simulations"]
    assert status == 0 and row["simulation"] == "toy.walk" and row["blocks"] >= 4 and row["unknown"] == row["blocks"], (
        err
    )
    assert not out.exists()
    cli("reproduce", "toy.drift", "--scale", "smoke", "--workers", 1)
    status, text, _ = cli("reproduce", "toy.drift", "--scale", "smoke", "--dry-run", "--workers", 1)
    assert status == 0 and "everything is in the store" in text
    status, text, _ = cli("reproduce", "toy.drift", "n_steps=20", "--scale", "smoke", "--dry-run", "--workers", 1)
    assert "2 blocks to run" in text and "core-seconds" in text
    assert cli("reproduce", "toy.drift", "drfit=2", "--dry-run")[0] == 2
