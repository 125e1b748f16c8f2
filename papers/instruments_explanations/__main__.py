"""``python -m attnlab.papers.instruments_explanations --scale smoke``."""

from attnlab.papers.lab.commands.cli import main_of

if __name__ == "__main__":
    raise SystemExit(main_of(__package__))
