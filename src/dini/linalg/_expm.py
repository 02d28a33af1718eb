"""The matrix exponential."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from dini._matrices import marked, product
from dini.linalg._matrices import each, norm, square
from dini.linalg._scaling import growth, halved, halvings, prescaled
from dini.rules import matrix_function

# Σ Aᵏ/k! up to k = 18 is B₁ + (B₂ + C) C with C = B₀ B₄ + B₃: five products. Each Bᵢ combines
# I, A, A², A³ and A⁶. (Bader, Blanes and Casas 2019.)
_COMBINATIONS = (
    (0.0, -0.10036558103014462, -0.0080292464824115694, -0.00089213849804572998, 0.0),
    (0.0, 0.39784974949964507, 1.3678377846041172, 0.49828962252538267, -0.00063789819459472329),
    (-10.967639605296206, 1.6801581387890620, 0.057177984647886552, -0.0069821012248805203,
     3.3497501708607046e-05),
    (-0.090431683239081056, -0.067640451907138188, 0.067596130177045964, 0.029555257042931552,
     -1.3918025751606069e-05),
    (0.0, 0.0, -0.092336461936711862, -0.016936493900208170, -1.4008679818203610e-05),
)  # fmt: skip


def expm(A: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
    """The matrix exponential, Σ Aᵏ/k!.

    Scaling and squaring of a Taylor polynomial of degree 18: 5 + s products, where A/2ˢ is small in
    the norms of its powers and not in its own, so that matrices far from normal are not scaled too
    far. The derivative of each product takes two further ones, in either mode.

    Args:
        A: matrices, real or complex.

    Returns:
        e^A, of the shape and dtype of A; NaN where A is not finite, and infinite or NaN where e^A
        overflows.

    Raises:
        TypeError, ValueError: for what is no square matrix of numbers.

    References: Al-Mohy and Higham, A new scaling and squaring algorithm for the matrix exponential
    (2009), and Computing the Fréchet derivative of the matrix exponential (2009); Bader, Blanes and
    Casas, Computing the matrix exponential with an optimized Taylor polynomial approximation
    (2019).
    """
    return _expm(square("expm", A))


@jax.jit
@functools.partial(matrix_function, forward=True)
def _expm(a: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
    return each(_of_one, a)


def _of_one(a: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    a, taken = prescaled(a, 6)
    a2 = product(a, a)
    a3 = product(a2, a)
    a6 = product(a3, a3)
    n1, n2, n3, n6 = map(norm, (a, a2, a3, a6))
    size = growth([n1, n2, n3, jnp.minimum(n2 * n2, n1 * n3), n2 * n3, n6], 18)
    # The backward error is u |A| where |Aᵏ| ≤ θᵏ for k > 18.
    more = halvings(size, 1.09 if jnp.finfo(a.dtype).eps < 1e-8 else 3.01)  # noqa: PLR2004
    powers = [halved(x, k * more) for k, x in zip((1, 2, 3, 6), (a, a2, a3, a6), strict=True)]
    identity = jnp.eye(len(a), dtype=a.dtype)
    b = [c[0] * identity + sum(map(jnp.multiply, c[1:], powers)) for c in _COMBINATIONS]
    c = product(b[0], b[4]) + b[3]
    x = b[1] + product(b[2] + c, c)
    x = jax.lax.fori_loop(0, taken + more, lambda _, x: product(x, x), x)
    return marked(x, jnp.isfinite(n1))
