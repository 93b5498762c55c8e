"""Tasks: data to be scored on, with a family that says how.

To add a task of the hub, write one uppercase `Task` constant in a module of this folder (its family's module is the place): name, family,
title, hub id, pinned revision, licence, citation. Nothing else is edited; `tests/contract` checks it. A dataset of one's own needs no code:
see `local.py`.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from mipic_bench import registry
from mipic_bench.data import toy
from mipic_bench.errors import UserError, unknown
from mipic_bench.paths import expanded
from mipic_bench.tasks import generated, hub, local
from mipic_bench.tasks._base import SPLITS, Fold, Task, TaskData
from mipic_bench.tasks._folds import fold
from mipic_bench.tasks.local import folders

__all__ = [
    "SPLITS",
    "SUITES",
    "Fold",
    "Task",
    "TaskData",
    "fold",
    "folders",
    "found",
    "known",
    "load",
    "refuse_task",
    "registered",
    "suite",
]

SUITES: Mapping[str, tuple[str, ...]] = {
    "toy": ("toy-sts", "toy-classification", "toy-pair", "toy-retrieval", "toy-clustering"),
    "quick": ("stsb", "tweeteval_emotion", "mrpc"),
    # the sets of the MIPIC paper's tables, as far as its laboratory's evaluation names them (facts: SICK test and whole)
    "paper": (
        *("banking77", "emotion", "tweet_sentiment"),
        *("sick_r", "sick_r_all", "stsb", "sts12", "sts13", "sts14", "sts15", "sts16"),
        *("mrpc", "scitail", "wic"),
    ),
    "sts": ("sts12", "sts13", "sts14", "sts15", "sts16", "stsb", "sick_r"),
}


@cache
def registered() -> Mapping[str, Task]:
    """Return the registry: task name -> its constant."""
    return {task.name: task for task in registry.instances(sys.modules[__name__], Task)}


def official_names() -> Mapping[str, str]:
    """Return an official task of mteb -> the registry's name of its dataset: "mteb:STSBenchmark" -> "stsb"."""
    return {f"mteb:{own.mteb}": own.name for own in registered().values() if own.mteb}


def load(name: str, data: Path | None = None) -> TaskData:
    """Return the data of a task.

    Looked for in this order: a folder of that name in `data`; the project's own toy tasks; the hub, for names of the
    registry; a folder or file at that path.

    Args:
        name: a registry name, a folder's name in `data`, or a path.
        data: the folder of local datasets.

    Raises:
        UserError: an unknown name, bad files (all problems at once), or a hub that cannot be reached.
    """
    local.check_data(data)
    task = registered().get(name)
    if _is_bare(name):
        if data is not None and local.guess_family(data / name):
            return local.load(data / name, name, task)
        if name in toy.TASKS:
            return generated.load(name)
        if task is not None:
            return hub.load(task)
    place = _path(name, data)
    if place is None:
        raise unknown("task", name, known(data), "--task")
    return local.load(place, local.shown(place), registered().get(place.name))


def known(data: Path | None = None) -> dict[str, str]:
    """Return task name -> family, for the registry and the folders of `data` ("?" for a folder that `load` will refuse)."""
    return {**{name: task.family for name, task in registered().items()}, **found(data)}


def found(data: Path | None) -> dict[str, str]:
    """Return task name -> family for the folders of `data` alone, in name order."""
    return dict(_folders(data)) if data is not None else {}


def every(data: Path) -> list[str]:
    """Return the names of the folders of `data` that are tasks.

    Raises:
        UserError: none is.
    """
    if names := list(found(data)):
        return names
    refuse_task(data)
    fix = "give the folder that holds the tasks' folders, or name tasks with --task; `mipic-bench check --data DIR` tells what it reads"
    raise UserError(f"--data {data}", "no folder in it is a task", fix)


def refuse_task(data: Path) -> None:
    """Raise when the folder that is to hold tasks is one itself."""
    if local.guess_family(data):
        fix = f"it is a task itself: give the folder above it, and --task {data.resolve().name}"
        raise UserError(f"--data {data}", "no folder in it is a task", fix)


def suite(name: str, data: Path | None = None) -> tuple[str, ...]:
    """Return the task names of a suite. "all" is the whole registry without the toy tasks, and every folder of `data`.

    Raises:
        UserError: no suite has that name.
    """
    if name == "all":
        return tuple(task for task in known(data) if task not in toy.TASKS)
    if name not in SUITES:
        raise unknown("suite", name, [*SUITES, "all"], "--suite")
    return SUITES[name]


def _folders(data: Path) -> Iterator[tuple[str, str]]:
    for folder in folders(data):
        family = local.guess_family(folder)
        task = registered().get(folder.name)
        if family:
            yield folder.name, task.family if task else family


def _is_bare(name: str) -> bool:
    """Tell a name from a path: a bare name stays inside `--data`."""
    return name not in ("", ".", "..") and not {"/", "\\"} & set(name)


def _path(name: str, data: Path | None) -> Path | None:
    """Return the folder or file that a path names, if it holds a task's files; relative to here, else to `data`."""
    if name in ("", ".", ".."):
        return None
    for place in [expanded(name), *([data / name] if data is not None and _is_inside(name) else [])]:
        if os.path.isfile(place) or (os.path.isdir(place) and (local.is_retrieval(place) or local.split_files(place))):
            return place
    return None


def _is_inside(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts
