"""Errors that are the user's to mend, told in three parts: where, what, and what to do."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any


class UserError(Exception):
    """A mistake in what the user gave us. The command line prints it without a traceback and exits with code 2.

    Args:
        where: the file, option or recipe key that is wrong.
        what: what is wrong with it, with both values (found and allowed).
        fix: what to do about it.
    """

    def __init__(self, where: str, what: str, fix: str) -> None:
        super().__init__(where, what, fix)
        self.where, self.what, self.fix = where, what, fix

    @property
    def problems(self) -> Sequence["UserError"]:
        """The mistakes one by one: this one, or the several that were found in one reading."""
        return (self,)

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n  {self.fix}"


class UserErrors(UserError):  # noqa: N818 - several of them
    """Several mistakes found in one reading, all told at once."""

    def __init__(self, problems: Sequence[UserError]) -> None:
        first = problems[0]
        super().__init__(first.where, first.what, first.fix)
        self._problems = tuple(problems)

    @property
    def problems(self) -> Sequence[UserError]:
        """The mistakes one by one."""
        return self._problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


@contextmanager
def readable(where: str) -> Iterator[None]:
    """Tell of a file or folder that the system does not let us read as of a mistake of the user's."""
    try:
        yield
    except OSError as error:
        which = "" if str(error.filename or where) == where else f" ({error.filename})"
        what = f"cannot be read: {error.strerror or error}{which}"
        raise UserError(where, what, "give yourself the right to read it, or name another") from error


_MOST = 30  # names that an error lists


def unknown(kind: str, name: str, known: Iterable[str], where: str) -> UserError:
    """Build the error for a name that is not in a list: the close matches first, else the whole list."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    more = [f"and {len(names) - _MOST} more"] if len(names) > _MOST + 1 else []
    told = ", ".join([*names[:_MOST], *more] if more else names)
    fix = f"did you mean {' or '.join(close)}?" if close else f"known: {told or 'none'}"
    return UserError(where, f"unknown {kind} '{name}'", fix)


def raise_all(problems: Sequence[UserError]) -> None:
    """Raise what was collected: nothing when the list is empty, one error as itself, several as one."""
    if problems:
        raise problems[0] if len(problems) == 1 else UserErrors(problems)


def gather(actions: Iterable[Callable[[], Any]]) -> list[Any]:
    """Run every action and return what they return; when some fail, raise all their user errors at once."""
    results, problems = [], list[UserError]()
    for action in actions:
        try:
            results.append(action())
        except UserError as error:
            problems += error.problems
    raise_all(problems)
    return results


def listed(values: Iterable[str], most: int = 8) -> str:
    """Join values for a message, each quoted, the first few of many."""
    quoted = [repr(value) for value in values]
    more = f" and {len(quoted) - most} more" if len(quoted) > most else ""
    return ", ".join(quoted[:most]) + more
