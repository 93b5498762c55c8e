"""Sections to files: every block once as HTML, once as Markdown, and its table or figure as a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mipic_bench import figures, report
from mipic_bench.figures import _save
from mipic_bench.quality import Setting
from mipic_bench.report import Block, Drawn, Material, Picture, Shown, _page


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
    """Write all files of a report and return the path of its page."""
    for folder in ("tables", "figures"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    pictures = _draw(material, out / "figures")
    sections = list(_fill(material, pictures))
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Shown):
                _write_table(block, out / "tables")
    page = out / "index.html"
    page.write_text(_page.html(material, sections, pictures), encoding="utf-8", newline="\n")
    (out / "report.md").write_text(_page.markdown(material, sections, pictures), encoding="utf-8", newline="\n")
    return page


def _draw(material: Material, folder: Path) -> dict[tuple[str, Setting | None], list[Picture]]:
    """Draw every figure into files; kind and setting -> its pictures."""
    parts = figures.found()
    drawn: dict[tuple[str, Setting | None], list[Picture]] = {}
    for kind, stem, figure in figures.draw_each(material.view, material.style):
        _, svg = _save.save(figure, folder / stem)
        picture = Picture(kind, stem, parts[kind].title, svg.read_text(encoding="utf-8"))
        drawn.setdefault((kind, _setting_of(material, stem.removeprefix(f"{kind.replace('_', '-')}--"))), []).append(
            picture
        )
    return drawn


def _setting_of(material: Material, what: str) -> Setting | None:
    """The setting a figure is of, read from its name: the longest slug it starts with."""
    fitting = [s for s in material.view.settings if what == s.slug or what.startswith(f"{s.slug}--")]
    return max(fitting, key=lambda setting: len(setting.slug), default=None)


def _fill(material: Material, pictures: dict[tuple[str, Setting | None], list[Picture]]) -> Iterator[Filled]:
    for name, section in report.found().items():
        blocks = tuple(
            block
            for block in section().blocks(material)
            if not isinstance(block, Drawn) or pictures.get((block.kind, block.setting))
        )
        if blocks:
            yield Filled(name, section.title, blocks)


def _write_table(block: Shown, folder: Path) -> None:
    texts = {"csv": block.table.csv(), "md": block.table.markdown(), "tex": block.table.latex()}
    for ending, text in texts.items():
        (folder / f"{block.table.name}.{ending}").write_text(text, encoding="utf-8", newline="\n")
