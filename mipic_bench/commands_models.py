"""Commands about one model: `export` a budget of a run."""

from pathlib import Path
from typing import Annotated

import typer

from mipic_bench.options import OfflineOption, ResultsOption


def export(
    run: Annotated[str, typer.Argument(help="Run, or the beginning of exactly one run's name.")],
    layer: Annotated[int, typer.Option("--layer", help="Transformer blocks to keep.")],
    dim: Annotated[int, typer.Option("--dim", help="Width to keep.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; it must be new or empty.")],
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="Where an untrained run's backbone is, if it was a local folder.")
    ] = None,
    offline: OfflineOption = False,
    results: ResultsOption = Path("results"),
) -> None:
    """Write one budget of a run as a folder that `SentenceTransformer(DIR)` loads, with a model card.

    The transformer is cut to its first blocks and vectors to their first coordinates, normalized to length 1. A trained run
    must have been run with --keep-checkpoints.

    Example:
        mipic-bench export mipic--minilm--toy--s0 --layer 4 --dim 64 --out mipic-l4-d64
    """
    from mipic_bench.export import export as write

    write(results, run, layer, dim, out, backbone=backbone, offline=offline)
    typer.echo(f'{out}: load it with SentenceTransformer("{out}")')
