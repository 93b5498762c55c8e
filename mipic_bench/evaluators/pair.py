"""Pair classification: does the cosine tell positive pairs from negative ones?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from mipic_bench.errors import UserError
from mipic_bench.evaluators import Evaluator, Score
from mipic_bench.evaluators._cosine import Floats
from mipic_bench.evaluators._emit import Emitter, require_rows
from mipic_bench.evaluators._estimates import (
    UNDEFINED,
    Estimate,
    Labels,
    average_precision,
    macro_f1,
    mean,
    positive_f1,
)
from mipic_bench.evaluators._pairs import pair_cosines
from mipic_bench.evaluators._precision import frame_texts
from mipic_bench.evaluators._thresholds import best_accuracy, best_f1, grid_threshold
from mipic_bench.families import FAMILIES

if TYPE_CHECKING:
    import pandas as pd

    from mipic_bench.encoding.embed import Embeddings
    from mipic_bench.tasks import Fold


@final
class Pair(Evaluator):
    """Average precision of the cosine; accuracy, F1 of the positive class and macro-F1 at a threshold.

    The threshold, by protocol:
        clean   the most accurate one between the cosines of the tune rows; without such rows only `ap` is scored
        paper   the first most accurate of 200 even steps of (cosine + 1) / 2, swept on the scored rows themselves;
                at or above it is positive (the evaluation code of MIPIC's authors)
        mteb    swept on the scored rows, between distinct cosines, one threshold for accuracy and another for F1;
                mteb has no macro-F1
    """

    family: ClassVar[str] = "pair"
    version: ClassVar[int] = 1

    def _texts(self, fold: "Fold") -> Iterator[str]:
        """See `Evaluator._texts`: the scored pairs, and those that the threshold is tuned on."""
        yield from frame_texts(fold.score)
        if fold.tune is not None:
            yield from frame_texts(fold.tune)

    def _score(
        self,
        fold: "Fold",
        embeddings: "Embeddings",
        layers: list[int],
        dims: list[int],
        precisions: list[str],
        protocol: str,
    ) -> Iterator[Score]:
        require_rows(fold)
        truth = _labels(fold.score, f"task {fold.data.name}, split {fold.split}")
        tune = fold.tune if protocol == "clean" else None
        frames = [fold.score] if tune is None else [fold.score, tune]
        tune_truth = None if tune is None else _labels(tune, f"task {fold.data.name}, rows the threshold is tuned on")
        if protocol == "clean" and tune is None:
            self.notes.append(f"{fold.data.name}: no rows to tune a threshold on, so only ap is scored")
        emitter = Emitter(fold.data.name, len(truth), self.notes)
        for layer, precision, cosines in pair_cosines(fold, frames, embeddings, layers, dims, precisions):
            for place, dim in enumerate(dims):
                tuned = (cosines[1][place], tune_truth) if tune_truth is not None else None
                estimates = _estimates(cosines[0][place], truth, tuned, protocol)
                yield from emitter.scores(layer, dim, precision, estimates)
        emitter.close()


def _labels(frame: "pd.DataFrame", where: str) -> Labels:
    labels = frame["label"].to_numpy()
    found = sorted(set(labels.tolist()))
    if found != [0, 1]:
        what = f"labels are {', '.join(map(str, found)) or 'none'}; both 0 and 1 are needed, and nothing else"
        raise UserError(where, what, "mend the label column, or leave the task out")
    return np.asarray(labels, dtype=np.int64)


def _estimates(
    scored: Floats, truth: Labels, tuned: tuple[Floats, Labels] | None, protocol: str
) -> dict[str, Estimate]:
    """Return every metric of one budget; undefined when its similarities say nothing or are not numbers."""
    names = tuple(FAMILIES["pair"].metrics)
    if protocol == "clean" and not tuned:
        names = names[:1]  # average precision, the one that needs no threshold
    elif protocol == "mteb":
        names = names[:3]
    usable = np.isfinite(scored).all() and scored.min() < scored.max() and (not tuned or np.isfinite(tuned[0]).all())
    if not usable:
        return dict.fromkeys(names, UNDEFINED)
    estimates = {"ap": average_precision(scored, truth)}
    if protocol == "paper":
        mapped = (scored + 1) / 2
        estimates |= _at(mapped >= grid_threshold(mapped, truth), truth)
    elif protocol == "mteb":
        estimates |= _at(scored >= best_accuracy(scored, truth, extremes=False), truth)
        estimates["pair_f1"] = _at(scored >= best_f1(scored, truth), truth)["pair_f1"]
    elif tuned:
        estimates |= _at(scored >= best_accuracy(*tuned), truth)
    return {name: estimates[name] for name in names}


def _at(positive: np.ndarray, truth: Labels) -> dict[str, Estimate]:
    guess = positive.astype(np.int64)
    return {
        "pair_accuracy": mean((guess == truth).astype(np.float64)),
        "pair_f1": positive_f1(truth, guess),
        "pair_macro_f1": macro_f1(truth, [guess]),
    }
