"""Ten steps of every method on the small random backbone, held against text files: what a change of numbers changes is seen.

Written anew by `python tests/golden/test_golden.py [METHOD ...]`; then look at the difference before it is committed, and raise the
`version` of the part whose numbers changed.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from training import on_tiny, one_thread, train  # noqa: E402

from mipic_bench.recipes.methods import catalog  # noqa: E402
from mipic_bench.recipes.recipe import Recipe  # noqa: E402
from mipic_bench.recipes.resolved import resolve  # noqa: E402
from mipic_bench.shapes import Shape  # noqa: E402

FOLDER = Path(__file__).parent
SETTINGS = {"max_steps": 10, "batch_size": 8, "accumulation": 1, "max_length": 16, "learning_rate": 2e-4}
HEADER = ("method", "step", "loss", "terms")
# the first step is one forward; later ones carry what kernels of other machines round otherwise
FIRST, LATER = 1e-3, 2e-2


def recipes() -> dict[str, list[Recipe]]:
    """Recipe file -> its methods with a loss; a swept value is the recipe with another number and left out."""
    files: dict[str, list[Recipe]] = {}
    for recipe in catalog().values():
        iterates = recipe.fits and "iterations" in type(resolve(recipe, Shape(4, 64), "").posthoc).model_fields
        if "=" not in recipe.method and (recipe.trains or iterates):
            files.setdefault(recipe.base_method, []).append(recipe)
    return files


def curve(recipe: Recipe) -> list[tuple[str, ...]]:
    """The rows of a method: a line per step of training; per look at the loss where frozen vectors are fitted."""
    resolved = on_tiny(recipe, **SETTINGS)
    if not resolved.trains:
        return fitted_curve(recipe)
    rows = []
    for dim, one in resolved.per_dim.items() or [(None, resolved)]:
        kind = "scored" if any(term.refusal("text") for term in one.terms.values()) else "text"
        name = recipe.method if dim is None else f"{recipe.method} at {dim}"
        for entry in train(one, kind)[1].entries:
            terms = " ".join(f"{term}={value:.6g}" for term, value in entry["terms"].items())
            rows.append((name, str(entry["step"]), f"{entry['loss']:.6g}", terms))
    return rows


def fitted_curve(recipe: Recipe) -> list[tuple[str, ...]]:
    resolved = resolve(recipe, Shape(4, 64), "")
    vectors = np.random.default_rng(0).standard_normal((200, 32)).astype(np.float32) + 0.5
    quick = {"iterations": 60, "batch_size": 32, "memory": 64}
    with one_thread():
        fitted = resolved.posthoc.model_copy(update=quick).fit(vectors, (4, 16, 32), 0)
    return [(recipe.method, str(step), f"{loss:.6g}", "") for step, loss in enumerate(fitted.history, start=1)]


RECIPES = recipes()


@pytest.mark.parametrize("base", RECIPES)
def test_ten_steps_are_what_they_were(base):
    path = FOLDER / f"{base}.csv"
    assert path.is_file(), f"write it: python tests/golden/test_golden.py {base}"
    with path.open(newline="", encoding="utf-8") as file:
        recorded = list(csv.DictReader(file))
    found = [dict(zip(HEADER, row, strict=True)) for recipe in RECIPES[base] for row in curve(recipe)]
    assert [(row["method"], row["step"]) for row in found] == [(row["method"], row["step"]) for row in recorded]
    for one, other in zip(found, recorded, strict=True):
        tolerance = FIRST if one["step"] == "1" else LATER
        mine, theirs = numbers(one), numbers(other)
        assert mine == pytest.approx(theirs, rel=tolerance, abs=1e-5), f"{one['method']}, step {one['step']}"


def numbers(row: dict[str, str]) -> dict[str, float]:
    terms = dict(term.split("=") for term in row["terms"].split())
    return {"loss": float(row["loss"])} | {name: float(value) for name, value in terms.items()}


def test_no_file_without_a_method():
    assert {path.stem for path in FOLDER.glob("*.csv")} == set(RECIPES)


def write(bases: list[str]) -> None:
    """Write the files of some recipes anew."""
    for base in bases or RECIPES:
        with (FOLDER / f"{base}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
            for recipe in RECIPES[base]:
                writer.writerows(curve(recipe))


if __name__ == "__main__":
    write(sys.argv[1:])
