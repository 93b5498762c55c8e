"""What every family does with a value: make rows of it, and count the budgets that have none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING

import numpy as np

from mipic_bench.errors import UserError
from mipic_bench.evaluators import Score
from mipic_bench.evaluators._cosine import Rows
from mipic_bench.evaluators._estimates import Estimate
from mipic_bench.evaluators._precision import calibration_texts

if TYPE_CHECKING:
    from mipic_bench.encoding.embed import Embeddings
    from mipic_bench.tasks import Fold


@dataclass
class Emitter:
    """Makes the scores of one task and remembers what was undefined.

    Args:
        task: the task's name.
        n: scored examples.
        notes: where sentences for the user go.
    """

    task: str
    n: int
    notes: list[str]
    undefined: dict[str, int] = field(default_factory=dict)
    budgets: int = 0

    def scores(self, layer: int, dim: int, precision: str, estimates: Mapping[str, Estimate]) -> Iterator[Score]:
        """Yield the scores of one budget."""
        self.budgets += 1
        for metric, (value, stderr) in estimates.items():
            if isnan(value):
                self.undefined[metric] = self.undefined.get(metric, 0) + 1
            yield Score(layer, dim, precision, metric, value, stderr, self.n)

    def close(self) -> None:
        """Note how many budgets have no value, when all are through."""
        for metric, count in self.undefined.items():
            self.notes.append(
                f"{self.task}: {metric} is undefined at {count} of {self.budgets} budgets "
                "(zero or non-finite vectors, or similarities that are all equal)"
            )


def require_rows(fold: "Fold", least: int = 2) -> None:
    """Refuse a task with fewer than `least` scored rows."""
    if len(fold.score) < least:
        raise UserError(
            f"task {fold.data.name}, split {fold.split}",
            f"{len(fold.score)} rows to score; at least {least} are needed",
            "add rows, or leave the task out",
        )


def without_uncalibrated(
    fold: "Fold", embeddings: "Embeddings", precisions: list[str]
) -> tuple[list[str], Rows | None]:
    """Return the precisions that can be scored, and the rows int8 takes its limits from."""
    if "int8" not in precisions:
        return precisions, None
    texts = calibration_texts(fold)
    if texts:
        return precisions, np.asarray(embeddings.rows(texts))
    return [precision for precision in precisions if precision != "int8"], None
