"""The page and its Markdown form: the same blocks, printed twice."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mipic_bench import figures
from mipic_bench.analysis import tables
from mipic_bench.analysis.selection import Setting
from mipic_bench.figures._style import FAINT, INK, PALETTE, UNTRAINED
from mipic_bench.reporting import Bullets, Drawn, Live, Material, Picture, Prose, Shown, Words

if TYPE_CHECKING:
    from mipic_bench.reporting._write import Filled

Pictures = Mapping[tuple[str, Setting | None], list[Picture]]
_PIXELS = 1.5  # of the page per point: a little larger than on paper
_HUES = {hue.lower(): f"var(--m{place})" for place, hue in enumerate(PALETTE)}
_HUES |= {UNTRAINED.lower(): "var(--mu)", INK.lower(): "var(--ink)", FAINT.lower(): "var(--line)"}
_HUES |= {"#ffffff": "var(--paper)", "#555555": "var(--soft)"}


def html(material: Material, sections: "Sequence[Filled]", pictures: Pictures) -> str:
    """The whole page as text. Nothing in it is fetched from anywhere, and all text of users is escaped."""
    loader = PackageLoader("mipic_bench.reporting", "templates")
    env = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    env.tests["instance"] = lambda block, name: type(block).__name__ == name
    source = {name: Markup(loader.get_source(env, name)[0]) for name in ("page.css", "page.js")}
    return env.get_template("page.html").render(
        material=material,
        view=material.view,
        style=material.style,
        sections=sections,
        pictures=pictures,
        parts=figures.drawings(),
        css=source["page.css"],
        js=source["page.js"],
        inline=inline,
        rows_of=rows_of,
        highlight=material.style.highlight or "",
        summary=summary(material),
        runs=material.view.rows["run"].nunique(),
    )


def summary(material: Material) -> str:
    """What the report is over, in one line."""
    view = material.view
    seeds = sorted({int(seed) for seed in view.rows["seed"].astype(str).unique() if seed})
    tasks = view.scores["task"].nunique()
    parts = [
        f"{len(view.methods)} method{'s' * (len(view.methods) != 1)}",
        f"{tasks} task{'s' * (tasks != 1)}",
        *([f"{len(seeds)} seeds" if len(seeds) > 1 else "one seed"] if seeds else []),
        view.settings[0].title if len(view.settings) == 1 else f"{len(view.settings)} settings",
    ]
    return " · ".join(parts)


def rows_of(table: tables.Table) -> list[tuple[str | None, list[tuple[tables.Column, str, Any, bool]]]]:
    """A table for the template: per row the method it is about, and per cell its column, text, sort value and emphasis."""
    lines = tables.records(table.frame)
    rows = []
    for place, (record, texts) in enumerate(zip(lines, table.cells, strict=True)):
        cells = [
            (column, text, _sortable(record.get(column.key)), (place, column.key) in table.best)
            for column, text in zip(table.columns, texts, strict=True)
        ]
        rows.append((record.get("method"), cells))
    return rows


def _sortable(value: Any) -> str:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return ""
    return "" if number != number else f"{number:.6g}"


def inline(picture: Picture) -> Markup:
    """A drawn figure as part of the page: in the page's colors, its methods marked for highlighting."""
    svg = picture.svg[picture.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'id="method:([^"]*)"', r'data-method="\1"', svg)
    svg = re.sub(r"#[0-9a-fA-F]{6}\b", lambda hue: _HUES.get(hue[0].lower(), hue[0]), svg)
    prefix = re.sub(r"[^A-Za-z0-9]", "-", picture.stem)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{prefix}-", svg)
    svg = re.sub(
        r'(width|height)="([\d.]+)pt"', lambda size: f'{size[1]}="{float(size[2]) * _PIXELS:.0f}"', svg, count=2
    )
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{Markup.escape(picture.title)}" ', 1))


def markdown(material: Material, sections: "Sequence[Filled]", pictures: Pictures) -> str:
    """The report as Markdown, its figures and tables beside it."""
    lines = ["# Report", ""]
    many = len(material.view.settings) > 1
    for section in sections:
        lines += [f"## {section.title}", ""]
        for setting, blocks in section.by_setting():
            if many and setting:
                lines += [f"### {tables.escaped(setting.title)}", ""]
            for block in blocks:
                own = _markdown_of(block, setting, pictures)
                if own and lines[-1].startswith("- ") and not own[0].startswith("- "):
                    lines.append("")  # what follows a list would be a part of its last point
                lines += own
        if lines[-1].startswith("- "):
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _markdown_of(block: Any, setting: Setting | None, pictures: Pictures) -> list[str]:
    if isinstance(block, Prose):
        return [tables.escaped(block.text), ""]
    if isinstance(block, Bullets | Words):
        return [*(f"- {tables.escaped(line)}" for line in block.lines), ""]
    if isinstance(block, Shown):
        if block.open:
            return [block.table.markdown()]
        if block.open is None:
            return [f"- [{tables.escaped(block.table.title)}](tables/{block.table.name}.md)"]
        return [f"[{tables.escaped(block.table.title)}](tables/{block.table.name}.md)", ""]
    if isinstance(block, Drawn):
        shown = pictures.get((block.kind, setting), [])
        caption = figures.drawings()[block.kind].caption
        return [*(f"![{tables.escaped(p.title)}](figures/{p.stem}.png)\n" for p in shown), tables.escaped(caption), ""]
    assert isinstance(block, Live)
    return []
