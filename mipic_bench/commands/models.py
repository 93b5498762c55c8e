"""Commands about one model: `export` a budget of a run, `evaluate` a model as it is, `profile` what budgets cost."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mipic_bench.commands.options import (
    MACHINE,
    SCORE,
    SELECT,
    BackboneOption,
    DataOption,
    DeviceOption,
    DimsOption,
    DtypeOption,
    JsonOption,
    KeepVectorsOption,
    LayersOption,
    OfflineOption,
    PrecisionOption,
    ProtocolOption,
    QuietOption,
    ResultsOption,
    SplitOption,
    SuiteOption,
    TaskOption,
    VerifyOption,
    Words,
    at_home,
)
from mipic_bench.commands.output import console, print_json
from mipic_bench.errors import UserError
from mipic_bench.planning.parsing import funnels as stages
from mipic_bench.planning.parsing import numbers, pieces

if TYPE_CHECKING:
    from mipic_bench.planning.parsing import Stages
    from mipic_bench.planning.request import Cell, Inputs, Request
    from mipic_bench.running.progress import Reporter

ScoredLengthOption = Annotated[
    int | None, typer.Option("--max-length", help="Tokens kept of a text.", rich_help_panel=SCORE)
]


def export(
    run: Annotated[str, typer.Argument(help="Run, or the beginning of exactly one run's name.")],
    layer: Annotated[int, typer.Option("--layer", help="Transformer blocks to keep.")],
    dim: Annotated[int, typer.Option("--dim", help="Width to keep.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; it must be new or empty.", callback=at_home)],
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="Where an untrained run's backbone is, if it was a local folder.")
    ] = None,
    data: DataOption = None,
    offline: OfflineOption = False,
    results: ResultsOption = Path("results"),
) -> None:
    """Write one budget of a run as a folder that `SentenceTransformer(DIR)` loads, with a model card.

    The transformer is cut to its first blocks and vectors to their first coordinates, normalized to length 1. A trained run
    must have been run with --keep-checkpoints.

    Example:
        mipic-bench export mipic--minilm--toy--s0 --layer 4 --dim 64 --out mipic-l4-d64
    """
    from mipic_bench.models.export import export as write

    write(results, run, layer, dim, out, backbone=backbone, data=data, offline=offline)
    typer.echo(f'{out}: load it with SentenceTransformer("{out}")')


def evaluate(
    model: Annotated[str, typer.Argument(help="Hub id, folder, name, or a run that kept its weights.")],
    name: Annotated[str | None, typer.Option("--name", help="What rows call it.", rich_help_panel=SELECT)] = None,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", help="Before every text: a prompt's name, or its text.", rich_help_panel=SELECT),
    ] = None,
    query_prompt: Annotated[
        str | None,
        typer.Option("--query-prompt", help="Before the queries of retrieval instead.", rich_help_panel=SELECT),
    ] = None,
    pooling: Annotated[
        Literal["cls", "mean", "last"] | None,
        typer.Option("--pooling", help="Default: the model's own.", rich_help_panel=SELECT),
    ] = None,
    task: TaskOption = None,
    suite: SuiteOption = None,
    data: DataOption = None,
    split: SplitOption = "test",
    protocol: ProtocolOption = "clean",
    dims: DimsOption = None,
    layers: LayersOption = None,
    precision: PrecisionOption = None,
    funnel: Annotated[
        list[str] | None,
        typer.Option(
            "--funnel",
            help="Instead of scoring budgets, search: '16:200,64:50,384' ranks by width 16, keeps 200, and so on.",
            rich_help_panel=SCORE,
        ),
    ] = None,
    max_length: ScoredLengthOption = None,
    dtype: DtypeOption = "auto",
    device: DeviceOption = "auto",
    offline: OfflineOption = False,
    verify: VerifyOption = False,
    keep_vectors: KeepVectorsOption = False,
    results: ResultsOption = Path("results"),
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score any sentence-transformers or Hugging Face model at every (layer, dim) budget, without training it.

    Examples:
        mipic-bench evaluate intfloat/e5-base-v2 --query-prompt 'query: ' --prompt 'passage: ' --task scifact --data DIR

        mipic-bench evaluate ./my-model --suite quick --name mine --keep-vectors

        mipic-bench evaluate mipic--minilm--toy--s0 --task stsb --data DIR

        mipic-bench evaluate minilm --task scifact --data DIR --funnel 16:200,64:50,384
    """
    dim_list, layer_list, funnels = numbers("--dims", dims), numbers("--layers", layers), stages(funnel)
    if funnels and (dim_list or precision or protocol != "clean"):
        what = "searches by the funnel's own widths in float32; --dims, --precision or --protocol was given too"
        raise UserError("--funnel", what, "leave these out")
    from mipic_bench.commands.runs import show
    from mipic_bench.models.evaluating import evaluation, notes
    from mipic_bench.running.progress import Reporter
    from mipic_bench.running.sweep import sweep

    request, inputs, cells = evaluation(
        model,
        name=name,
        prompt=prompt,
        query_prompt=query_prompt,
        pooling=pooling,
        named=pieces(task),
        suites=pieces(suite),
        data=data,
        split=split,
        protocol=protocol,
        dims=dim_list,
        layers=layer_list,
        precisions=pieces(precision),
        training={"max_length": max_length},
        dtype=dtype,
        device=device,
        offline=offline,
        verify=verify,
        keep_vectors=keep_vectors,
        results=results,
    )
    reporter = Reporter(quiet=quiet)
    reporter.say(
        f"{request.dtype} on {request.device} · protocol {protocol}, split {split}\ntasks {', '.join(request.tasks)}"
    )
    for note in notes(request, inputs, cells):
        reporter.say(f"note: {note}")
    if funnels:
        _search(cells[0], request, inputs, funnels, reporter, as_json)
        return
    summary = sweep(cells, request, inputs, reporter)
    if not summary.signal:
        show(cells, request, inputs, as_json=as_json, draw=False)
    for outcome in summary.failed:
        reporter.say(f"failed: {outcome.run}: {outcome.reason}")
    raise typer.Exit(summary.exit_code)


def _search(
    cell: "Cell", request: "Request", inputs: "Inputs", funnels: "list[Stages]", reporter: "Reporter", as_json: bool
) -> None:
    """Search through funnels, and print and write what they keep and save."""
    from mipic_bench.models.funnels import search, tables, write

    frame = search(cell, request, inputs, funnels, reporter)
    path = write(frame, request.results)
    if as_json:
        print_json(frame)
        return
    for shown in tables(frame):
        console().print(shown)
    console().print(f"funnels: {path}", soft_wrap=True)


def profile(
    backbone: BackboneOption = None,
    layers: Annotated[
        Words, typer.Option("--layers", help="Layers to measure, '2,4' or 'all'.", rich_help_panel=SCORE)
    ] = None,
    dims: Annotated[Words, typer.Option("--dims", help="Widths to measure, '16,32'.", rich_help_panel=SCORE)] = None,
    precision: Annotated[
        Words,
        typer.Option("--precision", help="float32, int8, binary, binary+rescore. Default: all.", rich_help_panel=SCORE),
    ] = None,
    index_size: Annotated[
        int, typer.Option("--index-size", help="Vectors that are searched.", rich_help_panel=SCORE)
    ] = 100_000,
    corpus: Annotated[
        str, typer.Option("--corpus", help="Whose texts are encoded: name or file.", rich_help_panel=SCORE)
    ] = "toy",
    data: DataOption = None,
    max_length: ScoredLengthOption = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option("--dtype", help="Arithmetic of encoding.", rich_help_panel=MACHINE),
    ] = "float32",
    device: DeviceOption = "auto",
    offline: OfflineOption = False,
    results: ResultsOption = Path("results"),
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure what every (layer, dim, precision) costs here: bytes, FLOPs, encoding, searching. Reports then show it.

    Encoding is timed on the first texts of a corpus, searching on random vectors, one query at a time on the CPU.

    Example:
        mipic-bench profile --backbone minilm --index-size 1000000
    """
    import pandas as pd

    from mipic_bench.models.costs import write
    from mipic_bench.models.profiling import Settings, table
    from mipic_bench.models.profiling import profile as measure
    from mipic_bench.running.progress import Reporter

    reporter = Reporter(quiet=quiet)
    settings = Settings(
        layers=numbers("--layers", layers),
        dims=numbers("--dims", dims),
        precisions=tuple(pieces(precision)) or Settings.precisions,
        index_size=index_size,
        corpus=corpus,
        data=data,
        max_length=Settings.max_length if max_length is None else max_length,
        device=device,
        dtype=dtype,
        offline=offline,
    )
    measured = []
    for name in pieces(backbone) or ["minilm"]:
        with reporter.bar(f"profile {name}") as update:
            frame = measure(name, settings, update)
        path, replaced = write(frame, results)
        if replaced:
            reporter.say(f"note: {name}: {replaced}")
        measured.append(frame)
        if not as_json:
            for shown in table(frame):
                console().print(shown)
            console().print(f"costs: {path}", soft_wrap=True)
    if as_json:
        print_json(pd.concat(measured, ignore_index=True))
