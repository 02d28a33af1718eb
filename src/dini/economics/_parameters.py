"""The parameters of a model by name, whatever the tree that holds them."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Float, PyTree

from dini._tree import asarrays, is_inexact
from dini.economics._record import unknown


def pretty(path: Any) -> str:
    """`alpha`, `shocks.sd`, `weights.0`: a place in a tree of parameters."""
    return jtu.keystr(tuple(path), simple=True, separator=".") or "the parameter"


class Parameters(NamedTuple):
    """Some of the numbers in a tree, as a vector.

    Attributes:
        names: one for each number, `sd[1]` for one in an array.
        vector: the numbers, of shape (p,).
        replace: vector ↦ the tree with other numbers in their places.
    """

    names: tuple[str, ...]
    vector: Float[Array, " p"]
    places: tuple[tuple[int, int], ...]
    leaves: tuple[Any, ...]
    treedef: Any

    def replace(self, vector: Float[Array, " p"]) -> PyTree:
        """The tree with these numbers in place of its own."""
        leaves = list(self.leaves)
        for number, (leaf, at) in zip(vector, self.places, strict=True):
            x = leaves[leaf]
            changed = jnp.ravel(x).at[at].set(number.astype(x.dtype))
            leaves[leaf] = changed.reshape(x.shape)
        return self.treedef.unflatten(leaves)


def parameters(
    params: PyTree, names: str | Iterable[str] | None = None, what: str = "parameters"
) -> Parameters:
    """The floating-point numbers of a tree, or those of some names.

    Args:
        params: the tree.
        names: of numbers, or of whole arrays; None for all.
        what: the function that asks, for errors.

    Raises:
        ValueError: for an unknown name, and where there is nothing.
    """
    paths, treedef = jtu.tree_flatten_with_path(asarrays(params))
    leaves = tuple(x for _, x in paths)
    found: dict[str, tuple[int, int]] = {}
    arrays: dict[str, list[str]] = {}
    for i, (path, x) in enumerate(paths):
        if not is_inexact(x):
            continue
        name = pretty(path)
        arrays[name] = [name + _index(at, x.shape) for at in range(x.size)]
        found |= {label: (i, at) for at, label in enumerate(arrays[name])}
    chosen = tuple(found)
    if names is not None:
        chosen = _chosen((names,) if isinstance(names, str) else tuple(names), arrays, found, what)
    if not chosen:
        raise ValueError(f"{what}: there is no floating-point number among the parameters.")
    places = tuple(found[name] for name in chosen)
    vector = jnp.stack([jnp.ravel(leaves[i])[at] for i, at in places])
    return Parameters(chosen, vector, places, leaves, treedef)


def _chosen(
    names: Sequence[str], arrays: dict[str, list[str]], found: dict, what: str
) -> tuple[str, ...]:
    chosen = []
    for name in names:
        if name not in found and name not in arrays:
            raise ValueError(f"{what}: among the parameters, {unknown(name, found)}")
        chosen += [name] if name in found else arrays[name]
    return tuple(dict.fromkeys(chosen))


def _index(at: int, shape: tuple[int, ...]) -> str:
    if not shape:
        return ""
    numbers = [str(int(i)) for i in jnp.unravel_index(at, shape)]
    return f"[{', '.join(numbers)}]"
