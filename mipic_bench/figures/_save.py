"""Figures to files: the same figure gives the same bytes, whenever and wherever it is drawn."""

import io
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from mipic_bench.figures._style import RC

DPI = 200


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.png (200 dpi) and `stem`.svg, and return both paths."""
    png, svg = stem.parent / f"{stem.name}.png", stem.parent / f"{stem.name}.svg"
    svg_text = as_svg(figure)
    with rc_context(RC):
        figure.savefig(png, dpi=DPI, metadata={"Software": None}, pil_kwargs={"compress_level": 1})
    svg.write_text(svg_text, encoding="utf-8")
    return [png, svg]


def as_svg(figure: Figure) -> str:
    """The figure as SVG text: no date, and ids that depend on nothing but what is drawn."""
    text = io.StringIO()
    with rc_context(RC):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
