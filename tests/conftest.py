"""Settings of the whole suite."""

from hypothesis import settings

# The same examples on every run, and no time limit for one of them: a busy machine must not fail a true property.
settings.register_profile("attnlab", deadline=None, derandomize=True)
settings.load_profile("attnlab")
