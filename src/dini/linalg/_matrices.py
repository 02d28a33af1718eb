"""What functions of matrices share: the check of their arguments, adjoints, norms."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Inexact

from dini._matrices import marked


def matrices(name: str, shapes: str, **given: ArrayLike) -> list[Array]:
    """The arguments as arrays of one inexact dtype.

    Args:
        name: what errors call the function.
        shapes: the shapes that fit together, such as "a: m m, b: n n, q: m n".
        **given: the arguments, by the names in `shapes`.

    Raises:
        TypeError: for an argument of no numbers.
        ValueError: for shapes that do not fit; leading axes must broadcast.
    """
    arrays = {k: v if isinstance(v, Array) else jnp.asarray(v) for k, v in given.items()}
    for k, x in arrays.items():
        if not jnp.issubdtype(x.dtype, jnp.number):
            raise TypeError(f"dini.linalg.{name}: `{k}` must hold numbers, and is {x.dtype}.")
    sizes: dict[str, int] = {}
    fits = True
    for part in shapes.split(","):
        k, axes = part.split(":")
        x, letters = arrays[k.strip()], axes.split()
        fits = fits and x.ndim >= len(letters)
        for letter, length in zip(letters, x.shape[x.ndim - len(letters) :], strict=False):
            fits = fits and sizes.setdefault(letter, length) == length
    try:
        jnp.broadcast_shapes(*(x.shape[:-2] for x in arrays.values()))
    except ValueError:
        fits = False
    if not fits:
        got = ", ".join(f"{k}: {x.dtype}{list(x.shape)}" for k, x in arrays.items())
        raise ValueError(
            f"dini.linalg.{name} takes matrices of shapes that fit together ({shapes}), with "
            f"leading axes that broadcast, and was given {got}."
        )
    dtypes = [x.dtype for x in arrays.values()]
    if any(jnp.issubdtype(dtype, jnp.inexact) for dtype in dtypes):
        kind = jnp.promote_types(jnp.result_type(*dtypes), jnp.float32)
    else:
        kind = jnp.result_type(float)
    return [x if x.dtype == kind else x.astype(kind) for x in arrays.values()]


def square(name: str, a: ArrayLike) -> Inexact[Array, "... n n"]:
    """The same for one square matrix, or a stack of them."""
    return matrices(name, "A: n n", A=a)[0]


def adjoint(a: Inexact[Array, "... m n"]) -> Inexact[Array, "... n m"]:
    """Aᴴ."""
    return jnp.conj(jnp.swapaxes(a, -1, -2))


def hermitian_part(a: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
    """(A + Aᴴ)/2, which JAX too takes for A in its functions of Hermitian matrices."""
    return (a + adjoint(a)) / 2


def norm(a: Inexact[Array, "m n"]) -> Float[Array, ""]:
    """|A|₁, the largest column sum, which no square overflows; a constant for derivatives."""
    return jnp.max(jnp.sum(jnp.abs(jax.lax.stop_gradient(a)), axis=0), initial=0)


def size(a: Inexact[Array, "... m n"]) -> Float[Array, "... 1 1"]:
    """A power of 2 near the largest number in A, 1 for none; a constant for derivatives."""
    largest = jnp.max(jnp.abs(jax.lax.stop_gradient(a)), axis=(-2, -1), keepdims=True, initial=0)
    _, power = jnp.frexp(jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1))
    return jnp.ldexp(jnp.ones_like(largest), power)


def singular_values(
    a: Inexact[Array, "... m n"], full_matrices: bool = True
) -> tuple[Inexact[Array, "... m p"], Float[Array, "... k"], Inexact[Array, "... q n"]]:
    """U, s and Vᴴ; NaN where A is not finite, of which LAPACK's iteration may find no end."""
    finite = jnp.all(jnp.isfinite(a), axis=(-2, -1), keepdims=True)
    u, s, vh = jnp.linalg.svd(jnp.where(finite, a, 0), full_matrices=full_matrices)
    return marked(u, finite), marked(s, finite[..., 0]), marked(vh, finite)


def each(fn: Callable, a: Inexact[Array, "... n n"]) -> Any:
    """fn(A) for every matrix of a batch."""
    for _ in range(a.ndim - 2):
        fn = jax.vmap(fn)
    return fn(a)
