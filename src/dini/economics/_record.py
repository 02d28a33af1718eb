"""Numbers by name."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


class Record(eqx.Module):
    """A number, or an array, for each name: `record.k`, `record["lambda"]`.

    A pytree of one leaf a name. By attribute goes every name that is no Python keyword and none of
    this class's own (`names`, `leaves`, `of`, `items`, `vector`); by item go all.

    Attributes:
        names: in their order.
        leaves: one for each name, all of one shape.

    Raises:
        AttributeError, KeyError: for a name that it does not have, with those that are close.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    leaves: tuple[Any, ...]

    @staticmethod
    def of(names: Iterable[str] | Mapping[str, Any], vector: ArrayLike | None = None) -> "Record":
        """A record from a mapping; or from names and an array whose last axis follows them.

        Args:
            names: the names, or a mapping from them to numbers.
            vector: of shape (..., names).

        Raises:
            ValueError: when the last axis is not as long as there are names.
        """
        if isinstance(names, Mapping):
            return Record(tuple(names), tuple(jnp.asarray(x) for x in names.values()))
        names, array = tuple(names), jnp.asarray(vector)
        if array.ndim == 0 or array.shape[-1] != len(names):
            raise ValueError(
                f"a Record of {len(names)} names ({', '.join(names)}) takes an array whose last "
                f"axis is as long, and was given the shape {array.shape}."
            )
        return Record(names, tuple(array[..., i] for i in range(len(names))))

    @property
    def vector(self) -> Float[Array, "... names"]:
        """The numbers, stacked along a new last axis."""
        return jnp.stack([jnp.asarray(x) for x in self.leaves], axis=-1)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Pairs (name, number)."""
        return zip(self.names, self.leaves, strict=True)

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(unknown(name, self.names))
        return self.leaves[self.names.index(name)]

    def __getattr__(self, name: str) -> Any:
        # Half made, as in unpickling, a record has no names to look among.
        if name in ("names", "leaves") or name.startswith("__"):
            raise AttributeError(name)
        if name not in self.names:
            raise AttributeError(unknown(name, self.names))
        return self.leaves[self.names.index(name)]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        width = max(map(len, self.names), default=0)
        rows = [f"    {name:{width}}  {_shown(x)}" for name, x in self.items()]
        return "\n".join(["Record", *rows])


def unknown(name: str, names: Iterable[str]) -> str:
    """What to say of a name that is not among the names."""
    names = tuple(names)
    close = difflib.get_close_matches(name, names, n=3)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"there is no {name!r}.{hint} The names are {', '.join(names) or '(none)'}."


def _shown(x: Any) -> str:
    if hasattr(x, "shape") and x.shape:
        return f"{x.dtype}{list(x.shape)}"
    return str(x)
