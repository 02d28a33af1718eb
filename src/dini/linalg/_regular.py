"""Whether a matrix is regular, to working precision."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact

from dini._matrices import once, product
from dini.linalg._matrices import norm


def is_regular(a: Inexact[Array, "n n"], inverse: Inexact[Array, "n n"]) -> Bool[Array, ""]:
    """Whether n ε ρ(|A⁻¹| |A|) < 1: the condition number under the best scaling of both sides.

    Args:
        a: A.
        inverse: A⁻¹, as computed.

    References: Higham, Accuracy and Stability of Numerical Algorithms (2002), chapter 14; Bauer,
    Optimally scaled matrices (1963).
    """
    rounding = len(a) * jnp.finfo(a.dtype).eps
    regular = rounding * norm(a) * norm(inverse) < 1
    return once(~regular, lambda: rounding * _radius(jnp.abs(inverse), jnp.abs(a)) < 1, regular)


# Of a matrix M ≥ 0 it is |M⁸|^(1/8), and |M⁸| the largest number of M⁸ (1, …, 1).
def _radius(c: Float[Array, "n n"], a: Float[Array, "n n"]) -> Float[Array, ""]:
    """A bound of the spectral radius of C A, for C ≥ 0 and A ≥ 0."""
    ones = jnp.ones(len(a), a.dtype)
    logarithm, image = jnp.zeros((), a.dtype), ones
    for _ in range(8):
        image = product(c, product(a, image))
        size = jnp.max(image, initial=0)
        logarithm, image = logarithm + jnp.log(size), image / size
    return jnp.exp(logarithm / 8)
