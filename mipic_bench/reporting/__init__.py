"""The report: one self-contained page, its text as Markdown, every table and every figure as files of their own.

It is derived from rows and provenance alone: deleting it loses nothing, and equal input gives equal bytes.

A section is one file here that defines one `Section`; it is found by its file's name. It yields blocks (a sentence, a
table, a figure) and knows nothing of HTML; a setting (backbone, corpus, protocol) on a block lets the page show one at
a time. Tables come out as CSV, Markdown and LaTeX by themselves.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from markupsafe import Markup

from mipic_bench import errors, figures, registry
from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting
from mipic_bench.analysis.tables import Table
from mipic_bench.figures._style import Style, bind


@dataclass(frozen=True)
class Block:
    """A piece of a section. `setting` is what it is about, or None for all."""

    setting: Setting | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Prose(Block):
    """A paragraph; `note` prints it small."""

    text: str
    note: bool = False


@dataclass(frozen=True)
class Bullets(Block):
    """A list of sentences."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Words(Block):
    """Sentences for the Markdown form alone, where the page says the same in a livelier form."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Shown(Block):
    """A table; a closed one is behind its title until it is opened, and None leaves it to the files."""

    table: Table
    open: bool | None = True


@dataclass(frozen=True)
class Drawn(Block):
    """Every figure of one kind (a file of `mipic_bench/figures`) in the block's setting.

    `inline` false leaves it to the files, where the page has a livelier form of the same figure.
    """

    kind: str
    inline: bool = True


@dataclass(frozen=True)
class Live(Block):
    """Markup of the page that has no Markdown form (a chart that can be hovered)."""

    markup: Markup


@dataclass(frozen=True)
class Picture:
    """A drawn figure: where its files are, and its text for the page."""

    kind: str
    stem: str
    title: str
    svg: str


@dataclass(frozen=True)
class Material:
    """What sections are made from.

    Attributes:
        view: the rows and what is derived from them.
        style: the look of every method, the reference and the highlighted method.
    """

    view: View
    style: Style

    @cached_property
    def comparison(self) -> pd.DataFrame:
        """Our rows beside published ones, as `mipic-bench compare` writes them; empty where none were given."""
        if self.view.published is None:
            return pd.DataFrame()
        from mipic_bench.analysis.compare import compare  # it needs more than a report without baselines does

        # sorted: a mean must not change in its last digit with the order in which runs were read
        rows = self.view.given.sort_values(["run", "task", "metric", "precision", "layer", "dim"])
        return compare(rows, self.view.published, self.view.every_record)

    @cached_property
    def reference(self) -> str:
        """The method that differences are taken from."""
        return self.style.reference or self.view.methods[0]


class Section(ABC):
    """One part of a report.

    Attributes:
        title: its heading.
        order: its place, ascending.
    """

    title: ClassVar[str]
    order: ClassVar[int]

    @abstractmethod
    def blocks(self, material: Material) -> Iterator[Block]:
        """Yield what the section says, in order; a section that yields nothing is left out."""


def sections() -> dict[str, type[Section]]:
    """Every section: name -> class, in order."""
    import mipic_bench.reporting as package

    parts = registry.leaves(package, Section)  # type: ignore[type-abstract]
    return dict(sorted(parts.items(), key=lambda part: part[1].order))


def build(
    rows: pd.DataFrame,
    provenance: Mapping[str, Mapping[str, Any]],
    out: Path,
    *,
    reference: str | None = None,
    baselines: pd.DataFrame | None = None,
    profile: pd.DataFrame | None = None,
    highlight: str | None = None,
) -> Path:
    """Write a report: `index.html`, `report.md`, `tables/*.{csv,md,tex}`, `figures/*.{png,svg}`.

    Args:
        rows: of finished runs.
        provenance: run name -> provenance, as far as it is known.
        out: the report's folder; files in it are written over, others are left alone.
        reference: the method that differences are taken from; None lets `figures.default_reference` choose.
        baselines: published numbers, as `baselines.load` returns them.
        profile: cost per budget, columns backbone, layer, dim, precision and any of `figures.pareto.COSTS`.
        highlight: the method that stands out when the page is opened.

    Returns:
        The path of `index.html`.

    Raises:
        UserError: a reference or highlight that was not scored.
    """
    from mipic_bench.reporting import _write

    view = View(rows, provenance, profile=profile, published=baselines)
    asked = {"--reference": reference, "--highlight": highlight}
    wrong = {where: name for where, name in asked.items() if name and name not in view.every_method}
    errors.raise_all([errors.unknown("method", name, view.every_method, where) for where, name in wrong.items()])
    style = Style(bind(view), reference or figures.default_reference(view), highlight)
    return _write.write(Material(view, style), out)
