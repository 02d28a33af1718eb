"""The arguments of a call by position, however they were given."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
from jaxtyping import PyTree


class Positions(eqx.Module):
    """How the values of a call, in the order of the signature, go back into the call.

    Attributes:
        names: what each value is called in errors: its parameter, with an index in `*args`.
        keywords: the name under which a value is passed; None by position, "**" for a dictionary
            of further keywords.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    keywords: tuple[str | None, ...] = eqx.field(static=True)

    def call(self, fn: Callable, values: Sequence[PyTree]) -> Any:
        """Calls a function with these values."""
        args, kwargs = [], {}
        for value, keyword in zip(values, self.keywords, strict=True):
            if keyword is None:
                args.append(value)
            elif keyword == "**":
                kwargs |= value
            else:
                kwargs[keyword] = value
        return fn(*args, **kwargs)


def bind(fn: Callable, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, Positions]:
    """The values of all parameters of `fn`, defaults among them, and how they are passed.

    Raises:
        TypeError: when the arguments do not fit the signature.
    """
    try:
        signature = inspect.signature(fn)
    except ValueError:  # a function written in C that does not tell its signature
        values = (*args, *kwargs.values())
        names = (*(f"argument {i}" for i in range(len(args))), *kwargs)
        return values, Positions(names, (*(None for _ in args), *kwargs))
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    entries: list[tuple[Any, str, str | None]] = []
    for name, parameter in signature.parameters.items():
        value = bound.arguments[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            entries += [(v, f"{name}[{i}]", None) for i, v in enumerate(value)]
        elif parameter.kind is parameter.VAR_KEYWORD:
            entries += [(value, name, "**")] if value else []
        else:
            entries.append(
                (value, name, name if parameter.kind is parameter.KEYWORD_ONLY else None)
            )
    values, names, keywords = zip(*entries, strict=True) if entries else ((), (), ())
    return tuple(values), Positions(tuple(names), tuple(keywords))
