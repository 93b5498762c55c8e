"""Figures: one part per file. To add one, put a file here that defines one `Drawing`; nothing else is edited.

A drawing gets a `View` (rows and what is derived from them) and a `Style` (how each method looks, bound once) and
yields matplotlib figures by name, drawn with matplotlib's object interface only. It is found by its file's name, drawn
by `run` (where `for_run` is true) and `report`, and checked by the contract tests.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from mipic_bench import registry
from mipic_bench.analysis.quality import View
from mipic_bench.results import commit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mipic_bench.figures._style import Style


class Drawing(ABC):
    """One kind of figure.

    Attributes:
        title: what the figure shows, a few words.
        caption: how to read it, one or two sentences.
        needs: what has to be there for it to be drawn, a sentence that the report says when it is not.
        order: place in a report, ascending.
        for_run: drawn at the end of `run`, not only in reports.
    """

    title: ClassVar[str]
    caption: ClassVar[str]
    needs: ClassVar[str]
    order: ClassVar[int]
    for_run: ClassVar[bool] = False

    @abstractmethod
    def draw(self, view: View, style: "Style") -> "Iterator[tuple[str, Figure]]":
        """Yield every figure of this kind with what it is of (a setting's slug, a family; safe for a file name).

        The name starts with the slug of the setting it belongs to. Nothing to show is no figure, not an error.
        """


def drawings() -> dict[str, type[Drawing]]:
    """Every kind of figure: name -> class, in the order of a report."""
    import mipic_bench.figures as package

    parts = registry.leaves(package, Drawing)  # type: ignore[type-abstract]
    return dict(sorted(parts.items(), key=lambda part: (part[1].order, part[0])))


def draw_each(
    view: View, style: "Style", parts: Mapping[str, type[Drawing]] | None = None
) -> "Iterator[tuple[str, str, Figure]]":
    """Yield (kind, file stem, figure) for everything there is to draw, or for some kinds of it."""
    from matplotlib import rc_context

    from mipic_bench.figures._style import RC

    for name, part in (drawings() if parts is None else parts).items():
        drawn = part().draw(view, style)
        while True:
            with rc_context(RC):  # held while a figure is made, not while the caller uses it
                made = next(drawn, None)
            if made is None:
                break
            yield name, f"{name.replace('_', '-')}--{made[0]}", made[1]


def draw_all(rows: pd.DataFrame, provenance: Mapping[str, Mapping[str, Any]], out_folder: Path) -> list[Path]:
    """Draw the figures meant for the end of a run as PNG (200 dpi) and SVG files; equal rows give equal bytes.

    Args:
        rows: rows with the columns of `mipic_bench.results.rows.COLUMNS`.
        provenance: run name -> provenance; may be empty.
        out_folder: where the files go; made when it is not there.

    Returns:
        The files written, PNG before SVG of each figure.
    """
    from mipic_bench.figures._save import save
    from mipic_bench.figures._style import Style, bind

    view = View(rows, provenance)
    style = Style(bind(view), default_reference(view))
    parts = {name: part for name, part in drawings().items() if part.for_run}
    commit.make(out_folder)
    return [path for _, stem, figure in draw_each(view, style, parts) for path in save(figure, out_folder / stem)]


def default_reference(view: View) -> str | None:
    """The method that others are compared with unless another is asked for.

    Plain MRL where it is there, else full-width training, else the untrained model, else the first method.
    """
    return next(
        (name for name in ("mrl", "full", "pretrained") if name in view.methods), next(iter(view.methods), None)
    )
