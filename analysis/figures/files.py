"""Write a figure and its data so that every run gives the same bytes.

A PDF carries a creation date, an SVG a date and random ids, a PNG the version of the software: all are left out or
fixed (the hash salt of the SVG is part of the style). Text is embedded as Type 42 fonts in PDF, which journals accept,
and as outlines in SVG, which look alike where the font is missing. Captions go along as metadata for screen readers.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure

from attnlab.analysis.figures.marks import Mark, as_csv
from attnlab.analysis.writing import fault_point, write_atomically


def write_figure(
    figure: Figure, marks: Iterable[Mark], folder: Path, name: str, title: str = "", caption: str = ""
) -> list[Path]:
    """``name.png``, ``name.pdf``, ``name.svg``, ``name.csv`` in ``folder``, each complete or absent."""
    fault_point("figure drawn")
    title, caption = title or name, caption or title or name
    contents = {
        "png": rendered(figure, "png", {"Software": None, "Title": title, "Description": caption}),
        "pdf": rendered(figure, "pdf", {"CreationDate": None, "Title": title, "Subject": caption}),
        "svg": rendered(figure, "svg", {"Date": None, "Title": title, "Description": caption}),
        "csv": as_csv(marks).encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for ending, content in contents.items():
        path = folder / f"{name}.{ending}"
        write_atomically(path, content)
        paths.append(path)
    return paths


def rendered(figure: Figure, ending: str, metadata: dict[str, str | None]) -> bytes:
    """The file as bytes; None takes out what matplotlib would say by itself."""
    out = io.BytesIO()
    figure.savefig(out, format=ending, metadata=metadata)
    return out.getvalue()
