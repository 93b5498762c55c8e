"""The accelerator of one training, and the trackers it logs to; what else uses accelerate in this process is left alone.

accelerate is slow to load: it is imported where something is trained, so that planning does not wait for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipic_bench.errors import UserError, raise_all, unknown
from mipic_bench.recipes.schema import flat

if TYPE_CHECKING:
    from accelerate import Accelerator

TRACKERS = ("tensorboard", "wandb", "mlflow")
PROJECT = "mipic-bench"
FOLDER = "tracking"  # of the results folder: tracking/<run>/
_MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
_DEVICE = "ACCELERATE_TORCH_DEVICE"


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are not known or not installed, all at once."""
    from accelerate.tracking import get_available_trackers

    there = {str(name.value) for name in get_available_trackers()}
    wrong = [unknown("tracker", name, TRACKERS, "--track") for name in names if name not in TRACKERS]
    missing = [name for name in names if name in TRACKERS and name not in there]
    wrong += [UserError("--track", f"{name} is not installed", f"pip install {name}") for name in missing]
    raise_all(wrong)


@contextmanager
def accelerator(
    device: str, dtype: str, run: str, settings: Mapping[str, Any], trackers: Sequence[str], results: Path
) -> Iterator[Accelerator]:
    """Yield an accelerator of this device and dtype, its trackers started.

    accelerate keeps one state per process, so a second training with another dtype would be refused, and so would ours
    after a notebook's own trainer: the state is put aside, and put back in the end.

    Args:
        device: as torch names it.
        dtype: float32, bfloat16 or float16.
        run: the run's name, as trackers show it.
        settings: nested plain data, shown by trackers as the run's settings.
        trackers: names of `TRACKERS`; none for no tracking.
        results: the results folder; trackers that write files write below it.
    """
    from accelerate import Accelerator

    with _state_aside():
        if device != "cpu":
            os.environ[_DEVICE] = device
        made = Accelerator(
            cpu=device == "cpu",
            mixed_precision=_MIXED[dtype],
            log_with=list(trackers) or None,
            project_dir=results / FOLDER / run if trackers else None,
        )
        if trackers:
            names: dict[str, dict[str, Any]] = {"wandb": {"name": run}, "mlflow": {"run_name": run}}
            made.init_trackers(PROJECT, config=_config(settings), init_kwargs=names)
        try:
            yield made
        finally:
            if trackers:
                made.end_training()


def _config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as trackers take them: one level, and what is no number, word or flag written out."""
    plain = flat(settings, "/").items()
    return {name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in plain}


def logged(entry: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a training step as trackers take them: loss, learning rate, every term and its share."""
    numbers = flat(entry, "/").items()
    return {name: float(value) for name, value in numbers if name != "step" and isinstance(value, int | float)}


@contextmanager
def _state_aside() -> Iterator[None]:
    """Let accelerate begin anew for a moment."""
    from accelerate.state import AcceleratorState, GradientState, PartialState

    states = (AcceleratorState, PartialState, GradientState)
    before = [dict(state._shared_state) for state in states]
    device = os.environ.get(_DEVICE)
    for state in states:
        state._shared_state.clear()
    try:
        yield
    finally:
        for state, kept in zip(states, before, strict=True):
            state._shared_state.clear()
            state._shared_state.update(kept)
        os.environ.pop(_DEVICE, None)
        if device is not None:
            os.environ[_DEVICE] = device
