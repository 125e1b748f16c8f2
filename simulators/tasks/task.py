"""The protocol of tasks: what a task is asked for by the trainer, whatever the model.

A task is a law of sequences and a loss. It draws nothing of its own: the trainer asks how many numbers one replica uses in
one step (``numbers_per_step``), lets ``fill`` draw them from the replica's own stream, and hands them to ``loss``. So what a
replica sees depends on its seed only, whoever is trained beside it.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters


class Task(Protocol):
    """What the trainer asks of a task.

    ``numbers_per_step``: random numbers that one replica uses in one step; 0 for a population loss. A task that holds numbers
    per replica (tables, noise levels, moments) also has ``part(rows)``, the task of those replicas; one without serves all.
    """

    @property
    def numbers_per_step(self) -> int:
        """Random numbers that one replica uses in one step."""

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        """Draw the random numbers ``(step, numbers_per_step)`` of one replica in place."""

    def loss(self, model: Any, parameters: Parameters, numbers: Tensor | None) -> Tensor:
        """The loss ``(replica,)`` on the batch made of ``numbers (replica, numbers_per_step)``, which it may change."""

    def largest_array(self, model: Any) -> int:
        """Entries of the largest array that one replica needs for one step."""
