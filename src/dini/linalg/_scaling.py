"""How often a matrix is halved before a polynomial is as good as the function."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from dini.linalg._matrices import norm


def prescaled(a: Inexact[Array, "n n"], power: int) -> tuple[Inexact[Array, "n n"], Int[Array, ""]]:
    """A/2ᵖ, whose powers up to `power` do not overflow, and p; p = 0 for all but huge matrices."""
    _, exponent = jnp.frexp(norm(a))
    p = jnp.maximum(0, exponent - jnp.finfo(a.dtype).maxexp // (power + 2))
    return halved(a, p), p


def halved(a: Inexact[Array, "n n"], times: Int[Array, ""]) -> Inexact[Array, "n n"]:
    """A/2ᵏ, exactly."""
    one = jnp.ones((), jnp.finfo(a.dtype).dtype)
    return a * jnp.ldexp(one, -times)


# With k = q j + r, |Aᵏ| ≤ |A^q|ʲ |Aʳ| ≤ αᵏ for all k > d once it holds for the first k of every r.
# Where the powers are small and A is not (a triangle with large entries), α is far below |A|.
def growth(norms: Sequence[Float[Array, ""]], degree: int) -> Float[Array, ""]:
    """log₂ α with |Aᵏ| ≤ αᵏ for all k > degree, from |A|, |A²|, …, |A^q| or bounds of them.

    In the place of Al-Mohy and Higham's estimates (2009, section 4), which it never undercuts.
    """
    q, logs = len(norms), [0.0, *map(jnp.log2, norms)]
    firsts = range(degree + 1, degree + 1 + q)
    bounds = [(k // q * logs[q] + logs[k % q]) / k for k in firsts]
    return jnp.max(jnp.stack(bounds))


def halvings(log_size: Float[Array, ""], theta: float) -> Int[Array, ""]:
    """The least s with size/2ˢ ≤ θ; 0 where the size is not a number."""
    s = jnp.ceil(log_size - jnp.log2(theta))
    return jnp.where(jnp.isfinite(s), jnp.maximum(s, 0), 0).astype(jnp.int32)
