"""The README's speed table: of every measurement with a bound the last one, as Markdown.

python tests/speed/table.py            prints it
python tests/speed/table.py --write    puts it between the marks of the README
"""

import csv
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- speed -->\n", "<!-- /speed -->\n"
FILES = ("training", "step", "evaluation", "ceiling", "growth", "startup")  # in the order of the README


def measured(folder: Path) -> list[dict[str, str]]:
    """Return the last full row of every `what`, `case` and arithmetic that has a bound, in the order of `FILES`."""
    last: dict[tuple[str, ...], dict[str, str]] = {}
    for name in FILES:
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["target"] and row["quick"] == "0":
                    last[name, row["what"], row["case"], row["dtype"]] = row
    whats = list(dict.fromkeys((name, what) for name, what, _, _ in last))
    return [last[key] for key in sorted(last, key=lambda key: (whats.index(key[:2]), _natural(key[2]), key[3]))]


def _natural(case: str) -> list[tuple[int, str]]:
    """Return what sorts "batch 16" before "batch 128"."""
    return [(int(number or 0), word) for number, word in re.findall(r"(\d*)(\D+)", case)]


def table(rows: list[dict[str, str]]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| what | case | ours | held against | ratio (range) | bound | met |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        unit = row["unit"]
        dtype = ", float32" if row["dtype"] == "float32" else ""
        spread = f"{row['ratio']} ({row['ratio_low']} to {row['ratio_high']})" if row["ratio"] else ""
        cells = (
            row["what"],
            row["case"] + dtype,
            f"{row['ours']} {unit}".strip(),
            f"{row['peer']} {unit}".strip() if row["peer"] else "",
            spread,
            row["target"].replace("<=", "≤").replace(">=", "≥"),
            row["met"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, or write it into the README."""
    text = table(measured(ROOT / "results" / "speed"))
    if "--write" not in sys.argv[1:]:
        print(text, end="")
        return
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    readme.write_text(before + BEGIN + text + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
