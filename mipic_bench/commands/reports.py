"""Commands that read finished runs: `report`, and `compare` with published numbers."""

from pathlib import Path
from typing import Annotated

import typer

from mipic_bench.commands.options import JsonOption, ResultsOption, Words, at_home
from mipic_bench.commands.output import console, print_json, tell
from mipic_bench.planning.parsing import numbers, pair, pieces


def report(
    out: Annotated[Path, typer.Option("--out", help="Folder of the report.", callback=at_home)] = Path(
        "reports/report"
    ),
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
    tell(store.problems)
    page = build(
        store.rows(),
        store.provenance(),
        out,
        reference=reference,
        highlight=highlight,
        baselines=published.load(pieces(baselines)) if baselines else None,
        profile=costs.read(results),
    )
    console().print(f"The report is {page}", soft_wrap=True)


def compare(
    out: Annotated[Path, typer.Option("--out", help="CSV to write.", callback=at_home)],
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
    tell(store.problems)
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
