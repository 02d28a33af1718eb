"""What all decorated functions share: a name for errors, and that they bind as methods do."""

import abc
import copy
import functools
from collections.abc import Callable
from typing import Any, Self


class DecoratedFunction(abc.ABC):
    """A function that stands for another one; usable as a method.

    Attributes:
        fn: the function that was decorated.
    """

    fn: Callable

    def __init__(self, kind: str, fn: Callable) -> None:
        self._name = title(kind, fn)
        functools.update_wrapper(self, fn, updated=())
        self.fn = fn
        self._bound: tuple = ()

    @abc.abstractmethod
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What it stands for."""

    def __get__(self, instance: Any, owner: type | None = None) -> Self:
        if instance is None:
            return self
        method = self._copy()
        method._bound = (instance,)
        return method

    def __repr__(self) -> str:
        return f"<{self._name}>"

    def _copy(self) -> Self:
        return copy.copy(self)


def title(kind: str, fn: Any) -> str:
    """What errors call a decorated function.

    Raises:
        TypeError: if it is none.
    """
    if not callable(fn):
        raise TypeError(f"dini.{kind} decorates a function, and was given {fn!r}.")
    inner = getattr(fn, "__qualname__", None) or type(fn).__name__
    return f"dini.{kind} `{inner.replace('<locals>.', '')}`"
