"""Parts are found, never listed: every module of a part folder that holds the folder's kind of object is a part."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")


class _Lazy:
    """Stands in for a module and imports it at the first look at one of its names."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value


def lazy(name: str) -> Any:
    """Return a stand-in for a slow module (torch), so that part files can be read for their words without loading it."""
    return _Lazy(name)


def modules(package: ModuleType) -> Iterator[tuple[str, ModuleType]]:
    """Import every public module directly inside a package, in name order, as (module name, module)."""
    for found in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        if not found.name.startswith("_"):
            yield found.name, importlib.import_module(f"{package.__name__}.{found.name}")


def instances(package: ModuleType, kind: type[T]) -> Iterator[T]:
    """Yield every module-level constant of a kind in a package's modules, in module and then source order."""
    for _, module in modules(package):
        yield from (value for name, value in vars(module).items() if isinstance(value, kind) and name.isupper())


def leaves(package: ModuleType, kind: type[T]) -> dict[str, type[T]]:
    """Map module name to the one class of a kind defined in that module."""
    parts: dict[str, type[T]] = {}
    for name, module in modules(package):
        own = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, kind) and value.__module__ == module.__name__
        ]
        if len(own) > 1:
            raise TypeError(f"{module.__name__} defines {len(own)} {kind.__name__} classes; a part file holds one")
        if own:
            parts[name] = own[0]
    return parts
