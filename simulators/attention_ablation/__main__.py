"""``python -m attnlab.simulators.attention_ablation [SIMULATION] [KEY=VALUE ...]``."""

from attnlab.simulators.ensemble.simulation import main_of

if __name__ == "__main__":
    raise SystemExit(main_of(__package__))
