"""The derivative of host code from its values: rules for a function that has no other."""

import functools
from collections.abc import Callable, Iterator
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import PyTree

from dini._tree import RealView, is_inexact
from dini.numeric import complex_step_jvp, finite_difference_jvp
from dini.rules._host import Failures, call_host

Method = Literal["forward", "central", "five_point", "ridders", "complex_step"]


# ẏ = J ẋ is one difference along ẋ. For x̄ = Jᵀ ȳ the columns of J are formed, one for each real
# number of x: ∂y/∂Re x and ∂y/∂Im x, so that Re x̄ = Re(ȳ · ∂y/∂Re x), Im x̄ = −Re(ȳ · ∂y/∂Im x)
# in JAX's convention. J does not depend on ȳ: under vmap over cotangents it is formed once.
def difference_rules(
    evaluate: Callable[[tuple, PyTree], PyTree],
    names: tuple[str, ...],
    method: Method,
    failures: Failures,
) -> dict[str, Callable]:
    """Rules (out, args, tangents) ↦ tangent of out, (out, args, cotangent, moving) ↦ cotangents.

    Args:
        evaluate: (args, out) ↦ the value at other arguments, a tree like `out`; NumPy arrays.
        names: what the arguments are called.
        method: which differences.
        failures: where what goes wrong is noted.
    """
    derivative: Callable = (
        complex_step_jvp
        if method == "complex_step"
        else functools.partial(finite_difference_jvp, method=method)
    )

    def along(out: PyTree, args: tuple, direction: tuple) -> list[np.ndarray]:
        """The tangents of the inexact leaves of out."""
        base = dict(zip(names, args, strict=True))

        def near(moved: dict) -> PyTree:
            if moved is base:
                return out
            return evaluate(tuple(jtu.tree_map(_own, moved[name]) for name in names), out)

        _, tangent = derivative(near, (base,), (dict(zip(names, direction, strict=True)),))
        return [t for t in jtu.tree_leaves(tangent) if is_inexact(t)]

    def pushforward(out: PyTree, args: tuple, tangents: tuple) -> PyTree:
        like, treedef = jtu.tree_flatten(eqx.filter(out, eqx.is_inexact_array))
        structs = [jax.ShapeDtypeStruct(y.shape, y.dtype) for y in like]
        leaves = _on_host(along, (out, args, tangents), structs, failures)
        return treedef.unflatten(leaves)

    def pullback(out: PyTree, args: tuple, cotangent: PyTree, moving: tuple) -> tuple:
        view = RealView(eqx.filter(args, moving))
        like = jtu.tree_leaves(eqx.filter(out, eqx.is_inexact_array))
        dtype = jnp.result_type(*like)
        struct = jax.ShapeDtypeStruct((sum(y.size for y in like), view.size), dtype)
        units = functools.partial(_units, moving=jtu.tree_leaves(moving))

        def jacobian(out: PyTree, args: tuple) -> list[np.ndarray]:
            columns = [np.concatenate([*map(np.ravel, along(out, args, e))]) for e in units(args)]
            return [np.stack(columns, axis=1).astype(dtype)]

        (matrix,) = _on_host(jacobian, (out, args), [struct], failures)
        c = jnp.concatenate([c.reshape(-1).astype(dtype) for c in jtu.tree_leaves(cotangent)])
        product = jnp.matmul(c, matrix, precision="highest").real
        return jtu.tree_map(jnp.conj, view.unravel(product.astype(view.dtype)))

    return {"tangent": pushforward, "vjp": pullback}


def _on_host(
    fun: Callable[..., list[np.ndarray]],
    trees: tuple,
    out: list[jax.ShapeDtypeStruct],
    failures: Failures,
) -> list[jax.Array]:
    """Calls a function of these trees, with NumPy arrays in the place of JAX's."""
    arrays, static = eqx.partition(trees, eqx.is_array)
    flat, treedef = jtu.tree_flatten(arrays)
    run = lambda flat, _: fun(*eqx.combine(treedef.unflatten(flat), static))
    return call_host(run, flat, out, failures)


def _units(args: tuple, moving: list[bool]) -> Iterator[tuple]:
    """The directions of the real numbers in the leaves that move, in the order of `RealView`."""
    leaves, treedef = jtu.tree_flatten(args)
    for i, x in enumerate(leaves):
        for unit in (1, 1j)[: 1 + np.iscomplexobj(x)] if moving[i] else ():
            for k in range(x.size):
                e = np.zeros_like(x)
                e.flat[k] = unit
                yield treedef.unflatten([e if j == i else None for j in range(len(leaves))])


def _own(x: object) -> object:
    """A copy, of zero dimensions where NumPy has made it a scalar."""
    return np.array(x) if isinstance(x, np.ndarray | np.generic) else x
