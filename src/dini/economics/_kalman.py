"""The Kalman filter, and the likelihood that it gives."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from dini.economics._state_space import StateSpace, double
from dini.economics._steady_gain import steady_log_densities
from dini.economics._update import Recursion, Update, observed, recursion, update
from dini.linear import guarded
from dini.rules import custom_rule


class Filtered(eqx.Module):
    """What the filter says of every period, x in the order of the state space.

    Attributes:
        log_likelihood: of the data after the presample.
        log_densities: of shape (T,), of y_t given y_1 … y_{t−1}.
        predicted: of shape (T, s), the means of x_t given y_1 … y_{t−1}.
        predicted_cov: of shape (T, s, s).
        filtered: of shape (T, s), the means of x_t given y_1 … y_t.
        filtered_cov: of shape (T, s, s).
        innovations: of shape (T, m), y_t less its prediction; NaN where y is missing.
        innovation_cov: of shape (T, m, m), of what is missing too.
    """

    log_likelihood: Float[Array, ""]
    log_densities: Float[Array, " T"]
    predicted: Float[Array, "T s"]
    predicted_cov: Float[Array, "T s s"]
    filtered: Float[Array, "T s"]
    filtered_cov: Float[Array, "T s s"]
    innovations: Float[Array, "T m"]
    innovation_cov: Float[Array, "T m m"]


def log_likelihood(
    space: StateSpace,
    data: ArrayLike,
    *,
    presample: int = 0,
    steady_after: int | None = None,
    throw: bool = True,
) -> Float[Array, ""]:
    """The log density of the data, by the Kalman filter.

    Σ_t log N(e_t; 0, F_t), with e_t = y_t − E[y_t | y_1 … y_{t−1}] and F_t its covariance. Memory
    of the gradient: the law of the lagged numbers in every period.

    Args:
        space: the state space.
        data: of shape (T, m), one column an observable, as deviations from the steady state; NaN
            where missing, entries or whole periods.
        presample: so many of the first periods run through the filter, and are not counted.
        steady_after: after so many periods, at least 1, the gain is that of the long run: fast for
            long samples. Covariances must by then have come within 10⁻⁸ of their limit, and no data
            may be missing later.
        throw: whether failures raise.

    Returns:
        The value. With throw=False it is −inf, with derivatives NaN, where a forecast of what is
        seen has no positive definite covariance, or where the law or the data are not finite: so
        samplers reject the draw, and go on. It is NaN where `steady_after` does not hold.

    Raises:
        ValueError: for data of another shape, and for options out of range.
        RuntimeError: in those cases, with throw=True.

    References: Anderson and Moore, Optimal Filtering (1979); Bucy and Joseph, Filtering for
    Stochastic Processes (1968), for the form of the covariance.
    """
    y = observations(space, data)
    _check_presample(presample, y)
    if steady_after is not None and steady_after < 1:
        raise ValueError(f"dini.economics: `steady_after` must be at least 1, not {steady_after}.")
    return _log_likelihood(space, y, presample, steady_after, throw)


def kalman_filter(
    space: StateSpace, data: ArrayLike, *, presample: int = 0, throw: bool = True
) -> Filtered:
    """The same filter with its means and covariances.

    Args:
        space: the state space.
        data: as for [`log_likelihood`][dini.economics.log_likelihood].
        presample: the same.
        throw: the same; with throw=False numbers are NaN from the period of the failure on.

    Returns:
        A [`Filtered`][dini.economics.Filtered].

    Raises:
        ValueError, RuntimeError: as for the likelihood.
    """
    y = observations(space, data)
    _check_presample(presample, y)
    return _kalman_filter(space, y, presample, throw)


def _check_presample(presample: int, y: Array) -> None:
    if not 0 <= presample <= y.shape[0]:
        raise ValueError(
            f"dini.economics: `presample` must be from 0 to {y.shape[0]}, the number of periods, "
            f"and is {presample}."
        )


def observations(space: StateSpace, data: ArrayLike) -> Float[Array, "T m"]:
    """The data as an array, of the shape that the state space asks for."""
    y, m = double("data", data), len(space.observables)
    if y.ndim != 2 or y.shape[1] != m or not y.shape[0]:  # noqa: PLR2004
        raise ValueError(
            f"dini.economics: `data` has shape {y.shape}, and must have a row for each period, one "
            f"at least, and a column for each of the {m} observables, "
            f"{', '.join(space.observables)}."
        )
    return y


def run(
    space: StateSpace,
    y: Float[Array, "T m"],
    emit: Callable[[Update], PyTree],
    rows: int,
    checkpoint: bool = False,
) -> tuple[tuple[Array, Array], PyTree]:
    """The law of the lagged numbers after the last period, and what is emitted of every period.

    Args:
        space: the state space.
        y: the data.
        emit: what to keep of an update.
        rows: of how many numbers of x, the lagged ones at least, an update tells.
        checkpoint: whether the gradient keeps no more of a period than the law of the lagged
            numbers, and computes the rest anew.
    """
    p = space.lags

    def step(given: Recursion, law: tuple[Array, Array], y: Array) -> tuple:
        u = update(given, *law, y)
        return (u.mean[:p], u.cov[:p, :p]), emit(u)

    law, first = (space.prior.mean, space.prior.cov), None
    if space.prior.period:
        law, first = step(observed(space, rows), law, y[0])
        y = y[1:]
    else:
        law = law[0][:p], law[1][:p, :p]
    given = recursion(space, rows)
    body = lambda law, y: step(given, law, y)
    law, rest = jax.lax.scan(jax.checkpoint(body) if checkpoint else body, law, y)
    if first is not None:
        rest = jax.tree.map(lambda x, xs: jnp.concatenate([x[None], xs]), first, rest)
    return law, rest


def total(densities: Float[Array, " T"], counted: int, throw: bool) -> Float[Array, ""]:
    """The sum of the last `counted`; where any is not finite, an error, or −inf."""
    good = jnp.all(jnp.isfinite(densities))
    value = jnp.sum(densities[densities.shape[0] - counted :])
    return guarded(value, ~good, FAILED, throw) if throw else _or_never(value, good)


# A number that is no more has no derivative: NaN, where `where` would give 0.
@custom_rule
def _or_never(x: Array, good: Array) -> Array:
    return jnp.where(good, x, -jnp.inf)


@_or_never.defpartials
def _(out: Array, x: Array, good: Array) -> tuple:
    del out, x
    return jnp.where(good, 1.0, jnp.nan), None


@eqx.filter_jit
def _log_likelihood(
    space: StateSpace, y: Array, presample: int, steady_after: int | None, throw: bool
) -> Array:
    periods = y.shape[0]
    exact = periods if steady_after is None else min(steady_after, periods)
    law, densities = run(space, y[:exact], lambda u: u.log_density, space.lags, checkpoint=True)
    early = total(densities, max(exact - presample, 0), throw)
    if exact == periods:
        return early
    good = jnp.all(jnp.isfinite(densities))
    late = steady_log_densities(space, law, y[exact:], good, throw)
    return early + jnp.sum(late[max(presample - exact, 0) :])


@eqx.filter_jit
def _kalman_filter(space: StateSpace, y: Array, presample: int, throw: bool) -> Filtered:
    def emit(u: Update) -> Filtered:
        before, after = (u.predicted, u.predicted_cov), (u.mean, u.cov)
        return Filtered(
            u.log_density, u.log_density, *before, *after, u.innovation, u.innovation_cov
        )

    _, out = run(space, y, emit, space.transition.shape[0])
    value = total(out.log_densities, y.shape[0] - presample, throw)
    missing = jnp.where(jnp.isnan(y), jnp.nan, out.innovations)
    return eqx.tree_at(lambda f: (f.log_likelihood, f.innovations), out, (value, missing))


FAILED = (
    "dini.economics: the likelihood does not exist. A forecast of the observables has a covariance "
    "that is not positive definite (fewer shocks and measurement errors than observables, or two "
    "observables that say the same), or the law, the prior or the data are not finite. throw=False "
    "gives -inf."
)
