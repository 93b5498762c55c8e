"""The command line: parse, call, print. Slow imports stand inside the commands, so that --help answers at once."""

import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mipic_bench import commands_models
from mipic_bench.errors import UserError, UserErrors
from mipic_bench.options import (
    BackboneOption,
    BatchOption,
    CorpusOption,
    DataOption,
    DeviceOption,
    DimsOption,
    DtypeOption,
    EpochsOption,
    KeepOption,
    LayersOption,
    LengthOption,
    MethodOption,
    OfflineOption,
    PrecisionOption,
    ProtocolOption,
    QuietOption,
    ResultsOption,
    SeedsOption,
    SetOption,
    SplitOption,
    StepsOption,
    SuiteOption,
    TaskOption,
    Words,
)

if TYPE_CHECKING:
    from mipic_bench.plan import Cell, Inputs, Request
    from mipic_bench.progress import Reporter

app = typer.Typer(
    help="Train, score and compare nested (Matryoshka) sentence embeddings at every layer and width.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _same_options_as(other: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of another one."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        command.__signature__ = signature(other)  # type: ignore[attr-defined]
        command.__annotations__ = other.__annotations__
        return command

    return decorate


def run(
    method: MethodOption,
    backbone: BackboneOption = None,
    corpus: CorpusOption = None,
    seeds: SeedsOption = "0",
    task: TaskOption = None,
    suite: SuiteOption = None,
    data: DataOption = None,
    split: SplitOption = "test",
    protocol: ProtocolOption = "clean",
    dims: DimsOption = None,
    layers: LayersOption = None,
    precision: PrecisionOption = None,
    epochs: EpochsOption = None,
    max_steps: StepsOption = None,
    batch_size: BatchOption = None,
    max_length: LengthOption = None,
    change: SetOption = None,
    dtype: DtypeOption = "auto",
    device: DeviceOption = "auto",
    offline: OfflineOption = False,
    keep_checkpoints: KeepOption = False,
    results: ResultsOption = Path("results"),
    quiet: QuietOption = False,
) -> None:
    """Train methods and score them at every (layer, dim) budget; a finished run is not run again.

    Examples:
        mipic-bench run --method mipic

        mipic-bench run -m mrl,mipic --corpus unsup_union --data DIR --task stsb,mrpc --epochs 1 --batch-size 32

        mipic-bench run -m 'mipic*' --seeds 0-4 --dims 16,64 --layers 6
    """
    request, inputs, reporter = _asked(locals())
    from mipic_bench.plan import plan as make_plan

    failed = _run_cells(make_plan(request, inputs), request, inputs, reporter)
    _print_outcome(request, reporter)
    raise typer.Exit(1 if failed else 0)


@_same_options_as(run)
def plan(**options: Any) -> None:
    """Show which cells `run` with the same options would find done, pending, stale or skipped, and why.

    Example:
        mipic-bench plan --method 'mipic*' --seeds 0-4
    """
    request, inputs, _ = _asked({**options, "quiet": True})
    from mipic_bench.listing import plan_table
    from mipic_bench.plan import plan as make_plan

    _console().print(plan_table(make_plan(request, inputs)))


def report(
    out: Annotated[Path, typer.Option("--out", help="Folder of the report.")] = Path("reports/report"),
    reference: Annotated[
        str | None, typer.Option("--reference", help="Method that differences are taken from.")
    ] = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Write the ablation report of a results folder: index.html, report.md, tables and figures.

    Example:
        mipic-bench report --results results --out reports/mine
    """
    from mipic_bench.report import build
    from mipic_bench.results import read

    store = read(results)
    _tell(store.problems)
    if store.rows().empty:
        raise UserError(f"--results {results}", "holds no finished run", "run a method first, or name another folder")
    page = build(store.rows(), store.provenance(), out, reference=reference)
    _console().print(f"The report is [bold]{page}[/bold]", soft_wrap=True)


def compare(
    out: Annotated[Path, typer.Option("--out", help="CSV to write.")],
    baselines: Annotated[
        Words, typer.Option("--baselines", help="CSVs of published numbers (globs too). Default: the shipped ones.")
    ] = None,
    only_comparable: Annotated[
        bool, typer.Option("--only-comparable", help="Leave out what differs in setting.")
    ] = False,
    task: Annotated[Words, typer.Option("--task", help="Only these tasks.")] = None,
    dim: Annotated[Words, typer.Option("--dim", help="Only these widths.")] = None,
    backbone_map: Annotated[Words, typer.Option("--backbone-map", help="ours=theirs, may be repeated.")] = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Write our rows beside published ones as CSV, each pair marked comparable or with the reason why not.

    Example:
        mipic-bench compare --results results --baselines 'baselines/*.csv' --out comparison.csv
    """
    from mipic_bench import baselines as published
    from mipic_bench import compare as comparison
    from mipic_bench.plan import pieces
    from mipic_bench.results import read

    store = read(results)
    _tell(store.problems)
    frame = comparison.compare(
        store.rows(),
        published.load(pieces(baselines)) if baselines else published.load(),
        store.provenance(),
        tasks=pieces(task),
        dims=_numbers("--dim", dim) or (),
        backbone_map=dict(_pair(text) for text in pieces(backbone_map)),
        only_comparable=only_comparable,
    )
    comparison.write(frame, out)
    for note in frame.attrs["notes"]:
        typer.echo(note, err=True)
    console = _console()
    if len(frame):
        console.print(comparison.compare_table(frame))
    console.print(f"{len(frame)} pairs: {out}", soft_wrap=True)


Kind = Literal["methods", "backbones", "tasks", "suites", "corpora", "terms", "baselines"]


def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    data: DataOption = None,
) -> None:
    """List what is there by name: methods, backbones, tasks, suites, corpora, terms or baselines.

    Example:
        mipic-bench list methods
    """
    from mipic_bench.listing import listing

    _console().print(listing(kind, data))


def show(
    method: Annotated[str, typer.Argument(help="Method, or TOML file.")],
    backbone: Annotated[
        str, typer.Option("--backbone", help="Table name, or depth x width such as 12x768.")
    ] = "minilm",
    change: SetOption = None,
) -> None:
    """Show a method's resolved recipe: each term's formula, weight, source and settings.

    Example:
        mipic-bench show mipic-no-pic --backbone bert-base
    """
    from mipic_bench.listing import described

    _console().print(described(method, backbone, change or []))


def check(data: DataOption = None) -> None:
    """Check every recipe, every baseline and, with --data, every local dataset; tell all problems at once.

    Example:
        mipic-bench check --data mydata
    """
    from mipic_bench.listing import check_all

    _console().print(check_all(data))


def merge(
    sources: Annotated[list[Path], typer.Argument(help="Results folders to join.")],
    out: Annotated[Path, typer.Option("--out", help="Results folder to write.")],
    pack: Annotated[bool, typer.Option("--pack", help="Pack all runs into one Parquet file.")] = False,
) -> None:
    """Join the results of several machines, refusing conflicts; may pack them into one file that every verb reads.

    Example:
        mipic-bench merge results-a results-b --out results --pack
    """
    from mipic_bench.merge import merge as join

    merged = join(sources, out, pack)
    _console().print(f"{merged}")


for _function in (run, plan, report, compare, show, check, merge, commands_models.export):
    app.command()(_function)
app.command("list")(list_)


def main() -> None:
    """Run the command line; a user's mistake is told without a traceback and exits with code 2."""
    try:
        app(standalone_mode=True)
    except UserError as error:
        _tell(error.problems if isinstance(error, UserErrors) else (error,))
        sys.exit(2)


def _asked(options: dict[str, Any]) -> "tuple[Request, Inputs, Reporter]":
    """Turn the options of `run` into a request, and say the defaults it took."""
    from mipic_bench.asking import ask
    from mipic_bench.plan import Inputs, pieces
    from mipic_bench.progress import Reporter

    reporter = Reporter(quiet=options["quiet"])
    same = ("data", "split", "protocol", "device", "dtype", "offline", "keep_checkpoints", "results")
    request = ask(
        pieces(options["method"]),
        changes=options["change"] or [],
        backbones=pieces(options["backbone"]),
        corpora=pieces(options["corpus"]),
        seeds=_seeds(options["seeds"]),
        named=pieces(options["task"]),
        suites=pieces(options["suite"]),
        dims=_numbers("--dims", options["dims"]),
        layers=_numbers("--layers", options["layers"]),
        precisions=pieces(options["precision"]),
        training={key: options[key] for key in ("epochs", "max_steps", "batch_size", "max_length")},
        **{name: options[name] for name in same},
    )
    reporter.say(
        f"backbone {', '.join(request.backbones)} · corpus {', '.join(request.corpora)} · "
        f"seeds {', '.join(map(str, request.seeds))} · {request.dtype} on {request.device} · protocol {request.protocol}, "
        f"split {request.split}\ntasks {', '.join(request.tasks)}"
    )
    return request, Inputs(request), reporter


def _run_cells(cells: "list[Cell]", request: "Request", inputs: "Inputs", reporter: "Reporter") -> int:
    """Run what is not done, and return how many failed."""
    from mipic_bench.run import run_cell

    for cell in cells:
        if cell.status in ("done", "skipped"):
            reporter.say(f"{cell.run}: {cell.status}{': ' + cell.reason if cell.reason else ''}")
            continue
        reporter.say(f"{cell.run}{': ' + cell.reason if cell.reason else ''}")
        run_cell(cell, request, inputs, reporter)
    return 0


def _print_outcome(request: "Request", reporter: "Reporter") -> None:
    """Print the tables of what was asked for, and where rows and plots are."""
    from mipic_bench.figures import draw_all
    from mipic_bench.quality import View
    from mipic_bench.results import read
    from mipic_bench.tables import budget_tables, terminal

    store = read(request.results)
    rows = store.rows()
    rows = rows[rows["method"].isin([recipe.method for recipe in request.methods])]
    console = _console()
    for table in budget_tables(View(rows, store.provenance())):
        console.print(terminal(table, console.width))
    plots = draw_all(rows, store.provenance(), request.results / "figures")
    console.print(f"rows: {request.results / 'runs'}", soft_wrap=True)
    console.print(f"plots: {', '.join(str(path) for path in plots if path.suffix == '.png')}", soft_wrap=True)


def _seeds(text: str) -> tuple[int, ...]:
    seeds: list[int] = []
    for part in text.split(","):
        first, sign, last = part.strip().partition("-")
        if not first.isdigit() or (sign and not last.isdigit()):
            raise UserError("--seeds", f"'{text}' is not a list of seeds", "write 0,1,2 or 0-4")
        seeds += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(seeds))


def _numbers(option: str, values: Words) -> tuple[int, ...] | None:
    from mipic_bench.plan import pieces

    words = pieces(values)
    if not words or words == ["all"]:
        return None
    wrong = [word for word in words if not word.lstrip("-").isdigit()]
    if wrong:
        raise UserError(option, f"'{wrong[0]}' is not a whole number", f"write {option} 2,4")
    return tuple(map(int, words))


def _pair(text: str) -> tuple[str, str]:
    ours, sign, theirs = text.partition("=")
    if not (ours and sign and theirs):
        raise UserError(
            "--backbone-map", f"'{text}' is not ours=theirs", "write --backbone-map minilm=all-MiniLM-L6-v2"
        )
    return ours, theirs


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _tell(problems: Any) -> None:
    """Print user errors on stderr in their three parts."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for problem in problems:
        console.print(f"[bold red]{escape(problem.where)}[/]: {escape(problem.what)}\n  {escape(problem.fix)}")
