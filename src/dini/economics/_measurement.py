"""The density of data around a simulated path: the joint likelihood in the shocks."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from dini.economics._kalman import total
from dini.economics._state_space import double, measurement_covariance
from dini.economics._update import whiten


def measurement_log_density(
    simulated: ArrayLike, data: ArrayLike, measurement_cov: ArrayLike | None, *, throw: bool = True
) -> Float[Array, ""]:
    """Σ_t log N(y_t; ŷ_t, H), ŷ the path of the observables without errors of measurement.

    Differentiable in all of them. The density of the shocks that made the path is not in it.

    Args:
        simulated: ŷ, of shape (T, m).
        data: y, of shape (T, m); NaN where missing.
        measurement_cov: H, a vector of m variances, or a matrix of shape (m, m).
        throw: whether failures raise.

    Returns:
        The value. With throw=False it is −inf, with derivatives NaN, where H is not positive
        definite, or anything is not finite.

    Raises:
        TypeError: for arrays in single precision.
        ValueError: for shapes that do not fit.
        RuntimeError: in those cases, with throw=True.
    """
    simulated, data = double("simulated", simulated), double("data", data)
    if simulated.ndim != 2 or simulated.shape != data.shape:  # noqa: PLR2004
        raise ValueError(
            "dini.economics: `simulated` and `data` must have one shape, (periods, observables), "
            f"and have {simulated.shape} and {data.shape}."
        )
    names = tuple(str(i) for i in range(data.shape[1]))
    h = measurement_covariance(measurement_cov, names)
    if h is None:
        raise ValueError("dini.economics: a joint likelihood needs a `measurement_cov`.")
    h = jnp.diag(h) if jnp.asarray(measurement_cov).ndim == 1 else h
    return _log_density(simulated, data, h, throw)


@eqx.filter_jit
def _log_density(simulated: Array, y: Array, h: Array, throw: bool) -> Array:
    seen = ~jnp.isnan(y)
    e = jnp.where(seen, y - simulated, 0)
    constant = jnp.sum(seen, axis=1) * jnp.log(2 * jnp.pi)
    if h.ndim == 1:
        terms = jnp.where(seen, e**2 / h + jnp.log(h), 0)
        densities = -(jnp.sum(terms, axis=1) + constant) / 2
    else:
        whitener, log_det = jax.vmap(lambda seen: whiten(h, seen))(seen)
        white = jnp.einsum("tij,tj->ti", whitener, e)
        densities = -(jnp.sum(white**2, axis=1) + log_det + constant) / 2
    return total(densities, y.shape[0], throw)
