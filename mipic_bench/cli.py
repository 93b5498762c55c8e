"""The command line: parse, call, print. Slow imports stand inside the commands, so that --help answers at once."""

import sys

import typer

from mipic_bench.commands import models, names, reports, runs
from mipic_bench.commands.output import tell
from mipic_bench.errors import UserError

app = typer.Typer(
    help="Train, score and compare nested (Matryoshka) sentence embeddings at every layer and width.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _function in (
    runs.run,
    runs.plan,
    reports.report,
    reports.compare,
    names.show,
    names.check,
    runs.merge,
    models.export,
    models.evaluate,
    models.profile,
):
    app.command()(_function)
app.command("list")(names.list_)


def main() -> None:
    """Run the command line; a user's mistake is told without a traceback and exits with code 2."""
    try:
        app(standalone_mode=True)
    except UserError as error:
        tell(error.problems)
        sys.exit(2)
