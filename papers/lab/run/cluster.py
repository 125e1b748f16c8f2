"""The workers of a Dask cluster (extra ``cluster``)."""

from __future__ import annotations

from typing import Any

from attnlab.papers.lab.errors import UsageError


class Cluster:
    def __init__(self, address: str, display: Any) -> None:
        raise UsageError("--on needs the extra 'cluster': pip install 'attnlab[cluster]'")
