"""Matrices as the functions of this package take them."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Inexact


def as_matrix(name: str, a: ArrayLike) -> Inexact[Array, "... m n"]:
    """A matrix, or a stack of them, of floating-point or complex numbers."""
    a = jnp.asarray(a)
    if a.ndim < 2 or not jnp.issubdtype(a.dtype, jnp.number):  # noqa: PLR2004
        raise TypeError(
            f"dini.linalg.{name} takes matrices, of shape (..., m, n), and was given "
            f"{a.dtype}{list(a.shape)}."
        )
    return a if jnp.issubdtype(a.dtype, jnp.inexact) else a.astype(jnp.result_type(float))


def as_square(name: str, a: ArrayLike) -> Inexact[Array, "... n n"]:
    """A square matrix, or a stack of them."""
    a = as_matrix(name, a)
    if a.shape[-1] != a.shape[-2]:
        raise TypeError(
            f"dini.linalg.{name} takes square matrices, of shape (..., n, n), and was given "
            f"{a.dtype}{list(a.shape)}."
        )
    return a


def adjoint(a: Inexact[Array, "... m n"]) -> Inexact[Array, "... n m"]:
    """Aᴴ."""
    return jnp.conj(jnp.swapaxes(a, -1, -2))


def hermitian_part(a: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
    """(A + Aᴴ)/2, which JAX too takes for A in its functions of Hermitian matrices."""
    return (a + adjoint(a)) / 2
