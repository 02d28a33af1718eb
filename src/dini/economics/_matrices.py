"""What the files of this package share of matrices."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def product(*factors: Float[Array, "..."]) -> Float[Array, "..."]:
    """A B C … in full precision: accelerators round the factors of single ones by default."""
    times = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    return functools.reduce(times, factors)


def marked(x: Float[Array, "..."], good: Bool[Array, ""]) -> Float[Array, "..."]:
    """x, or NaN for it and for its derivatives of every order."""
    return x * jnp.where(good, 1, jnp.nan).astype(x.dtype)


def once(where: Bool[Array, ""], fn: Callable[[], Any], otherwise: Any) -> Any:
    """fn() where asked for: a loop of one step at most.

    `jax.lax.cond` would take both branches in every lane of a batch.
    """
    step = lambda _: (jnp.asarray(False), fn())
    return jax.lax.while_loop(lambda state: state[0], step, (where, otherwise))[1]
