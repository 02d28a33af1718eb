"""The covariance of variables that follow a linear law."""

import functools

import jax
import numpy as np
from jaxtyping import Array, Float

from dini.economics._matrices import product
from dini.linalg import solve_discrete_lyapunov


# w = X w₋ + R ε, and X has columns for the states s alone: V_ss = X_ss V_ss X_ssᵀ + R_s R_sᵀ stands
# by itself, and V = X_s V_ss X_sᵀ + R Rᵀ.
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
    return (v + v.T) / 2
