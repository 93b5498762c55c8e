"""Commands that tell what there is: `list`, `show` and `check`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mipic_bench.commands.options import DataOption, JsonOption, SetOption
from mipic_bench.commands.output import console, print_json
from mipic_bench.planning.parsing import pieces

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
    method: Annotated[str, typer.Argument(help="Method, TOML file, or a file and its ablation: 'my.toml,my-hot'.")],
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

    console().print(described(pieces([method]), backbone, change or []))


def check(
    recipes: Annotated[list[Path] | None, typer.Argument(help="Recipe files of your own.")] = None,
    data: DataOption = None,
) -> None:
    """Check every recipe, every baseline and, with --data, every local task and corpus; tell all problems at once.

    Examples:
        mipic-bench check --data mydata

        mipic-bench check my.toml
    """
    from mipic_bench.commands.listing import check_all

    console().print(check_all(recipes or [], data))
