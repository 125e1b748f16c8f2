"""Pictures of the gallery: the plates that a block of an example leaves behind."""

from __future__ import annotations

from typing import Any

from sphinx_gallery.scrapers import figure_rst

from attnlab.analysis.figures import Plate


def scraper(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save every :class:`Plate` that was made since the last block; its caption stands under it."""
    shown = block_vars["example_globals"].setdefault("__shown_plates__", set())
    paths, captions = [], []
    for value in list(block_vars["example_globals"].values()):
        if isinstance(value, Plate) and id(value) not in shown:
            shown.add(id(value))
            path = block_vars["image_path_iterator"].next()
            folder, _, name = str(path).rpartition("/")
            value.save(folder, name.removesuffix(".png"))
            paths.append(str(path))
            captions.append(value.caption)
    rst = figure_rst(paths, gallery_conf["src_dir"])
    return rst + "".join(f"\n*{caption}*\n\n" for caption in captions if caption)
