"""How long the command line takes to answer, and the package to be imported: fresh processes, the median of several."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from harness import Rows, options, turns

COMMANDS = {
    "--help": "<= 0.5",
    "list methods": "<= 0.5",
    "list backbones": "<= 0.5",
    "list tasks": "<= 0.5",
    "show mipic": "<= 0.5",
    "plan --method mipic": "<= 2",
}
IMPORT = "from time import perf_counter as now; start = now(); import mipic_bench; print(now() - start)"


def command(words: list[str], results: str) -> float:
    """Return the seconds that a command of the command line takes, the interpreter's own start included."""
    program = Path(sys.executable).with_name("mipic-bench")
    extra = ["--results", results, "--offline"] if words[0] == "plan" else []
    start = perf_counter()
    subprocess.run([str(program), *words, *extra], check=True, capture_output=True)
    return perf_counter() - start


def imported() -> float:
    """Return the seconds that importing the package takes, the interpreter's own start left out."""
    return float(subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    args = options(__doc__)
    rows, runs = Rows("startup", args), args.runs or (2 if args.quick else 9)
    with TemporaryDirectory() as results:
        sides = {name: partial(command, name.split(), results) for name in COMMANDS} | {"import mipic_bench": imported}
        for measure in sides.values():
            measure()  # what is remembered, is remembered
        measured = turns(sides, runs)
    for name, target in (COMMANDS | {"import mipic_bench": "<= 0.2"}).items():
        rows.add("start-up", name, "s", measured[name], target=target, note="a warm disk; hashes remembered")


if __name__ == "__main__":
    main()
