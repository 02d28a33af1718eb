"""Host code as a function of a call's arguments: what reaches it, and what comes back."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import PyTree

from dini._tree import describe, is_inexact
from dini.rules._captured import captured
from dini.rules._host import Failures, VmapMethod, call_host, nothing
from dini.rules._positions import Positions

# From the narrowest to the widest: a result is cast upwards only.
_KINDS = (np.bool_, np.integer, np.floating, np.complexfloating)


@dataclasses.dataclass(frozen=True, eq=False)
class HostFunction:
    """A host function, and what its result must be."""

    fn: Callable
    like: str | None
    out: Any
    vmap_method: VmapMethod
    throw: bool
    failures: Failures

    @property
    def name(self) -> str:
        return self.failures.name

    def __call__(self, values: tuple, positions: Positions) -> PyTree:
        """The value, for JAX arrays."""
        arrays, static = eqx.partition(values, eqx.is_array)
        self._check_arguments(values, static, positions)
        out = self._result(values, positions)
        flat, treedef = jtu.tree_flatten(arrays)
        structs, out_treedef = jtu.tree_flatten(out)

        def run(flat: list[np.ndarray], lead: tuple[int, ...]) -> list[np.ndarray]:
            values = eqx.combine(treedef.unflatten(flat), static)
            return jtu.tree_leaves(self.evaluate(values, positions, out, lead))

        leaves = call_host(run, flat, structs, self.failures, self.vmap_method)
        return out_treedef.unflatten(leaves)

    def evaluate(
        self,
        values: tuple,
        positions: Positions,
        out: PyTree,
        lead: tuple[int, ...] = (),
        cast: bool = True,
    ) -> PyTree[np.ndarray]:
        """The value, for NumPy arrays: of the structure, the shapes and the dtypes of `out`.

        Args:
            values: the arguments.
            positions: and how they are passed.
            out: a tree of arrays or structs.
            lead: axes of a batch, before those of `out`.
            cast: False leaves the dtypes as they come.

        Raises:
            TypeError: where the value does not fit; or what the function raises.
        """
        try:
            given = positions.call(self.fn, values)
        except Exception as error:
            if self.throw:
                error.add_note(f"Raised by the host function of {self.name}.")
                raise
            return jtu.tree_map(lambda s: nothing(s, lead), out)
        source = "by out=" if self.like is None else f"like `{self.like}`"
        structs, treedef = jtu.tree_flatten_with_path(out)
        try:
            parts = treedef.flatten_up_to(given)
        except ValueError as error:
            raise TypeError(
                f"{self.name}: its result must have the structure {describe(out)} {source}, and "
                f"is {describe(given)}."
            ) from error
        leaves = []
        for part, (path, struct) in zip(parts, structs, strict=True):
            x, want = _array(part), jax.ShapeDtypeStruct((*lead, *struct.shape), struct.dtype)
            y = _cast(x, want.dtype) if cast else x
            if y is None or y.shape != want.shape:
                what = f"of type {type(part).__name__}" if x.dtype == object else describe(x)
                raise TypeError(
                    f"{self.name}: its result{jtu.keystr(path)} must be {describe(want)} "
                    f"{source}, and is {what}."
                )
            leaves.append(y)
        return treedef.unflatten(leaves)

    def _check_arguments(self, values: tuple, static: tuple, positions: Positions) -> None:
        fn = self.fn
        if tracers := captured(lambda: (fn, static)):
            raise TypeError(
                f"{self.name} captures a traced value, {describe(tracers[0].aval)}, which does "
                "not exist on the host. Pass it as an argument."
            )
        for name, value in zip(positions.names, values, strict=True):
            for path, leaf in jtu.tree_flatten_with_path(value)[0]:
                if eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                    raise TypeError(
                        f"{self.name}: `{name}{jtu.keystr(path)}` is a PRNG key, which NumPy does "
                        "not know. Pass jax.random.key_data(key)."
                    )

    def _result(self, values: tuple, positions: Positions) -> PyTree[jax.ShapeDtypeStruct]:
        """What the result is to be."""
        if self.like is not None:
            what, given = f"`{self.like}`", values[positions.names.index(self.like)]
        elif callable(self.out):
            structs = jtu.tree_map(lambda x: _struct(x) if eqx.is_array(x) else x, values)
            what, given = "what out= returns", positions.call(self.out, structs)
        else:
            what, given = "out=", self.out
        for path, leaf in jtu.tree_flatten_with_path(given)[0]:
            if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
                raise TypeError(
                    f"{self.name}: the result cannot be like {leaf!r} in {what}{jtu.keystr(path)}, "
                    "which has no shape and dtype."
                )
        out = jtu.tree_map(_struct, given)
        if not self.throw and not any(map(is_inexact, jtu.tree_leaves(out))):
            raise TypeError(f"{self.name}: throw=False gives NaN, and {describe(out)} has none.")
        return out


def _struct(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, jax.dtypes.canonicalize_dtype(x.dtype))


def _array(part: Any) -> np.ndarray:
    """A part of a result as an array; of objects, where it is none."""
    try:
        return np.asarray(part)
    except ValueError:  # lists of unequal lengths
        return np.asarray(None)


def _cast(x: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    """The same numbers in another precision or a wider kind; None where they would not be."""
    kind, wanted = (
        next((i for i, kind in enumerate(_KINDS) if jnp.issubdtype(d, kind)), len(_KINDS))
        for d in (x.dtype, dtype)
    )
    if kind > wanted or kind == len(_KINDS):
        return None
    with np.errstate(over="ignore"):
        y = x.astype(dtype)
    return y if jnp.issubdtype(dtype, np.inexact) or np.array_equal(x, y) else None
