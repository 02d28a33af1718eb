"""Products in full precision, NaN that derivatives keep, and what is computed only where needed."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact


def product(*factors: Inexact[Array, "... m n"]) -> Inexact[Array, "... m n"]:
    """A B C … in full precision: accelerators round the factors of single ones by default."""
    times = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    return functools.reduce(times, factors)


def marked(x: Inexact[Array, "..."], good: Bool[Array, "..."]) -> Inexact[Array, "..."]:
    """x, or NaN for it and for its derivatives."""
    return x * jnp.where(good, 1, jnp.nan).astype(x.dtype)


def once(where: Bool[Array, ""], fn: Callable[[], Any], otherwise: Any) -> Any:
    """fn() where asked for: a loop of one step at most.

    `jax.lax.cond` would take both branches in every lane of a batch. The barrier keeps the compiler
    from doing so too: what does not change from step to step it would compute ahead of the loop.
    """
    closed = eqx.filter_closure_convert(fn)

    def step(state: tuple) -> tuple:
        _, held = jax.lax.optimization_barrier((state[0], eqx.filter(closed, eqx.is_array)))
        return jnp.asarray(False), eqx.combine(held, closed)()

    return jax.lax.while_loop(lambda state: state[0], step, (where, otherwise))[1]
