"""The trace of a function of a large matrix."""

import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, ArrayLike, Float, Inexact

from dini.linalg._funm_multiply import funm_multiply
from dini.linalg._matrices import square


def funm_trace(
    A: ArrayLike | lx.AbstractLinearOperator,
    f: Callable,
    key: Array,
    *,
    samples: int = 32,
    depth: int = 64,
    rtol: float | None = None,
) -> tuple[Inexact[Array, "..."], Float[Array, "..."]]:
    """An estimate of tr f(A) by products of A with vectors, and its standard error.

    The mean of zᵀ f(A) z over random z of entries ±1, each by
    [`funm_multiply`][dini.linalg.funm_multiply]. With f = `linalg.logm` it is log det A. Its
    derivatives are those of the estimate for the z of this key, and estimate those of the trace.

    Args:
        A: a matrix, of shape (..., n, n), or a Lineax operator of vectors of shape (n,).
        f: a function of square matrices, as for `funm_multiply`.
        key: a PRNG key; the same vectors serve all matrices.
        samples: how many vectors. The variance of one is 2 |S − diag S|² (Frobenius' norm), S the
            symmetric part of a real f(A); a diagonal f(A) has its trace from any.
        depth: as for `funm_multiply`.
        rtol: as for `funm_multiply`.

    Returns:
        (estimate, standard error), of shape (...); NaN where `funm_multiply` is NaN for one of the
        vectors. The standard error of a single vector is NaN.

    Raises:
        TypeError, ValueError: as `funm_multiply`, and for fewer samples than one.

    References: Hutchinson, A stochastic estimator of the trace of the influence matrix (1989);
    Ubaru, Chen and Saad, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature (2017).
    """
    samples = operator.index(samples)
    if samples < 1:
        raise ValueError(f"dini.linalg.funm_trace: samples must be positive, and is {samples}.")
    if isinstance(A, lx.AbstractLinearOperator):
        n, dtype = A.in_size(), jnp.result_type(*jax.tree.leaves(A.in_structure()))
    else:
        A = square("funm_trace", A)
        n, dtype = A.shape[-1], A.dtype
    z = jax.random.rademacher(key, (n, samples), jnp.finfo(dtype).dtype)
    terms = jnp.sum(z * funm_multiply(A, z, f, depth=depth, rtol=rtol), axis=-2)
    estimate = jnp.mean(terms, axis=-1)
    off = terms - estimate[..., None]
    variance = jnp.sum((off * jnp.conj(off)).real, axis=-1) / (samples - 1 or jnp.nan)
    # The root has no derivative at 0, where the error has none that differs from 0.
    error = jnp.where(variance == 0, 0, jnp.sqrt(jnp.where(variance == 0, 1, variance / samples)))
    return estimate, error
