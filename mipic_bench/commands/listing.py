"""What `list`, `show`, `plan` and `check` print. Names and words only: torch is not loaded here."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from mipic_bench import backbones
from mipic_bench.errors import UserError, raise_all, unknown
from mipic_bench.objectives import terms
from mipic_bench.paths import shipped
from mipic_bench.recipes.methods import catalog, find
from mipic_bench.recipes.recipe import Recipe, read, variants
from mipic_bench.recipes.resolved import Resolved, resolve, term_name
from mipic_bench.registry import lazy
from mipic_bench.running.progress import counted
from mipic_bench.shapes import Shape

if TYPE_CHECKING:
    from mipic_bench import tasks
    from mipic_bench.planning.request import Cell
else:
    tasks = lazy("mipic_bench.tasks")  # pandas is slow to load

REFERENCE_SHAPE = Shape(6, 384)  # MiniLM's, where a recipe is looked at without a backbone


def listing(kind: str, data: Path | None) -> Table:
    """Return the table of everything of a kind; see `entries`. Citations are too long for it."""
    columns, rows = entries(kind, data)
    kept = [place for place, column in enumerate(columns) if column != "citation"]
    first = max((len(str(row[0])) for row in rows), default=0)  # names are there to be typed: never cut
    heads = [
        Column(columns[0], min_width=first, no_wrap=True),
        *(Column(columns[place], overflow="fold") for place in kept[1:]),
    ]
    table = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(str(row[place])) for place in kept))
    return table


def entries(kind: str, data: Path | None) -> tuple[tuple[str, ...], Sequence[tuple[str, ...]]]:
    """Return columns and rows of a kind: "methods", "backbones", "tasks", "suites", "corpora", "terms", "baselines"."""
    kinds: dict[str, Callable[[], tuple[tuple[str, ...], Sequence[tuple[str, ...]]]]] = {
        "methods": lambda: (("method", "title", "terms", "source"), _methods()),
        "backbones": lambda: (("backbone", "what it is"), list(backbones.known().items())),
        "tasks": lambda: (("task", "family", "what it is", "licence", "citation"), _tasks(data)),
        "suites": lambda: (("suite", "tasks"), _suites()),
        "corpora": lambda: (("corpus", "kind", "licence", "citation"), _corpora(data)),
        "terms": lambda: (("term", "formula", "source"), [(n, t.formula, t.source) for n, t in terms().items()]),
        "baselines": lambda: (("file", "what it holds"), _baselines()),
    }
    return kinds[kind]()


def _methods() -> list[tuple[str, str, str, str]]:
    """Return a row per method; swept values stand in one row, and a source that is the base method's is not said again."""
    rows = {}
    for recipe in catalog().values():
        resolved = resolve(recipe, REFERENCE_SHAPE, "")
        base = catalog()[recipe.base_method]
        key, sign, _ = recipe.ablation.partition("=")
        name = f"{recipe.base_method}-{key}=VALUE" if sign else recipe.method
        title = f"{resolved.title}, swept over {key}" if sign else resolved.title
        repeated = recipe is not base and resolved.source == base.body["source"]
        parts = [*resolved.terms, *([term_name(resolved.posthoc)] if resolved.posthoc else [])]
        rows[name] = (name, title, ", ".join(parts) or "none", "" if repeated else resolved.source)
    return list(rows.values())


def _tasks(data: Path | None) -> list[tuple[str, ...]]:
    constants = tasks.registered()
    told = {name: (task.title, task.licence, task.citation) for name, task in constants.items()}
    return [(name, family, *told.get(name, ("", "", ""))) for name, family in tasks.known(data).items()]


def _suites() -> list[tuple[str, str]]:
    every = "the whole registry without the toy tasks, and every folder of --data"
    return [*((name, ", ".join(names)) for name, names in tasks.SUITES.items()), ("all", every)]


def _corpora(data: Path | None) -> list[tuple[str, ...]]:
    from mipic_bench import corpora

    told = {name: (corpus.licence, corpus.citation) for name, corpus in corpora.registered().items()}
    return [(name, kind, *told.get(name, ("", ""))) for name, kind in corpora.known(data).items()]


def _baselines() -> list[tuple[str, str]]:
    from mipic_bench.analysis import baselines

    return list(baselines.known().items())


def described(methods: Sequence[str], backbone: str, changes: Sequence[str]) -> Group:
    """Return the resolved recipes of methods as they will train on a backbone, one below the other."""
    first, *others = [_described(recipe, backbone) for recipe in find(methods, changes)]
    return Group(first, *(Group(Text(), other) for other in others))


def _described(recipe: Recipe, backbone: str) -> Group:
    """Return one resolved recipe: dims, training settings, and each term."""
    shape = _shape(backbone)
    resolved = resolve(recipe, shape, backbone)
    about = " ".join(recipe.raw.get("about", "").split())
    head = [
        *([("what", about)] if about else []),
        ("source", resolved.source),
        ("backbone", f"{backbone}: {shape.depth} layers, width {shape.width}"),
        ("dims", ", ".join(map(str, resolved.nesting.dims))),
    ]
    if resolved.per_dim:
        head.append(("procedure", "per-dim: one model per width, each trained at its width alone"))
    if not resolved.trains:
        head.append(("terms", "none: the backbone is not trained"))
    terms = [part for name in resolved.terms for part in _described_term(resolved, name)]
    foot = [("deviation", sentence) for sentence in resolved.deviations]
    if resolved.trains:
        settings = resolved.training.model_dump().items()
        foot.append(("training", ", ".join(f"{key} {value}" for key, value in settings if value is not None)))
    title = Text(f"{resolved.method}: {resolved.title}", style="bold")
    rest: list[Any] = [Text(), _labelled(foot)] if foot else []
    return Group(title, _labelled(head), *terms, *_described_transform(resolved), *rest)


def _labelled(lines: Sequence[tuple[str, str]]) -> Table:
    """Return lines behind their labels; what is too long for a line goes on below its beginning."""
    table = Table.grid(padding=(0, 2))
    for label, text in lines:
        table.add_row(Text(label, style="dim"), Text(text))
    return table


def _indented(text: str, style: str = "") -> Padding:
    return Padding(Text(text, style=style), (0, 0, 0, 2), expand=False)


def _described_term(resolved: Resolved, name: str) -> list[Any]:
    term = resolved.terms[name]
    settings = term.model_dump(exclude={"weight"}, exclude_none=True)
    return [
        Text(f"\n{name}", style="bold").append(f"  {term_name(term)}, weight {term.weight:g}", style="not bold"),
        _indented(term.formula),
        _indented(f"source: {term.source}"),
        _indented(", ".join(f"{key} = {_plain(value)}" for key, value in settings.items()), "dim"),
    ]


def _described_transform(resolved: Resolved) -> list[Any]:
    if resolved.posthoc is None:
        return []
    settings = ", ".join(f"{key} = {_plain(value)}" for key, value in resolved.posthoc.model_dump().items())
    return [
        Text("\nafterwards", style="bold").append(
            f"  {term_name(resolved.posthoc)}, fitted on training text per layer", style="not bold"
        ),
        _indented(resolved.posthoc.formula),
        _indented(f"source: {resolved.posthoc.source}"),
        _indented(settings, "dim"),
    ]


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shape(backbone: str) -> Shape:
    """Return the shape of a backbone of the table, or the one written as depth x width."""
    from mipic_bench.backbones.sources import ENTRIES

    if re.fullmatch("[1-9][0-9]{0,5}x[1-9][0-9]{0,5}", backbone):
        depth, _, width = backbone.partition("x")
        return Shape(int(depth), int(width))
    if backbone not in ENTRIES:
        raise unknown("backbone", backbone, ENTRIES, "--backbone")
    return ENTRIES[backbone].shape


STATUS_STYLE = {"done": "green", "pending": "", "stale": "yellow", "skipped": "dim", "failed": "red"}


def plan_table(cells: "Sequence[Cell]") -> Group:
    """Return the cells of a plan with their status and the reason for it."""
    table = Table(
        "status", "method", "backbone", "corpus", "seed", "why", box=None, pad_edge=False, header_style="bold"
    )
    for cell in cells:
        seed = "" if cell.seed is None else str(cell.seed)
        status = Text(cell.status, style=STATUS_STYLE[cell.status])
        table.add_row(status, cell.recipe.method, cell.backbone_name, cell.corpus, seed, Text(cell.reason))
    counts = {status: sum(cell.status == status for cell in cells) for status in STATUS_STYLE}
    total = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return Group(table, Text(f"{counted(len(cells), 'cell')}: {total or 'none'}"))


def check_all(recipes: Sequence[Path], data: Path | None) -> Text:
    """Check every recipe, every baseline, and every task and corpus of a folder.

    Args:
        recipes: files of the user's own, beside the shipped ones.
        data: the folder; may be none.

    Raises:
        UserError: every problem found, all at once.
    """
    from mipic_bench import corpora
    from mipic_bench.analysis import baselines

    problems: list[UserError] = []
    counts = dict.fromkeys(("recipes", "baselines", "tasks", "corpora"), 0)
    for path in (*sorted(shipped("methods").glob("*.toml")), *recipes):
        counts["recipes"] += _collect(problems, partial(_check_recipe, path))
    if recipes and not problems:
        _collect(problems, partial(find, [str(path) for path in recipes]))  # their names, as `run` takes them
    for path in sorted(shipped("baselines").glob("*.csv")):
        problems += baselines.check(path)
        counts["baselines"] += 1
    if data and not tasks.found(data) and not corpora.found(data):
        _collect(problems, partial(tasks.refuse_task, data))
    for name in tasks.found(data):
        counts["tasks"] += _collect(problems, partial(_check_task, name, data))
    for name in corpora.found(data):
        counts["corpora"] += _collect(problems, partial(corpora.load, name, data))
    raise_all(list({str(problem): problem for problem in problems}.values()))
    text = Text("all well: " + ", ".join(f"{kind} {count}" for kind, count in counts.items()))
    read_too = {*tasks.found(data), *corpora.found(data)}
    for path in tasks.folders(data) if data else ():
        if path.name not in read_too:
            text.append(f"\nneither a task nor a corpus: {path.name} ({_held(path)})")
    return text


def _held(folder: Path) -> str:
    """Say what a folder holds that is no dataset."""
    try:
        held = sorted(file.name for file in folder.iterdir())
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return f"holds {', '.join(held[:5]) or 'nothing'}{', ...' if len(held) > 5 else ''}"


def _check_recipe(path: Path) -> None:
    """Resolve a recipe, its ablations and sweeps, on the default shape and on every backbone that it names."""
    from mipic_bench.backbones.sources import ENTRIES

    named = read(path).backbones
    wrong = [unknown("backbone", name, ENTRIES, path.name) for name in named if name not in ENTRIES]
    raise_all(wrong)
    for recipe in variants(path):
        resolve(recipe, REFERENCE_SHAPE, "")
        for name in named:
            resolve(recipe, ENTRIES[name].shape, name)


def _check_task(name: str, data: Path | None) -> None:
    tasks.fold(tasks.load(name, data))


def _collect(problems: list[UserError], action: Callable[[], object]) -> bool:
    try:
        action()
    except UserError as error:
        problems += error.problems
    return True
