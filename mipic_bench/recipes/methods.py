"""The methods by name: every TOML file in `methods/`, its ablations and swept values, or a file of the user's own."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from mipic_bench.errors import UserError, unknown
from mipic_bench.paths import expanded, shipped
from mipic_bench.recipes.recipe import Recipe, full_key, variants
from mipic_bench.recipes.schema import flat

_KEY = re.compile(r"\w[\w.]*")
_OF_FILES = ("backbones", "ablations", "sweeps")  # keys of a file that `--set` cannot reach


@cache
def catalog() -> dict[str, Recipe]:
    """Read every shipped recipe: method name -> recipe, ablations and swept values included."""
    files = sorted(shipped("methods").glob("*.toml"), key=lambda path: path.stem)
    return {recipe.method: recipe for file in files for recipe in variants(file)}


def find(specs: Sequence[str], changes: Sequence[str] = ()) -> list[Recipe]:
    """Return the methods that the given names, globs or TOML files stand for, each once, in order.

    Args:
        specs: method names ("mipic-no-pic", "mipic-alpha=0.5"), globs ("mipic*") or paths of TOML files. A file stands for
            its recipe; the names of its ablations and swept values are known beside it ("my.toml", "my-no-pic").
        changes: TOML assignments put over each ("terms.attention.weight = 0.5"), as `--set` takes them.

    Raises:
        UserError: for no name at all, an unknown one (did you mean), a file that is not there, or a change that is not TOML.
    """
    if not specs:
        raise UserError("--method", "no method is named", "give a name of `mipic-bench list methods`, such as mrl")
    files = {spec: _read(spec) for spec in specs if spec.endswith(".toml")}
    _refuse_namesakes(list(files))
    known = catalog() | {recipe.method: recipe for own in files.values() for recipe in own}
    found: dict[str, Recipe] = {}
    for spec in specs:
        matches = files[spec][:1] if spec in files else _match(spec, known)
        found.update({recipe.method: recipe for recipe in matches})
    return list({recipe.method: recipe for recipe in (changed(old, changes) for old in found.values())}.values())


def changed(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """Return a recipe with TOML assignments put over it, in order.

    Raises:
        UserError: one is not TOML, or sets nothing that can be set.
    """
    for key, value in (pair for change in changes for pair in parse_change(change)):
        recipe = recipe.set(key, value)
    return recipe


def parse_change(text: str) -> list[tuple[str, Any]]:
    """Read one `--set` in TOML grammar as (dotted key, value) pairs."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        fix = "write --set 'terms.attention.weight = 0.5', and words in quotes"
        raise UserError("--set", f"'{text}' is not TOML: {error}", fix) from error
    pairs = list(flat(table).items())
    if not pairs or _holds_nothing(table):
        raise UserError("--set", f"'{text}' sets nothing", "name a key and its value: 'terms.sdr.weight = 1'")
    for key, _ in pairs:
        if key.split(".")[0] in _OF_FILES:
            fix = "set the key itself, such as 'dims = [8]', or write a recipe file"
            raise UserError("--set", f"'{key}' is a part of recipe files that says when a key changes", fix)
    return pairs


def _holds_nothing(table: Mapping[str, Any]) -> bool:
    return any(isinstance(value, dict) and (not value or _holds_nothing(value)) for value in table.values())


def _refuse_namesakes(specs: Sequence[str]) -> None:
    """Refuse recipe files that are called as another one or as a shipped method: their rows could not be told apart."""
    first: dict[str, str] = {}
    for spec in specs:
        path, other = expanded(spec), first.setdefault(Path(spec).stem, spec)
        if other != spec and path.read_bytes() != expanded(other).read_bytes():
            raise UserError(spec, f"is called {path.stem}, as '{other}' is", "rename one of the files")
        ours = shipped("methods") / path.name
        if path.stem in catalog() and not (ours.is_file() and path.read_bytes() == ours.read_bytes()):
            raise UserError(spec, f"is called as the shipped method {path.stem}", "rename the file")


def _read(spec: str) -> list[Recipe]:
    path = expanded(spec)
    if not path.is_file():
        fix = "give the path of a TOML recipe, or a method's name"
        raise UserError("--method", f"there is no file '{path.name}'", fix)
    return list(variants(path))


def _match(spec: str, known: Mapping[str, Recipe]) -> list[Recipe]:
    if spec in known:
        return [known[spec]]
    if "=" in spec and not set("*?") & set(spec):
        return [_swept(spec, known)]
    matches = [recipe for name, recipe in known.items() if fnmatchcase(name, spec)]
    if not matches:
        raise unknown("method", spec, known, "--method")
    return matches


def _swept(spec: str, known: Mapping[str, Recipe]) -> Recipe:
    """Return the recipe for a name such as mipic-alpha=0.35: a method, then keys changed one after the other."""
    head, _, text = spec.rpartition("=")
    for cut in [place for place in reversed(range(len(head))) if head[place] == "-"]:
        method, key = head[:cut], head[cut + 1 :]
        if (method in known or "=" in method) and _KEY.fullmatch(key):
            base = known[method] if method in known else _swept(method, known)
            return base.set(full_key(base, key), _value(text, spec))
    raise unknown("method", spec, known, "--method")


def _value(text: str, spec: str) -> Any:
    """Read the value in a method's name: TOML, or a single word without quotes."""
    try:
        [value] = tomllib.loads(f"value = {text}").values()
        if not isinstance(value, dict):
            return value
    except ValueError:
        if text.isidentifier():
            return text
    raise UserError("--method", f"'{text}' in '{spec}' is no value", "write mipic-alpha=0.5 or mrl-dims=[16,32]")
