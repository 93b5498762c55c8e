"""Tables: frames with the way each column is printed, as Markdown, CSV, LaTeX (booktabs) and for the terminal.

A CSV holds the numbers as they are (fractions, full precision, interval ends and seed counts in columns of their own);
the printed forms hold quality and differences ×100, with the interval beside the number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, pick
from mipic_bench.results.folder import safe

if TYPE_CHECKING:
    from rich.console import Group

MISSING = "–"
_KINDS = ("text", "words", "integer", "score", "difference", "gain", "p", "number", "points", "percent")


@dataclass(frozen=True)
class Column:
    """How one column is printed.

    Args:
        key: the column of the frame.
        title: its heading.
        kind: "text", "words" (text that may be broken into lines), "integer", "p", "number" (three significant digits);
            of a fraction ×100: "score" and "percent" (one decimal), "difference" (signed, two decimals), "gain" (signed,
            one decimal), "points" (two decimals).
        low: the column with the lower end of the 95 % interval, if it has one.
        high: the column with the upper end.
    """

    key: str
    title: str
    kind: str = "text"
    low: str | None = None
    high: str | None = None

    @property
    def numeric(self) -> bool:
        """Whether the column is aligned and sorted as numbers."""
        return self.kind not in ("text", "words")


SCORE = Column("mean", "", "score", "low", "high")  # as sentences and charts print them
DIFFERENCE = Column("difference", "", "difference", "low", "high")


@dataclass(frozen=True)
class Table:
    """A frame and the way it is printed.

    Args:
        name: what the files are called (safe for a file name).
        title: the heading.
        frame: the values; columns beyond `columns` stand in the CSV alone.
        columns: what is printed, in order.
        note: a sentence under the table.
        best: (row position, column key) of the cells to emphasize.
    """

    name: str
    title: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    note: str = ""
    best: frozenset[tuple[int, str]] = field(default=frozenset())

    @cached_property
    def cells(self) -> list[list[str]]:
        """The printed text of every cell, row by row."""
        needed = {key for column in self.columns for key in (column.key, column.low, column.high) if key is not None}
        there = self.frame[[name for name in self.frame.columns if name in needed]]
        return [[printed(record, column) for column in self.columns] for record in records(there)]

    def csv(self) -> str:
        """The frame as CSV: every column, full precision, missing values empty."""
        return str(self.frame.to_csv(index=False, lineterminator="\n"))

    def markdown(self) -> str:
        """A GitHub table under its title; the emphasized cells are bold."""
        heads = [escaped(column.title) for column in self.columns]
        rules = ["---:" if column.numeric else "---" for column in self.columns]
        rows = [
            [f"**{escaped(text)}**" if self._is_best(row, place) else escaped(text) for place, text in enumerate(cells)]
            for row, cells in enumerate(self.cells)
        ]
        lines = [f"| {' | '.join(line)} |" for line in (heads, rules, *rows)]
        return (
            "\n".join([f"**{escaped(self.title)}**", "", *lines, *(["", escaped(self.note)] if self.note else [])])
            + "\n"
        )

    def latex(self) -> str:
        """A booktabs table with caption and label; needs the booktabs package alone."""
        form = "".join("r" if column.numeric else "l" for column in self.columns)
        head = " & ".join(_tex(column.title) for column in self.columns)
        lines = [
            " & ".join(
                f"\\textbf{{{_tex(text)}}}" if self._is_best(row, place) else _tex(text)
                for place, text in enumerate(cells)
            )
            for row, cells in enumerate(self.cells)
        ]
        caption = _tex(f"{self.title}. {self.note}" if self.note else self.title)
        top = ["\\begin{table}", "\\centering", f"\\caption{{{caption}}}", f"\\label{{tab:{self.name}}}"]
        body = [
            f"\\begin{{tabular}}{{{form}}}",
            "\\toprule",
            f"{head} \\\\",
            "\\midrule",
            *(f"{r} \\\\" for r in lines),
        ]
        return "\n".join([*top, *body, "\\bottomrule", "\\end{tabular}", "\\end{table}"]) + "\n"

    def _is_best(self, row: int, place: int) -> bool:
        return (row, self.columns[place].key) in self.best


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as dictionaries of plain Python values (`DataFrame.to_dict` takes ten times as long)."""
    names = list(frame.columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*(frame[name].tolist() for name in names), strict=True)]


def printed(record: Mapping[Any, Any], column: Column) -> str:
    """The text of one cell, with its interval where it has one."""
    value = record.get(column.key)
    text = number(value, column.kind)
    if column.low is None or column.high is None or text == MISSING:
        return text
    low, high = record.get(column.low), record.get(column.high)
    if _absent(low) or _absent(high):
        return text
    assert low is not None and high is not None and value is not None
    if column.kind != "difference" and abs((high - value) - (value - low)) < 5e-5:
        return f"{text} ± {number((high - low) / 2, column.kind)}"
    return f"{text} [{number(low, column.kind)}, {number(high, column.kind)}]"


def number(value: Any, kind: str) -> str:
    """The text of a value of a kind of column."""
    if kind not in _KINDS:
        raise ValueError(f"unknown kind of column '{kind}', known: {', '.join(_KINDS)}")
    if _absent(value):
        return MISSING
    if kind == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    forms = {
        "score": (100, ".1f"),
        "difference": (100, "+.2f"),
        "gain": (100, "+.1f"),
        "points": (100, ".2f"),
        "percent": (100, ".1f"),
        "integer": (1, ",.0f"),
    }
    if kind in forms:
        scale, form = forms[kind]
        text = format(scale * value, form)
        zero = not text.strip("+-0.,")  # a rounded -0.00 has no sign
        return text.lstrip("+-") if zero else text.replace("-", "−")
    return str(value) if kind in ("text", "words") else significant(float(value))


def in_order(view: View, frame: pd.DataFrame, *then: str) -> pd.DataFrame:
    """A frame by family and method as everywhere (`View.metrics`, `View.methods`), then by other columns."""
    places = {"family": {name: at for at, name in enumerate(view.metrics)}}
    places["method"] = {name: at for at, name in enumerate(view.every_method)}
    keys = [frame[name].astype(str).map(places[name]).rename(name) for name in places if name in frame]
    keys += [frame[name] for name in then]
    order = pd.concat(keys, axis=1).reset_index(drop=True)
    return frame.iloc[order.sort_values(list(order.columns), kind="stable").index].reset_index(drop=True)


def significant(value: float) -> str:
    """Three significant digits without an exponent, thousands separated."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{digits}f}"


def _absent(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and bool(np.isnan(value)))


def escaped(text: str) -> str:
    """Text that Markdown prints as it stands, also inside a table, and that no browser takes for HTML."""
    for char in "\\`*_[]":
        text = text.replace(char, "\\" + char)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|").replace("\n", " ")


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "|": r"$|$",
    "±": r"$\pm$", "−": r"$-$", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "–": "--", "·": r"$\cdot$", "→": r"$\to$",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(_TEX.get(char, char) for char in text.replace("\n", " "))


def budget_tables(
    view: View,
    methods: Sequence[str] | None = None,
    settings: Sequence[Setting] | None = None,
    precision: str = "float32",
) -> list[Table]:
    """The layer x dim table of every setting, family and method in one precision: layers down, widths across.

    Args:
        view: the rows.
        methods: those to show; all of them, swept values too, unless said.
        settings: those to show; all of them unless said.
        precision: of the vectors.

    Returns:
        Tables whose frames hold a column per width (the mean over the family's tasks, then over seeds, as a fraction) and
        after those `<dim>_low`, `<dim>_high`, `<dim>_seeds`.
    """
    tables = []
    for setting in view.settings if settings is None else settings:
        points = pick(view.estimates, setting, precision=precision)
        for family in view.families(setting):
            part = points[points["family"] == family]
            for method in view.every_method if methods is None else methods:
                own = part[part["method"] == method]
                if len(own):
                    tables.append(_budget_table(view, setting, family, method, own))
    return tables


def _budget_table(view: View, setting: Setting, family: str, method: str, own: pd.DataFrame) -> Table:
    wide = own.pivot(index="layer", columns="dim", values=["mean", "low", "high", "seeds"])
    dims, means = list(wide["mean"].columns), wide["mean"].to_numpy()
    numbers = {"layer": wide.index.to_numpy()} | {str(dim): means[:, place] for place, dim in enumerate(dims)}
    extra = {f"{dim}_{name}": wide[(name, dim)].to_numpy() for dim in dims for name in ("low", "high", "seeds")}
    frame = pd.DataFrame(numbers | extra)
    widths = (Column(str(dim), str(dim), "score", f"{dim}_low", f"{dim}_high") for dim in dims)
    columns = (Column("layer", "layer", "integer"), *widths)
    row, place = np.unravel_index(int(np.nanargmax(means)), means.shape)
    tasks, seeds = int(own["tasks"].max()), int(own["seeds"].max())
    name = view.metric_title(family)
    note = f"{name[:1].upper()}{name[1:]} ×100, mean of {tasks} task{'s' * (tasks > 1)}"
    note += f" and {seeds} seeds (± 95 % interval over seeds)" if seeds > 1 else ""
    note += f"; best {number(means[row, place], 'score')} at layer {wide.index[row]}, dim {dims[place]}."
    trained = view.trained_dims(method, setting.backbone)
    unseen = [str(dim) for dim in dims if len(trained) > 1 and dim not in trained]
    note += f" Not trained at: {', '.join(unseen)}." if unseen else ""
    [precision] = own["precision"].unique()
    stored = "" if precision == "float32" else f"--{safe(str(precision))}"
    where = setting._replace(corpus="") if method in view.without_corpus else setting
    title = f"{family} · {method} · {where.title}" + (f" · {precision}" if stored else "")
    best = frozenset({(int(row), str(dims[place]))})
    return Table(f"budgets--{setting.slug}--{safe(family)}--{safe(method)}{stored}", title, frame, columns, note, best)


def terminal(table: Table, width: int = 80) -> "Group":
    """A table for the terminal, split into blocks of columns where one block would be wider than `width` characters.

    The first column stands in every block. Returns something rich can print.
    """
    from rich.console import Group
    from rich.text import Text

    cells = [[text.replace(" ± ", "±") for text in line] for line in table.cells]
    wide = [max(map(len, (column.title, *texts))) for column, *texts in zip(table.columns, *cells, strict=True)]
    blocks, used = [[0]], wide[0]
    for place in range(1, len(wide)):
        if used + wide[place] + 2 > width and len(blocks[-1]) > 1:
            blocks.append([0])
            used = wide[0]
        blocks[-1].append(place)
        used += wide[place] + 2
    parts: list[Any] = [Text(table.title, style="bold")]
    parts += [_rich(table, cells, block) for block in blocks]
    return Group(*parts, *([Text(table.note, style="dim")] if table.note else []))


def _rich(table: Table, cells: list[list[str]], block: list[int]) -> Any:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    out = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1), show_edge=False)
    for place in block:
        column = table.columns[place]
        out.add_column(column.title, justify="right" if column.numeric else "left", no_wrap=True)
    for row, line in enumerate(cells):
        texts = [Text(line[place], style="bold green" if table._is_best(row, place) else "") for place in block]
        out.add_row(*texts)
    return out
