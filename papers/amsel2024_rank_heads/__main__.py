"""``python -m attnlab.papers.amsel2024_rank_heads --scale smoke``."""

from attnlab.papers.lab.commands.cli import main_of

if __name__ == "__main__":
    raise SystemExit(main_of(__package__))
