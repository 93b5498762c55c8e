"""The command line: parse, call, print. Slow imports stand inside the commands, so that --help answers at once."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mipic_bench.commands import models, runs
from mipic_bench.commands.options import DataOption, JsonOption, ResultsOption, SetOption, Words
from mipic_bench.commands.output import console, print_json
from mipic_bench.errors import UserError, UserErrors
from mipic_bench.planning.parsing import numbers, pair, pieces

app = typer.Typer(
    help="Train, score and compare nested (Matryoshka) sentence embeddings at every layer and width.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def report(
    out: Annotated[Path, typer.Option("--out", help="Folder of the report.")] = Path("reports/report"),
    reference: Annotated[
        str | None, typer.Option("--reference", help="Method that differences are taken from.")
    ] = None,
    highlight: Annotated[
        str | None, typer.Option("--highlight", help="Method that stands out when the page is opened.")
    ] = None,
    baselines: Annotated[
        Words, typer.Option("--baselines", help="CSVs of published numbers (globs too) to show beside ours.")
    ] = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Write the ablation report of a results folder: index.html, report.md, tables and figures.

    Examples:
        mipic-bench report --results results --out reports/mine

        mipic-bench report --reference mrl --baselines 'baselines/*.csv' --out reports/mine
    """
    from mipic_bench.analysis import baselines as published
    from mipic_bench.models import costs
    from mipic_bench.reporting import build
    from mipic_bench.results.folder import read_finished

    store = read_finished(results)
    _tell(store.problems)
    page = build(
        store.rows(),
        store.provenance(),
        out,
        reference=reference,
        highlight=highlight,
        baselines=published.load(pieces(baselines)) if baselines else None,
        profile=costs.read(results),
    )
    console().print(f"The report is [bold]{page}[/bold]", soft_wrap=True)


def compare(
    out: Annotated[Path, typer.Option("--out", help="CSV to write.")],
    baselines: Annotated[
        Words, typer.Option("--baselines", help="CSVs of published numbers (globs too). Default: the shipped ones.")
    ] = None,
    only_comparable: Annotated[
        bool, typer.Option("--only-comparable", help="Leave out what differs in setting.")
    ] = False,
    task: Annotated[Words, typer.Option("--task", help="Only these tasks.")] = None,
    dims: Annotated[Words, typer.Option("--dims", help="Only these widths.")] = None,
    backbone_map: Annotated[Words, typer.Option("--backbone-map", help="ours=theirs, may be repeated.")] = None,
    results: ResultsOption = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Write our rows beside published ones as CSV, each pair marked comparable or with the reason why not.

    Example:
        mipic-bench compare --results results --baselines 'baselines/*.csv' --out comparison.csv
    """
    from mipic_bench.analysis import baselines as published
    from mipic_bench.analysis import compare as comparison
    from mipic_bench.results.folder import read_finished

    store = read_finished(results)
    _tell(store.problems)
    frame = comparison.compare(
        store.rows(),
        published.load(pieces(baselines)) if baselines else published.load(),
        store.provenance(),
        tasks=pieces(task),
        dims=numbers("--dims", dims) or (),
        backbone_map=dict(pair("--backbone-map", text) for text in pieces(backbone_map)),
        only_comparable=only_comparable,
    )
    comparison.write(frame, out)
    for note in frame.attrs["notes"]:
        typer.echo(note, err=True)
    if as_json:
        print_json(frame)
        return
    if len(frame):
        console().print(comparison.compare_table(frame))
    console().print(f"{len(frame)} pairs: {out}", soft_wrap=True)


Kind = Literal["methods", "backbones", "tasks", "suites", "corpora", "terms", "baselines"]


def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what is there by name: methods, backbones, tasks, suites, corpora, terms or baselines. --json has citations too.

    Example:
        mipic-bench list methods
    """
    from mipic_bench.commands.listing import entries, listing

    if as_json:
        columns, rows = entries(kind, data)
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    console().print(listing(kind, data))


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
    from mipic_bench.commands.listing import described

    console().print(described(method, backbone, change or []))


def check(data: DataOption = None) -> None:
    """Check every recipe, every baseline and, with --data, every local task and corpus; tell all problems at once.

    Example:
        mipic-bench check --data mydata
    """
    from mipic_bench.commands.listing import check_all

    console().print(check_all(data))


for _function in (
    runs.run,
    runs.plan,
    report,
    compare,
    show,
    check,
    runs.merge,
    models.export,
    models.evaluate,
    models.profile,
):
    app.command()(_function)
app.command("list")(list_)


def main() -> None:
    """Run the command line; a user's mistake is told without a traceback and exits with code 2."""
    try:
        app(standalone_mode=True)
    except UserError as error:
        _tell(error.problems if isinstance(error, UserErrors) else (error,))
        sys.exit(2)


def _tell(problems: Any) -> None:
    """Print user errors on stderr in their three parts."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for problem in problems:
        console.print(f"[bold red]{escape(problem.where)}[/]: {escape(problem.what)}\n  {escape(problem.fix)}")
