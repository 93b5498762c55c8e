"""Figures to files: the same figure gives the same bytes, whenever and wherever it is drawn."""

import io
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from mipic_bench.figures._style import RC
from mipic_bench.results import commit

DPI = 200


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.png (200 dpi) and `stem`.svg, and return both paths.

    Raises:
        UserError: the folder or the disk does not take them.
    """
    png, svg = stem.parent / f"{stem.name}.png", stem.parent / f"{stem.name}.svg"
    svg_text, pixels = as_svg(figure), io.BytesIO()
    with rc_context(RC):
        figure.savefig(pixels, format="png", dpi=DPI, metadata={"Software": None}, pil_kwargs={"compress_level": 1})
    commit.write(png, pixels.getvalue(), sync=False)
    commit.write(svg, svg_text.encode(), sync=False)
    return [png, svg]


def as_svg(figure: Figure) -> str:
    """The figure as SVG text: no date, and ids that depend on nothing but what is drawn."""
    text = io.StringIO()
    with rc_context(RC):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
