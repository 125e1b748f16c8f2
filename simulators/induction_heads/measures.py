"""What is read off a network on the way to in-context learning: accuracies on three tests, and progress measures.

Reddy 2024 (arXiv 2312.03002), section 2. The three tests hold sequences of novel classes (*context*: the label is only in
the context), of training classes whose labels are all moved on by one (*shifted*: what the weights know is wrong), and of
independent training classes (*weights*: the target is rarely in the context).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.tasks.labelled_items import ClassificationTask, Sequences


def draw_tests(
    task: ClassificationTask,
    n_test: int,
    seeds: Sequence[np.random.SeedSequence],
    dtype: torch.dtype,
    device: str = "cpu",
) -> dict[str, Sequences]:
    """``n_test`` fresh sequences per replica of each of the tests ``context``, ``shifted``, ``weights``.

    The first two are bursty with the task's burstiness and distinct labels.
    """
    bursty = replace(task, batch=n_test, p_bursty=1.0, p_novel=0.0, distinct_labels=True)
    laws = {
        "context": replace(bursty, p_novel=1.0),
        "shifted": replace(bursty, label_shift=1),
        "weights": replace(bursty, p_bursty=0.0),
    }
    found = {}
    for name, law in laws.items():
        numbers = torch.empty(len(seeds), law.numbers_per_step, dtype=dtype)
        for row, stream in enumerate(random_streams.generators(seeds, f"test {name}")):
            law.fill(numbers[row : row + 1], stream)
        test = law.sequences(numbers)
        found[name] = Sequences(*(getattr(test, each.name).to(device) for each in fields(test)))
    return found


@dataclass(frozen=True, eq=False, kw_only=True)
class Watched:
    """Mixed into a model with ``forward(parameters, contents, start) -> logits, layer 1, layer 2``: its tests, one set a
    replica, and what they show."""

    tests: dict[str, Sequences]

    def part(self, rows: slice) -> Watched:
        return replace(
            self,
            tests={
                name: Sequences(*(getattr(test, each.name)[rows] for each in fields(test)))
                for name, test in self.tests.items()
            },
        )

    def observe(self, parameters: Parameters) -> dict[str, Tensor]:
        """``accuracy_context``, ``accuracy_shifted``, ``accuracy_weights`` and the :func:`progress` on the first test."""
        found = {}
        for name, test in self.tests.items():
            logits, first, second = self.forward(parameters, test.contents, test.start)
            found[f"accuracy_{name}"] = (logits.argmax(-1) == test.label).double().mean(-1)
            if name == "context":
                found |= progress(logits, first, second, test)
        return found

    def attention(self, parameters: Parameters) -> dict[str, Tensor]:
        """Mean attention on the first test: ``layer_1 (replica, token, token)``, and ``layer_2 (replica, n_context,
        token)`` of the target given which item it matches."""
        test = self.tests["context"]
        _, first, second = self.forward(parameters, test.contents, test.start)
        weight = test.match.to(second.dtype)
        given = weight.mT @ second / weight.sum(1)[..., None].clamp_min(1)
        return {"layer_1": first.mean(1), "layer_2": given}


def progress(logits: Tensor, first: Tensor, second: Tensor, test: Sequences) -> dict[str, Tensor]:
    """The progress measures, ``(replica,)`` each.

    ``item_attention`` (ILA1): layer 1, label to its own item. ``match_attention`` (TILA2): layer 2, target to the labels
    of the items of its class; ``label_attention`` (TLA2): to all labels. ``context_mass`` (CLA): predicted probability of
    the labels in the context, repeated labels counted once; ``context_share``: share of predictions (largest logit) that
    are labels in the context. ``test_loss``: cross-entropy.
    """
    log_shares = torch.log_softmax(logits.double(), dim=-1)
    present = torch.zeros_like(log_shares).scatter(2, test.context_labels, 1.0)
    places = torch.arange(1, second.shape[-1], 2, device=second.device)
    to_labels = second[..., places].double()  # (replica, batch, n_context)
    return {
        "item_attention": first[:, :, places, places - 1].double().mean((1, 2)),
        "match_attention": (to_labels * test.match).sum(-1).mean(-1),
        "label_attention": to_labels.sum(-1).mean(-1),
        "context_mass": (log_shares.exp() * present).sum(-1).mean(-1),
        "context_share": present.gather(2, logits.argmax(-1, keepdim=True)).mean((1, 2)),
        "test_loss": -log_shares.gather(2, test.label[..., None]).mean((1, 2)),
    }
