"""`--config study.toml`: a whole study in one file, its keys the names of options.

What the command line or the environment says stands above it.
"""

import os
import tomllib
from pathlib import Path
from typing import Any

import typer

from mipic_bench.errors import UserError, raise_all, unknown
from mipic_bench.paths import expanded

_PLACES = ("data", "results")
_OWN = ("config", "help", "install_completion", "show_completion")


def read(path: Path) -> dict[str, Any]:
    """Read a study file.

    Raises:
        UserError: it is not there, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(
            f"--config {path}", f"cannot be read as TOML: {error}", 'give a file with lines like seeds = "0-4"'
        ) from error


def copied(path: Path | None) -> dict[str, Any]:
    """Return what the provenance keeps of a study file: all but where things are on this machine, of a path its last part."""
    return {key: _named(value) for key, value in read(path).items() if key not in _PLACES} if path else {}


def _named(value: Any) -> Any:
    """Return a value without the folders of paths in it; the id of a model on a hub looks like one, and is none."""
    if isinstance(value, list):
        return [_named(item) for item in value]
    if isinstance(value, str):
        return ",".join(Path(item).name if _is_path(item) else item for item in value.split(","))
    return value


def _is_path(item: str) -> bool:
    return item.startswith(("/", "./", "../", "~")) or os.path.isabs(item) or os.path.exists(item)


def apply(context: typer.Context, path: Path | None) -> Path | None:
    """Let a study file give the options that the command line does not name.

    Raises:
        UserError: a key that is no option of this command, or a value that no option has, all at once.
    """
    if path is None:
        return None
    path = expanded(path)
    names = {_key(option): option for option in context.command.params if option.name not in _OWN}
    problems: list[UserError] = []
    given: dict[str, Any] = {}
    for key, value in read(path).items():
        option = names.get(key.replace("_", "-"))
        if option is None:
            problems.append(unknown("key", key, names, str(path)))
        elif isinstance(value, dict) or (
            isinstance(value, list) and any(isinstance(item, list | dict) for item in value)
        ):
            problems.append(UserError(f"{path}: {key}", f"is {value!r}", "give one value, or a list of them"))
        else:
            given[str(option.name)] = _as_given(value, many=bool(getattr(option, "multiple", False)))
    raise_all(problems)
    context.default_map = {**(context.default_map or {}), **given}
    return path


def _key(option: Any) -> str:
    """Return the long name of an option, without its dashes."""
    longest: str = max(option.opts, key=len)
    return longest.lstrip("-")


def _as_given(value: Any, many: bool) -> Any:
    """Return a value as the command line would have given it: words, and lists of them."""
    if isinstance(value, list):
        words = [str(item) for item in value]
        return words if many else ",".join(words)
    if isinstance(value, bool):
        return value
    return [str(value)] if many else str(value)
