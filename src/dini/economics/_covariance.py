"""The covariance of variables that follow a linear law."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from dini._matrices import marked, product
from dini.linalg import solve_discrete_lyapunov


# w = X w₋ + R ε, and X has columns for the states s alone: V_ss = X_ss V_ss X_ssᵀ + R_s R_sᵀ
# stands by itself, and V = X_s V_ss X_sᵀ + R Rᵀ. The equation has a solution for explosive laws
# too, with a negative eigenvalue for each explosive root that shocks reach.
@functools.partial(jax.jit, static_argnames="states")
def long_run_covariance(
    transition: Float[Array, "n n"], impact: Float[Array, "n k"], states: tuple[int, ...]
) -> Float[Array, "n n"]:
    """V = X V Xᵀ + R Rᵀ; NaN where there is none.

    Args:
        transition: X.
        impact: R.
        states: the places of the columns of X that are read.
    """
    s = np.array(states, int)
    columns, shocks = transition[:, s], product(impact, impact.T)
    own = solve_discrete_lyapunov(columns[s], shocks[np.ix_(s, s)])
    v = product(columns, (own + own.T) / 2, columns.T) + shocks
    return marked((v + v.T) / 2, _is_covariance(jax.lax.stop_gradient(own)))


def _is_covariance(v: Float[Array, "s s"]) -> Bool[Array, ""]:
    """Whether the matrix of correlations has no negative eigenvalue, but for rounding."""
    root = jnp.sqrt(jnp.diag(v))
    scale = jnp.where(root == 0, 1, root)
    ridge = float(jnp.finfo(v.dtype).eps) ** (1 / 3) * jnp.eye(len(v), dtype=v.dtype)
    return jnp.all(jnp.isfinite(jnp.linalg.cholesky(v / scale / scale[:, None] + ridge)))
