"""``python -m attnlab.simulators.task_matrix cell task=offset``."""

from attnlab.simulators.ensemble.simulation import main_of

if __name__ == "__main__":
    raise SystemExit(main_of(__package__))
