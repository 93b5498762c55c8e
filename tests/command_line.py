"""Calls the command line in this process, as `mipic-bench WORDS` would."""

import sys
from dataclasses import dataclass

from mipic_bench import cli


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


def caller(capsys, monkeypatch):
    """Return a function that calls the command line with words."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["mipic-bench", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "300")
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return call
