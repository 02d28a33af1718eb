"""Whether a matrix is regular, to working precision."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact

from dini._matrices import once, product


def is_regular(
    a: Inexact[Array, "n n"],
    condition: Float[Array, ""],
    inverse: Inexact[Array, "n n"] | None = None,
) -> Bool[Array, ""]:
    """Whether n ε ρ(|A⁻¹| |A|) < 1: the condition number under the best scaling of both sides.

    Args:
        a: A.
        condition: |A| |A⁻¹|, which is enough where it is small.
        inverse: A⁻¹, as computed; computed again, where it is needed, if not at hand.

    References: Higham, Accuracy and Stability of Numerical Algorithms (2002), chapter 14; Bauer,
    Optimally scaled matrices (1963).
    """
    a, rounding = jax.lax.stop_gradient(a), len(a) * jnp.finfo(a.dtype).eps
    regular = rounding * condition < 1

    def however_scaled() -> Bool[Array, ""]:
        c = jnp.linalg.inv(a) if inverse is None else inverse
        return rounding * _radius(jnp.abs(c), jnp.abs(a)) < 1

    return once(~regular, however_scaled, regular)


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
