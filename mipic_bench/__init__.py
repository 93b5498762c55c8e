"""Train, score and compare nested (Matryoshka) sentence embeddings at every layer and width.

    import mipic_bench as mb

    rows = mb.run(["mrl", "mipic"], tasks="toy-sts", max_steps=50)   # a pandas DataFrame, one row per number
    mb.tables(rows)                                                  # layer x dim, shown by a notebook

Functions: `run`, `evaluate`, `load_results`, `tables`, `report`, `compare`, `export`, `profile` (see `mipic_bench.api`).
Parts: `objectives` (the terms and their pure functions), `MipicLoss` (a recipe as a loss of sentence-transformers).

Nothing heavy is imported before one of these is used.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from inspect import Signature, signature
from types import ModuleType
from typing import Any

_FUNCTIONS = ("compare", "evaluate", "export", "load_results", "profile", "report", "run", "tables")
_ELSEWHERE = {"MipicLoss": "adapter", "UserError": "errors"}
_MODULES = ("api", "objectives")
_VERBS = frozenset({"compare", "export", "report", "run", "tables"})  # functions that share a submodule's name

__all__ = ["MipicLoss", "UserError", "api", "objectives", *_FUNCTIONS]  # noqa: PLE0604 - names, and nothing is imported


class _Verb(ModuleType):
    """A submodule with the name of a public function: it stays a module, and calling it calls the function.

    Python binds a submodule to its package when it is first imported; without this, `mb.run(...)` would work until
    something imported `mipic_bench.run`.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function of `mipic_bench.api`; its docstring says what it takes."""
        return self._function()(*args, **options)

    @property
    def __signature__(self) -> Signature:
        return signature(self._function())

    def _function(self) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(import_module("mipic_bench.api"), self.__name__.rpartition(".")[2])
        return function


class _Package(ModuleType):
    """This package: it makes verbs of the submodules that share a public function's name, as they are bound."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _VERBS and isinstance(value, ModuleType):
            value.__class__ = _Verb
            value.__doc__ = (
                f"Calling it calls `mipic_bench.api.{name}`: see help(mipic_bench.api.{name}).\n\n{value.__doc__}"
            )
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for."""
    if name in _VERBS or name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _FUNCTIONS:
        return getattr(import_module(f"{__name__}.api"), name)
    if name in _ELSEWHERE:
        return getattr(import_module(f"{__name__}.{_ELSEWHERE[name]}"), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("mipic-bench")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
