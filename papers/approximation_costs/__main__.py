"""``python -m attnlab.papers.approximation_costs --scale smoke``."""

from attnlab.papers.lab.commands.cli import main_of

if __name__ == "__main__":
    raise SystemExit(main_of(__package__))
