"""Sections to files: every block once as HTML, once as Markdown, and its table or figure as a file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import cast

from joblib import Parallel, cpu_count, delayed

from mipic_bench import figures, reporting
from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting
from mipic_bench.figures import _save
from mipic_bench.figures._style import Style
from mipic_bench.reporting import Block, Bullets, Drawn, Material, Picture, Prose, Shown, _page
from mipic_bench.results import commit

Pictures = dict[tuple[str, Setting | None], list[Picture]]
_PARALLEL_FROM = 3  # settings: a process takes longer to start than one setting's figures to draw


@dataclass(frozen=True)
class Filled:
    """A section with its blocks, in the order they are printed."""

    name: str
    title: str
    blocks: tuple[Block, ...]

    def by_setting(self) -> list[tuple[Setting | None, list[Block]]]:
        """The blocks in runs of one setting."""
        groups: list[tuple[Setting | None, list[Block]]] = []
        for block in self.blocks:
            if not groups or groups[-1][0] != block.setting:
                groups.append((block.setting, []))
            groups[-1][1].append(block)
        return groups


def write(material: Material, out: Path) -> Path:
    """Write all files of a report and return the path of its page.

    Raises:
        UserError: the folder or the disk does not take them.
    """
    for folder in ("tables", "figures"):
        commit.make(out / folder)
    drawing = _start_drawing(material, out / "figures")
    parts = reporting.sections()
    filled = {name: list(part().blocks(material)) for name, part in parts.items()}
    pictures = _collect(material, drawing, out / "figures")
    filled["leftout"] += _not_drawn(pictures)
    sections = [
        Filled(name, parts[name].title, kept)
        for name, blocks in filled.items()
        if (kept := tuple(block for block in blocks if _is_there(block, pictures)))
    ]
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Shown):
                _write_table(block, out / "tables")
    page = out / "index.html"
    commit.write(page, _page.html(material, sections, pictures).encode(), sync=False)
    commit.write(out / "report.md", _page.markdown(material, sections, pictures).encode(), sync=False)
    return page


def _start_drawing(material: Material, folder: Path) -> Iterable[list[tuple[str, str]]]:
    """Draw every figure into files, in processes of their own where there are many settings: (kind, file stem)."""
    view, style = material.view, material.style
    jobs = min(len(view.settings), cpu_count())
    if len(view.settings) < _PARALLEL_FROM or jobs < 2:
        return (_draw(view, style, folder) for _ in range(1))
    shares = [view.part(view.settings[place::jobs]) for place in range(jobs)]
    parallel = Parallel(n_jobs=jobs, return_as="generator")
    return cast(Iterable[list[tuple[str, str]]], parallel(delayed(_draw)(share, style, folder) for share in shares))


def _draw(view: View, style: Style, folder: Path) -> list[tuple[str, str]]:
    drawn = []
    for kind, stem, figure in figures.draw_each(view, style):
        _save.save(figure, folder / stem)
        drawn.append((kind, stem))
    return drawn


def _collect(material: Material, drawing: Iterable[list[tuple[str, str]]], folder: Path) -> Pictures:
    """The pictures that were drawn, by kind and setting, in the order of the view's settings."""
    parts = figures.drawings()
    order = {setting: place for place, setting in enumerate(material.view.settings)}
    found: list[tuple[int, str, str, Setting]] = []
    for kind, stem in chain.from_iterable(drawing):
        setting = _setting_of(material.view, stem.removeprefix(f"{kind.replace('_', '-')}--"))
        found.append((order[setting], kind, stem, setting))
    pictures: Pictures = {}
    for _, kind, stem, setting in sorted(found, key=lambda item: item[0]):  # stable: as drawn within a setting
        svg = (folder / f"{stem}.svg").read_text(encoding="utf-8")
        pictures.setdefault((kind, setting), []).append(Picture(kind, stem, parts[kind].title, svg))
    return pictures


def _setting_of(view: View, what: str) -> Setting:
    """The setting a figure is of, read from its name: the longest slug it starts with."""
    fitting = [setting for setting in view.settings if what == setting.slug or what.startswith(f"{setting.slug}--")]
    return max(fitting, key=lambda setting: len(setting.slug))


def _not_drawn(pictures: Pictures) -> Iterator[Block]:
    """Say which figures nothing was there for, and what they need."""
    drawn = {kind for kind, _ in pictures}
    missing = tuple(f"{part.title}. {part.needs}" for kind, part in figures.drawings().items() if kind not in drawn)
    if missing:
        yield Prose("Not drawn:")
        yield Bullets(missing)


def _is_there(block: Block, pictures: Pictures) -> bool:
    return not isinstance(block, Drawn) or (block.kind, block.setting) in pictures


def _write_table(block: Shown, folder: Path) -> None:
    texts = {"csv": block.table.csv(), "md": block.table.markdown(), "tex": block.table.latex()}
    for ending, text in texts.items():
        commit.write(folder / f"{block.table.name}.{ending}", text.encode(), sync=False)
