"""What commands print: tables for people and JSON for scripts on stdout, what goes wrong on stderr."""

import json
from typing import Any

import typer


def print_json(value: Any) -> None:
    """Print plain data, or a DataFrame as a list of records, as one JSON document; missing numbers are null."""
    from mipic_bench.results.folder import jsonable

    records = value.to_dict("records") if hasattr(value, "to_dict") else value
    typer.echo(json.dumps(jsonable(records), ensure_ascii=False, indent=1))


def console() -> Any:
    """Return a console for tables."""
    from rich.console import Console

    return Console(highlight=False, markup=False)


def tell(problems: Any) -> None:
    """Print user errors on stderr in their three parts."""
    from rich.console import Console
    from rich.markup import escape

    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for problem in problems:
        errors.print(f"[bold red]{escape(problem.where)}[/]: {escape(problem.what)}\n  {escape(problem.fix)}")
