"""What matrix functions share: the check of their argument, products, norms, NaN."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Inexact


def square(a: ArrayLike, name: str) -> Inexact[Array, "... n n"]:
    """A square matrix, or a batch of them, of floating-point or complex numbers.

    Raises:
        TypeError: naming the function, for anything else.
    """
    a = jnp.asarray(a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:  # noqa: PLR2004
        raise TypeError(
            f"dini.linalg.{name} takes square matrices, of shape (..., n, n), and was given "
            f"{a.dtype}{list(a.shape)}."
        )
    return a if jnp.issubdtype(a.dtype, jnp.inexact) else a.astype(jnp.result_type(a, 1.0))


def product(x: Inexact[Array, "... n k"], y: Inexact[Array, "... k m"]) -> Inexact[Array, "..."]:
    """The product in full precision: accelerators round the factors of single ones by default."""
    return jnp.matmul(x, y, precision=jax.lax.Precision.HIGHEST)


def norm(a: Inexact[Array, "n m"]) -> Float[Array, ""]:
    """|A|₁, the largest column sum; a constant for derivatives."""
    return jnp.max(jnp.sum(jnp.abs(jax.lax.stop_gradient(a)), axis=0), initial=0)


def marked(x: Inexact[Array, "..."], good: Bool[Array, ""]) -> Inexact[Array, "..."]:
    """x, or NaN for it and for its derivatives."""
    return x * jnp.where(good, 1, jnp.nan).astype(x.dtype)


def each(fn: Callable, a: Inexact[Array, "... n n"]) -> Any:
    """fn(A) for every matrix of a batch."""
    for _ in range(a.ndim - 2):
        fn = jax.vmap(fn)
    return fn(a)
