"""A figure as HTML: the picture on white ground, the caption under it."""

from __future__ import annotations

import base64
from html import escape

from attnlab.analysis.verdicts.html import FONT


def figure_html(png: bytes, caption: str, width: float = 44.0) -> str:
    """A picture with its caption, at most ``width`` rem wide."""
    picture = base64.b64encode(png).decode()
    return (
        f'<figure style="margin: 0.6rem 0; max-width: {width:g}rem"><img alt="{escape(caption, quote=True)}" '
        f'style="background: white; width: 100%" src="data:image/png;base64,{picture}">'
        f'<figcaption style="{FONT}; opacity: 0.8">{escape(caption)}</figcaption></figure>'
    )
