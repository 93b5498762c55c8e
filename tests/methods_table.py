"""The README's table of methods, made from the recipes.

python tests/methods_table.py            prints it
python tests/methods_table.py --write    puts it between the marks of README.md
"""

import sys
from pathlib import Path

from mipic_bench.commands.listing import REFERENCE_SHAPE
from mipic_bench.recipes.methods import catalog
from mipic_bench.recipes.resolved import Resolved, resolve, term_name

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- methods -->\n", "<!-- /methods -->"


def table() -> str:
    """Return the README's table of methods: name and variants, what it does, source, and the tests that prove it."""
    lines = ["| method | what it does | source | proof |", "|---|---|---|---|"]
    for base in catalog().values():
        if base.ablation:
            continue
        resolved = resolve(base, REFERENCE_SHAPE, "")
        variants: dict[str, None] = {}
        for other in catalog().values():
            key, sign, _ = other.ablation.partition("=")
            if other.base_method == base.method and other.ablation:
                variants[f"`-{key}=...`" if sign else f"`-{key}`"] = None
        names = f"**`{base.method}`**" + (f" and {', '.join(variants)}" if variants else "")
        does = first_sentence(base.body.get("about", "") or resolved.title)
        cells = (names, does, resolved.source, ", ".join(f"`{path}`" for path in proofs(resolved)))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, on one line."""
    plain = " ".join(text.split())
    end = plain.find(". ")
    return plain if end < 0 else plain[: end + 1]


def proofs(resolved: Resolved) -> list[str]:
    """Return the test files that hold a method to its source: those of each term (a glob), and the golden loss curves."""
    files = [f"tests/oracle/test_{name}*.py" for name in dict.fromkeys(map(term_name, resolved.terms.values()))]
    if resolved.posthoc is not None:
        files.append("tests/oracle/test_posthoc.py")
    if resolved.trains:
        files.append(f"tests/golden/{resolved.base_method}.csv")
    return files or ["tests/test_evaluators_real.py"]  # nothing trained: the published figures of the backbone itself


def main() -> None:
    """Print the table, or write it into the README."""
    if "--write" not in sys.argv[1:]:
        print(table(), end="")
        return
    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    README.write_text(before + BEGIN + table() + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
