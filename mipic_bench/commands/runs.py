"""Commands about runs: `run` and `plan` with the same options, and `merge`."""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mipic_bench.commands import config as study
from mipic_bench.commands.options import (
    BackboneOption,
    BatchOption,
    CheckpointEveryOption,
    ClusterOption,
    ConfigOption,
    CorpusOption,
    DataOption,
    DeviceOption,
    DiagnosticsOption,
    DimsOption,
    DtypeOption,
    EpochsOption,
    ExcludeOption,
    JobsOption,
    JsonOption,
    KeepOption,
    KeepVectorsOption,
    LayersOption,
    LengthOption,
    MethodOption,
    OfflineOption,
    PrecisionOption,
    ProtocolOption,
    QuietOption,
    RateOption,
    ResultsOption,
    RetryOption,
    SeedsOption,
    SetOption,
    SplitOption,
    StepsOption,
    SuiteOption,
    TaskOption,
    TrackOption,
    VerifyOption,
    at_home,
)
from mipic_bench.commands.output import console, print_json
from mipic_bench.errors import UserError
from mipic_bench.planning.parsing import cluster as cluster_address
from mipic_bench.planning.parsing import numbers, pieces, rates
from mipic_bench.planning.parsing import seeds as seed_list

if TYPE_CHECKING:
    import pandas as pd

    from mipic_bench.planning.request import Cell, Inputs, Request
    from mipic_bench.running.progress import Reporter


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
    exclude_leaked: ExcludeOption = False,
    dims: DimsOption = None,
    layers: LayersOption = None,
    precision: PrecisionOption = None,
    epochs: EpochsOption = None,
    max_steps: StepsOption = None,
    batch_size: BatchOption = None,
    max_length: LengthOption = None,
    learning_rate: RateOption = None,
    change: SetOption = None,
    diagnostics: DiagnosticsOption = False,
    dtype: DtypeOption = "auto",
    device: DeviceOption = "auto",
    jobs: JobsOption = 1,
    cluster: ClusterOption = "",
    retry: RetryOption = True,
    offline: OfflineOption = False,
    verify: VerifyOption = False,
    keep_checkpoints: KeepOption = False,
    keep_vectors: KeepVectorsOption = False,
    checkpoint_every: CheckpointEveryOption = 60.0,
    results: ResultsOption = Path("results"),
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    track: TrackOption = None,
    config: ConfigOption = None,
) -> None:
    """Train methods and score them at every (layer, dim) budget; a finished run is not run again.

    The same command goes on after an interruption, and tries again what failed. Exit codes: 0 all well, 1 some cells
    failed, 2 a mistake in what was asked for, 130 stopped by Ctrl-C.

    Examples:
        mipic-bench run --method mipic

        mipic-bench run -m mrl,mipic --corpus unsup_union --data DIR --task stsb,mrpc --epochs 1 --batch-size 32

        mipic-bench run -m 'mipic*' --seeds 0-4 --dims 16,64 --layers 6 --jobs 4
    """
    request, inputs, reporter = _asked(locals())
    from mipic_bench.planning.plan import plan as make_plan
    from mipic_bench.running.progress import counted
    from mipic_bench.running.sweep import sweep, tidy

    cells = make_plan(request, inputs)
    if all(cell.status == "done" for cell in cells):
        tidy(cells, request)
        reporter.say(f"{counted(len(cells), 'cell')} done before: nothing to run")
        show(cells, request, inputs, as_json=as_json, draw=False)
        raise typer.Exit(0)
    for note in inputs.notes(cells):
        reporter.say(f"note: {note}")
    summary = sweep(cells, request, inputs, reporter)
    if not summary.signal:
        show(cells, request, inputs, as_json=as_json, draw=True)
    reporter.say(summary.sentence())
    for outcome in summary.failed:
        reporter.say(
            f"failed: {outcome.run}: {outcome.reason}\n  traceback: {request.results}/failures/{outcome.run}.txt"
        )
    raise typer.Exit(summary.exit_code)


@_same_options_as(run)
def plan(**options: Any) -> None:
    """Show which cells `run` with the same options would find done, pending, failed, stale or skipped, and why.

    Example:
        mipic-bench plan --method 'mipic*' --seeds 0-4
    """
    request, inputs, _ = _asked({**options, "quiet": True})
    from mipic_bench.commands.listing import plan_table
    from mipic_bench.planning.estimate import sentence
    from mipic_bench.planning.plan import plan as make_plan

    cells = make_plan(request, inputs)
    if options["as_json"]:
        shown = ("run", "status", "reason", "tasks", "layers", "dims", "seconds")
        print_json([{**cell.labels, **{name: getattr(cell, name) for name in shown}} for cell in cells])
        return
    console().print(plan_table(cells))
    console().print(sentence(cells, request.jobs))
    if any(cell.status != "done" for cell in cells):
        for note in inputs.notes(cells):  # those that `run` begins with
            typer.echo(f"note: {note}", err=True)


def merge(
    sources: Annotated[list[Path], typer.Argument(help="Results folders to join.")],
    out: Annotated[Path, typer.Option("--out", help="Results folder to write.", callback=at_home)],
    pack: Annotated[bool, typer.Option("--pack", help="Pack all runs into one Parquet file.")] = False,
) -> None:
    """Join the results of several machines, refusing conflicts; may pack them into one file that every verb reads.

    Example:
        mipic-bench merge results-a results-b --out results --pack
    """
    from mipic_bench.results.merge import PACKED_NAME
    from mipic_bench.results.merge import merge as join

    merged = join(sources, out, pack)
    for problem in merged.left_out:
        typer.echo(f"left out: {problem}", err=True)
    where = out / PACKED_NAME if pack else out
    typer.echo(f"{where}: {merged.runs} runs, {merged.rows} rows")


def _asked(options: dict[str, Any]) -> "tuple[Request, Inputs, Reporter]":
    """Turn the options of `run` into a request, and say the defaults it took."""
    seeds, cluster = seed_list(options["seeds"]), cluster_address(options["cluster"])
    dims, layers = numbers("--dims", options["dims"]), numbers("--layers", options["layers"])
    from mipic_bench.planning.asking import ask
    from mipic_bench.planning.request import Inputs
    from mipic_bench.running.progress import Reporter

    reporter = Reporter(quiet=options["quiet"])
    same = (
        *("data", "split", "protocol", "exclude_leaked", "device", "dtype", "offline"),
        *("diagnostics", "keep_checkpoints", "keep_vectors", "checkpoint_every", "jobs", "retry", "verify", "results"),
    )
    request = ask(
        pieces(options["method"]),
        changes=options["change"] or [],
        backbones=pieces(options["backbone"]),
        corpora=pieces(options["corpus"]),
        seeds=seeds,
        named=pieces(options["task"]),
        suites=pieces(options["suite"]),
        dims=dims,
        layers=layers,
        precisions=pieces(options["precision"]),
        rates=rates(pieces(options["learning_rate"])),
        training={key: options[key] for key in ("epochs", "max_steps", "batch_size", "max_length")},
        cluster=cluster,
        track=tuple(pieces(options["track"])),
        study=study.copied(options["config"]),
        **{name: options[name] for name in same},
    )
    inputs = Inputs(request)
    reporter.say(
        f"backbone {', '.join(request.backbones)} · corpus {', '.join(request.corpora)} · "
        f"seeds {', '.join(map(str, request.seeds))} · {request.dtype} on {request.device} · protocol {inputs.protocol}, "
        f"split {request.split}\ntasks {', '.join(request.tasks)}"
    )
    return request, inputs, reporter


def show(cells: "Sequence[Cell]", request: "Request", inputs: "Inputs", *, as_json: bool, draw: bool) -> None:
    """Print what was asked for: its rows as JSON, or tables and where rows and plots are; on stderr which scores are undefined."""
    from mipic_bench.running.outcome import rows_of, undefined

    rows = rows_of(cells, request, inputs)
    for note in undefined(rows):
        typer.echo(note, err=True)
    if as_json:
        print_json(rows)
        return
    from mipic_bench.analysis.quality import View
    from mipic_bench.analysis.tables import budget_tables, terminal
    from mipic_bench.results.folder import read

    if rows.empty:
        console().print("no rows: nothing could be scored at what was asked for")
        for cell in cells:
            if cell.status == "skipped":
                console().print(f"{cell.run}: {cell.reason}", soft_wrap=True)
        return
    shown = console()
    provenance = read(request.results).provenance()
    view, there = View(rows, provenance), set(rows["precision"])
    for precision in ["float32"] if "float32" in there else sorted(there):
        for table in budget_tables(view, precision=precision):
            shown.print(terminal(table, shown.width))
    shown.print(f"rows: {request.results / 'runs'}", soft_wrap=True)
    if draw:
        _draw(rows, provenance, request.results / "figures", shown)


def _draw(rows: "pd.DataFrame", provenance: "Mapping[str, Mapping[str, Any]]", folder: Path, shown: Any) -> None:
    """Draw the plots of a run and say where they are; one that the disk does not take costs no row, and `report` draws it too."""
    from mipic_bench.figures import draw_all

    try:
        plots = draw_all(rows, provenance, folder)
    except UserError as error:
        typer.echo(f"note: not every plot was drawn: {error}", err=True)
        return
    if plots:
        shown.print(f"plots: {', '.join(str(path) for path in plots if path.suffix == '.png')}", soft_wrap=True)
