"""What moves the variables: variances and paths by shock, forecasts, autocovariances."""

import functools
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Array, ArrayLike, Float

from dini._matrices import product
from dini.economics._record import Record, unknown
from dini.linalg import solve_discrete_lyapunov

# Variables by name, of the states at least; or a vector of all of them, or of the states.
Variables = Record | Mapping[str, ArrayLike] | ArrayLike


class Forecast(eqx.Module):
    """The variables from one period ahead on, given those of today: N(mean, covariance).

    Attributes:
        mean: of shape (horizon, n); row 0 is one period ahead.
        covariance: of shape (horizon, n, n), of the errors of the forecast.
        lower: the lower ends of the bands, of shape (horizon, n), with the axes of `coverage`
            before these.
        upper: the upper ends.
        coverage: the probability that a variable lies within its band, period by period.
    """

    mean: Float[Array, "horizon n"]
    covariance: Float[Array, "horizon n n"]
    lower: Float[Array, "... horizon n"]
    upper: Float[Array, "... horizon n"]
    coverage: Float[Array, "..."]


class HistoricalDecomposition(eqx.Module):
    """A path as the sum of what each shock, and the start, contributes to it.

    Attributes:
        shocks: of shape (periods, n, k), columns in the order of the shocks.
        initial: of shape (periods, n): what is left of the deviations before the first period.
    """

    shocks: Float[Array, "periods n k"]
    initial: Float[Array, "periods n"]

    @property
    def path(self) -> Float[Array, "periods n"]:
        """The sum of both: deviations from the steady state, of shape (periods, n)."""
        return jnp.sum(self.shocks, axis=-1) + self.initial


# The error of a forecast h periods ahead is Σ_{t<h} Xᵗ R ε_{T+h−t}; shock j adds Σ_{t<h} (Xᵗ R)_ij²
# to the variance of variable i: in the long run, the diagonal of V_j = X V_j Xᵀ + r_j r_jᵀ.
@functools.partial(jax.jit, static_argnames=("states", "horizon"))
def variance_shares(
    x: Float[Array, "n n"], r: Float[Array, "n k"], states: tuple[int, ...], horizon: int | None
) -> Float[Array, "... n k"]:
    """Of (horizon, n, k), or (n, k) in the long run; 0 for a variable that no shock moves."""
    columns = x[:, np.array(states, int)]
    if horizon is None:
        parts = _long_run(columns, r, states)
    else:

        def step(response: Array, _: None) -> tuple[Array, Array]:
            return product(columns, response[np.array(states, int)]), response**2

        parts = jnp.cumsum(jax.lax.scan(step, r, length=horizon)[1], axis=0)
    total = jnp.sum(parts, axis=-1, keepdims=True)
    # A standard deviation within rounding of 0, in units of the largest.
    rounding = (len(x) * float(jnp.finfo(x.dtype).eps)) ** 2
    still = total <= rounding * jnp.max(total, axis=-2, keepdims=True)
    return jnp.where(still, 0, parts / jnp.where(still, 1, total))


def _long_run(columns: Array, r: Array, states: tuple[int, ...]) -> Float[Array, "n k"]:
    s = np.array(states, int)
    pushes = r[s].T[:, :, None] * r[s].T[:, None, :]
    own = solve_discrete_lyapunov(columns[s], pushes)
    return jnp.sum(product(columns, own) * columns, axis=-1).T + r**2


# E w_t w_{t−l}ᵀ = Xˡ V.
@functools.partial(jax.jit, static_argnames=("states", "lags"))
def autocovariances(
    x: Float[Array, "n n"], v: Float[Array, "n n"], states: tuple[int, ...], lags: int
) -> Float[Array, "lags+1 n n"]:
    """Cov(w_t, w_{t−l}) for l = 0, …, lags, from V at lag 0."""
    s = np.array(states, int)

    def step(now: Array, _: None) -> tuple[Array, Array]:
        return product(x[:, s], now[s]), now

    return jax.lax.scan(step, v, length=lags + 1)[1]


# With w_T ~ N(m, P): m ← X m and P ← X P Xᵀ + R Rᵀ, period by period.
@functools.partial(jax.jit, static_argnames=("states", "horizon"))
def forecast(
    law: tuple[Array, Array],
    start: tuple[Float[Array, " s"], Float[Array, "s s"]],
    rest: Float[Array, " n"],
    coverage: Float[Array, "..."],
    states: tuple[int, ...],
    horizon: int,
) -> Forecast:
    """From the mean and the covariance of the states; `rest` is added to the path."""
    x, r = law
    s = np.array(states, int)
    columns, news = x[:, s], product(r, r.T)

    def step(state: tuple[Array, Array], _: None) -> tuple[tuple, tuple]:
        mean, cov = state
        mean, cov = product(columns, mean), product(columns, cov, columns.T) + news
        cov = (cov + cov.T) / 2
        return (mean[s], cov[np.ix_(s, s)]), (mean, cov)

    _, (mean, cov) = jax.lax.scan(step, start, length=horizon)
    variance = jnp.diagonal(cov, axis1=-2, axis2=-1)
    certain = variance <= 0
    sd = jnp.where(certain, 0, jnp.sqrt(jnp.where(certain, 1, variance)))
    quantile = ndtri((1 + coverage) / 2)[..., None, None]
    mean = mean + rest
    return Forecast(mean, cov, mean - quantile * sd, mean + quantile * sd, coverage)


# w_t = Σ_j c_tj + d_t: c_tj = X c_{t−1,j} + r_j ε_tj from 0, and d_t = X d_{t−1} from the start.
@functools.partial(jax.jit, static_argnames="states")
def historical(
    x: Float[Array, "n n"],
    r: Float[Array, "n k"],
    shocks: Float[Array, "periods k"],
    start: Float[Array, " s"],
    states: tuple[int, ...],
) -> HistoricalDecomposition:
    """Contributions, from the shocks of each period and the states before the first."""
    s = np.array(states, int)
    columns = x[:, s]

    def step(lag: tuple[Array, Array], shock: Array) -> tuple[tuple, tuple]:
        by_shock, left = lag
        now = product(columns, by_shock) + r * shock, product(columns, left)
        return (now[0][s], now[1][s]), now

    nothing = jnp.zeros((len(states), r.shape[1]), x.dtype)
    return HistoricalDecomposition(*jax.lax.scan(step, (nothing, start), shocks)[1])


def state_vector(
    given: Variables | None, rest: Record, states: tuple[int, ...], levels: bool, what: str
) -> Float[Array, " s"]:
    """The states in deviations, from what a user gives.

    Args:
        given: numbers by name, of the states at least; or a vector of all variables, or of the
            states; None for rest.
        rest: the steady state.
        states: their places.
        levels: whether the numbers are levels.
        what: the method, for errors.

    Raises:
        ValueError: for another shape, or names that are not those of the model.
    """
    at, names = np.array(states, int), rest.names
    base = rest.vector[at]
    if given is None:
        return jnp.zeros_like(base)
    if isinstance(given, Mapping | Record):
        if wrong := [name for name in given if name not in names]:
            raise ValueError(f"{what}: {unknown(wrong[0], names)}")
        if lacking := [names[i] for i in states if names[i] not in given]:
            raise ValueError(
                f"{what} needs all states, the variables that occur with a lag, and was given "
                f"nothing for {', '.join(lacking)}."
            )
        vector = jnp.array([given[names[i]] for i in states], base.dtype)
    else:
        vector = jnp.asarray(given, base.dtype)
        if vector.shape not in ((len(names),), (len(states),)):
            raise ValueError(
                f"{what} takes a vector of the {len(names)} variables, or of the {len(states)} "
                f"states, and was given the shape {vector.shape}."
            )
        vector = vector[at] if vector.shape == (len(names),) else vector
    return vector - base if levels else vector


def state_covariance(
    given: ArrayLike | None, n: int, states: tuple[int, ...], dtype: Any
) -> Float[Array, "s s"]:
    """That of the states, from one of them or of all variables; zeros for None.

    Raises:
        ValueError: for another shape.
    """
    s = len(states)
    if given is None:
        return jnp.zeros((s, s), dtype)
    cov = jnp.asarray(given, dtype)
    if cov.shape not in ((n, n), (s, s)):
        raise ValueError(
            f"forecast takes a covariance of the {n} variables, or of the {s} states, and was "
            f"given the shape {cov.shape}."
        )
    at = np.array(states, int)
    return cov[np.ix_(at, at)] if cov.shape == (n, n) else cov
