"""Which results folder is meant."""

from __future__ import annotations

import os
from pathlib import Path


def default_folder() -> Path:
    """``ATTNLAB_HOME`` if set, else ``./attnlab-results``."""
    return Path(os.environ.get("ATTNLAB_HOME") or "attnlab-results")
