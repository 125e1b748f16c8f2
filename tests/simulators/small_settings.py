"""Settings small enough to run every simulation that declares CUDA in a few seconds."""

from dataclasses import replace

#: Fields that make a setting small, where it has them.
SMALL = {
    "n_steps": 3,
    "n_records": 2,
    "batch": 4,
    "n_test": 10,
    "n_train": 12,
    "snapshot_steps": (1, 2),
    "test_lengths": (10, 20),
    "n_states": 8,
    "n_shown": 3,
    "n_examples": 8,
    "hidden": 4,
}
#: More of them for single simulations.
SMALLER = {
    "particle_flow.splitting_errors": {"depths": (1,), "schemes": ("macaron midpoint",), "reference_steps": 64},
    "particle_flow_structure.merged_stacks": {"depths": (2,)},
    "particle_flow_structure.time_dependent_errors": {"depths": (2,)},
    "particle_flow_stacks.train_stacks": {"depths": (2,)},
}


def small(run):
    setting = run.setting_type()
    return replace(setting, **{k: v for k, v in (SMALL | SMALLER.get(run.name, {})).items() if hasattr(setting, k)})
