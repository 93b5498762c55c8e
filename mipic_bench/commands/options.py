"""The options that commands share, each written once, with the panel of --help that it stands in."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mipic_bench.commands import config
from mipic_bench.paths import expanded

SELECT, SCORE, TRAIN, MACHINE = "What to run", "What to score", "How to train", "Machine and files"
Words = list[str] | None


def at_home(path: Path | None) -> Path | None:
    """Expand `~` in the path that an option was given: no shell does it in `--results=~/x`, in quotes or in a study file."""
    return None if path is None else expanded(path)


MethodOption = Annotated[
    list[str],
    typer.Option("--method", "-m", help="Method, glob ('mipic*') or TOML file.", rich_help_panel=SELECT),
]
BackboneOption = Annotated[
    Words, typer.Option("--backbone", help="Name, hub id or folder. Default: minilm.", rich_help_panel=SELECT)
]
CorpusOption = Annotated[
    Words, typer.Option("--corpus", help="Name or file to train on. Default: toy.", rich_help_panel=SELECT)
]
SeedsOption = Annotated[str, typer.Option("--seeds", help="'0,1,2' or '0-4'.", rich_help_panel=SELECT)]
TaskOption = Annotated[Words, typer.Option("--task", help="Task, folder of one, or mteb:NAME.", rich_help_panel=SCORE)]
SuiteOption = Annotated[
    Words,
    typer.Option(
        "--suite", help="Named list of tasks. Default: every task of --data, else toy.", rich_help_panel=SCORE
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="MIPIC_BENCH_DATA",
        help="Folder of local datasets.",
        callback=at_home,
        rich_help_panel=SCORE,
    ),
]
SplitOption = Annotated[Literal["test", "dev"], typer.Option("--split", help="Split to score.", rich_help_panel=SCORE)]
ProtocolOption = Annotated[
    Literal["clean", "paper", "mteb"], typer.Option("--protocol", help="How it is scored.", rich_help_panel=SCORE)
]
DimsOption = Annotated[
    Words,
    typer.Option(
        "--dims",
        help="Widths to score, '16,32'; powers of two, the full width and a recipe's own unless said.",
        rich_help_panel=SCORE,
    ),
]
LayersOption = Annotated[
    Words, typer.Option("--layers", help="Layers to score, '2,4' or 'all'.", rich_help_panel=SCORE)
]
ExcludeOption = Annotated[
    bool,
    typer.Option(
        "--exclude-leaked",
        help="Leave out scored rows with a text of the corpus; a protocol of its own.",
        rich_help_panel=SCORE,
    ),
]
PrecisionOption = Annotated[
    Words,
    typer.Option(
        "--precision",
        help="float32, int8, binary, binary+rescore; int8@last: at the last layer alone.",
        rich_help_panel=SCORE,
    ),
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Passes over the corpus.", rich_help_panel=TRAIN)]
StepsOption = Annotated[int | None, typer.Option("--max-steps", help="Stop after N steps.", rich_help_panel=TRAIN)]
BatchOption = Annotated[int | None, typer.Option("--batch-size", help="Examples a step.", rich_help_panel=TRAIN)]
LengthOption = Annotated[int | None, typer.Option("--max-length", help="Tokens kept of a text.", rich_help_panel=TRAIN)]
RateOption = Annotated[
    Words,
    typer.Option("--learning-rate", help="Peak rate: 2e-5, or of one method 'mipic=5e-5'.", rich_help_panel=TRAIN),
]
SetOption = Annotated[
    Words,
    typer.Option("--set", help="Change a recipe key: 'terms.attention.weight = 0.5'.", rich_help_panel=TRAIN),
]
DtypeOption = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    typer.Option("--dtype", help="Arithmetic; auto is bfloat16 where the hardware has it.", rich_help_panel=MACHINE),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1.", rich_help_panel=MACHINE)]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Never ask a hub.", rich_help_panel=MACHINE)]
VerifyOption = Annotated[
    bool,
    typer.Option("--verify", help="Read weights anew, trust no remembered digest.", rich_help_panel=MACHINE),
]
JobsOption = Annotated[
    int, typer.Option("--jobs", "-j", min=1, help="Cells that run at the same time here.", rich_help_panel=MACHINE)
]
ClusterOption = Annotated[
    str,
    typer.Option("--cluster", help="dask://HOST:PORT runs the cells on a dask cluster.", rich_help_panel=MACHINE),
]
RetryOption = Annotated[
    bool, typer.Option("--retry/--no-retry", help="Run cells again that failed before.", rich_help_panel=MACHINE)
]
CheckpointEveryOption = Annotated[
    float,
    typer.Option(
        "--checkpoint-every", min=0.0, help="Seconds between a training's checkpoints.", rich_help_panel=MACHINE
    ),
]
KeepOption = Annotated[
    bool,
    typer.Option("--keep-checkpoints", help="Keep trained weights and fitted transforms.", rich_help_panel=MACHINE),
]
KeepVectorsOption = Annotated[
    bool,
    typer.Option(
        "--keep-vectors",
        help="Keep every text's vectors; what was read once is not encoded again.",
        rich_help_panel=MACHINE,
    ),
]
DiagnosticsOption = Annotated[
    bool,
    typer.Option(
        "--diagnostics",
        help="Log each term's share of the gradient norm; what is trained already stays without.",
        rich_help_panel=TRAIN,
    ),
]
ResultsOption = Annotated[
    Path,
    typer.Option(
        "--results",
        envvar="MIPIC_BENCH_RESULTS",
        help="Folder of runs.",
        callback=at_home,
        rich_help_panel=MACHINE,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print results alone.", rich_help_panel=MACHINE)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.", rich_help_panel=MACHINE)]
TrackOption = Annotated[
    Words, typer.Option("--track", help="Log trainings to tensorboard, wandb or mlflow.", rich_help_panel=MACHINE)
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="TOML file of options, 'seeds = \"0-4\"'; the command line and the environment stand above it.",
        callback=config.apply,
        is_eager=True,
        rich_help_panel=MACHINE,
    ),
]
