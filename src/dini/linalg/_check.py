"""What a function of matrices takes: shapes and dtypes, told before anything runs."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike


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
    arrays = {k: jnp.asarray(v) for k, v in given.items()}
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
        got = ", ".join(f"{k}: {list(x.shape)}" for k, x in arrays.items())
        raise ValueError(
            f"dini.linalg.{name} takes matrices of shapes that fit together ({shapes}), with "
            f"leading axes that broadcast, and was given {got}."
        )
    dtype = jnp.result_type(*(x.dtype for x in arrays.values()), jnp.zeros(0, jnp.float16).dtype)
    kind = jnp.promote_types(dtype, jnp.float32)
    if all(not jnp.issubdtype(x.dtype, jnp.inexact) for x in arrays.values()):
        kind = jnp.zeros(0).dtype
    return [x.astype(kind) for x in arrays.values()]
