"""From names to a request: the defaults filled in, methods and tasks found. Used by the command line and Python."""

from collections.abc import Iterable, Mapping, Sequence
from operator import index
from pathlib import Path
from typing import Any

from mipic_bench import tasks
from mipic_bench.errors import UserError, raise_all, unknown
from mipic_bench.planning.device import resolve_device, resolve_dtype
from mipic_bench.planning.offline import stay_offline
from mipic_bench.planning.parsing import LARGEST_SEED, cluster, words
from mipic_bench.planning.request import Request
from mipic_bench.recipes.methods import find
from mipic_bench.training.accelerating import check_trackers

_TRAINING = ("epochs", "max_steps", "batch_size", "max_length")
_PLAIN = (
    "device",
    "jobs",
    "cluster",
    "retry",
    "offline",
    "verify",
    "exclude_leaked",
    "diagnostics",
    "keep_checkpoints",
    "keep_vectors",
    "checkpoint_every",
)
_RATE = "learning_rate"
_NUMBERS, _WORDS = ("dims", "layers"), ("precisions", "changes", "track")
_ONE_OF = {
    "split": ("test", "dev"),
    "protocol": ("clean", "paper", "mteb"),
    "dtype": ("auto", "float32", "bfloat16", "float16"),
}


def ask(
    methods: Sequence[str],
    *,
    changes: Sequence[str] = (),
    backbones: Sequence[str] = (),
    corpora: Sequence[str] = (),
    named: Sequence[str] = (),
    suites: Sequence[str] = (),
    data: Path | None = None,
    precisions: Sequence[str] = (),
    training: Mapping[str, Any] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    **rest: Any,
) -> Request:
    """Return what is asked for, each default standing by itself; an empty list means the default.

    Args:
        methods: names, globs, or TOML files.
        changes: TOML assignments put over each method.
        backbones: names, hub ids or folders; `minilm` by default.
        corpora: names or files; `toy` by default.
        named: tasks; with `suites` empty too, every task of `data`, else the toy suite.
        suites: named lists of tasks, added to the tasks.
        data: a folder of local datasets.
        precisions: how vectors are stored; float32 by default.
        training: settings that stand above the recipes'; None among the values is nothing said.
        device: "auto" is a CUDA card if there is one.
        dtype: "auto" is bfloat16 where the hardware has it.
        rest: any other field of `Request`; with `offline` the whole process stays away from the hub from here on.

    Raises:
        UserError: a method, suite or task that is not known.
    """
    if rest.get("offline"):
        stay_offline()
    chosen = [*named, *(name for suite in suites for name in tasks.suite(suite, data))]
    if not chosen:
        chosen = tasks.every(data) if data else list(tasks.suite("toy"))
    if rest.get("track"):
        check_trackers(rest["track"])
    device = resolve_device(device)
    return Request(
        methods=tuple(find(methods, changes)),
        backbones=tuple(backbones) or ("minilm",),
        corpora=tuple(corpora) or ("toy",),
        tasks=tuple(dict.fromkeys(chosen)),
        data=data,
        precisions=tuple(precisions) or ("float32",),
        training={key: value for key, value in (training or {}).items() if value is not None},
        dtype=resolve_dtype(dtype, device),
        device=device,
        **rest,
    )


SCORING = (*_ONE_OF, *_NUMBERS, "precisions", "max_length", "device", "offline", "verify", "keep_vectors")
RUNNING = (*_TRAINING, _RATE, *_PLAIN, *_NUMBERS, *_WORDS, *_ONE_OF)


def sorted_options(given: Mapping[str, Any], known: Sequence[str], named: Iterable[str]) -> dict[str, Any]:
    """Sort keyword options into what `ask` takes; a wrong name or word is told with those that are close.

    Args:
        given: option -> value.
        known: `RUNNING`, or `SCORING` where nothing is trained.
        named: what the function takes besides, so that a slip in its name is told too.
    """
    wrong = [unknown("option", name, (*known, *named), name) for name in given if name not in known]
    chosen = {name: given[name] for name in _ONE_OF if name in given}
    wrong += [
        unknown(name, str(word), _ONE_OF[name], name) for name, word in chosen.items() if word not in _ONE_OF[name]
    ]
    raise_all(wrong)
    found: dict[str, Any] = chosen | {name: given[name] for name in _PLAIN if name in given}
    if "cluster" in found:
        found["cluster"] = cluster(found["cluster"])
    found |= {name: tuple(words(given[name])) for name in _WORDS if given.get(name)}
    numbers = {name: _numbers(given[name], name) for name in _NUMBERS if given.get(name) is not None}
    found |= {name: several for name, several in numbers.items() if several}
    if _RATE in given:
        rate = given[_RATE]
        found["rates"] = dict(rate) if isinstance(rate, Mapping) else {"": rate}
    return {**found, "training": {name: given[name] for name in _TRAINING if name in given}}


def _numbers(given: int | Iterable[int], where: str) -> tuple[int, ...]:
    """Return one whole number or several as a tuple."""
    try:
        return tuple(map(index, given if isinstance(given, Iterable) else (given,)))
    except TypeError as error:
        raise UserError(where, f"{given!r} is not a list of whole numbers", f"give {where}=[1, 2]") from error


def check_seeds(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """Return seeds as a tuple.

    Raises:
        UserError: there is none, or one is no whole number of 0 to `LARGEST_SEED`.
    """
    found = _numbers(seeds, "seeds")
    if wrong := [seed for seed in found if not 0 <= seed <= LARGEST_SEED]:
        raise UserError("seeds", f"{wrong[0]} is not within 0..{LARGEST_SEED}", "give seeds such as range(5)")
    if not found:
        raise UserError(
            "seeds", "is empty, so no trained method would run", "give seeds such as range(5), or leave it out"
        )
    return found
