"""A law of motion and what is observed of it: the arrays that filters take."""

from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from dini.economics._covariance import long_run_covariance


class Prior(eqx.Module):
    """The law of the state before any observation, N(mean, cov).

    Attributes:
        mean: of shape (s,).
        cov: of shape (s, s); may be singular.
        period: 0 for the state before the first period, x₀; 1 for x₁, the state that the first
            observation is of.
    """

    mean: Float[Array, " s"]
    cov: Float[Array, "s s"]
    period: int = eqx.field(static=True, default=0)


Initial = Literal["stationary"] | tuple[ArrayLike, ArrayLike] | Prior | None


class StateSpace(eqx.Module):
    """x_t = T x_{t−1} + R ε_t and y_t = Z x_t + v_t, with ε_t ~ N(0, I) and v_t ~ N(0, H).

    Attributes:
        transition: T, of shape (s, s); its columns from `lags` on are zero.
        impact: R, of shape (s, k).
        observation: Z, of shape (m, s).
        measurement_cov: H, of shape (m, m); None for none.
        prior: the law of x₀, or of x₁.
        lags: how many of the first numbers in x occur with a lag.
        observables: the names of what is observed, for errors.

    Args:
        transition: of shape (s, s).
        impact: of shape (s, k).
        observation: of shape (m, s).
        measurement_cov: a vector of m variances, or a symmetric matrix of shape (m, m). Where its
            numbers are not known yet, as under jit, one that is no covariance matrix is made NaN.
        initial: (mean, cov), of shapes (s,) and (s, s), of x₀; a [`Prior`][dini.economics.Prior],
            of x₀ or x₁; or "stationary" or None, for the law that x has in the long run.
        lags: s by default. The columns from there on are not read.
        observables: "0", "1" and so on by default.

    Raises:
        TypeError: for arrays in single precision.
        ValueError: for shapes that do not fit, and for matrices that are no covariances.
    """

    transition: Float[Array, "s s"]
    impact: Float[Array, "s k"]
    observation: Float[Array, "m s"]
    measurement_cov: Float[Array, "m m"] | None
    prior: Prior
    lags: int = eqx.field(static=True)
    observables: tuple[str, ...] = eqx.field(static=True)

    def __init__(
        self,
        transition: ArrayLike,
        impact: ArrayLike,
        observation: ArrayLike,
        measurement_cov: ArrayLike | None = None,
        initial: Initial = None,
        *,
        lags: int | None = None,
        observables: Sequence[str] | None = None,
    ) -> None:
        t, r, z = (double(name, x) for name, x in (
            ("transition", transition), ("impact", impact), ("observation", observation)
        ))  # fmt: skip
        s = t.shape[-1] if t.ndim else 0
        _check("transition", t, (s, s))
        _check("impact", r, (s, r.shape[-1] if r.ndim else 0))
        _check("observation", z, (z.shape[0] if z.ndim else 0, s))
        m = z.shape[0]
        names = tuple(str(i) for i in range(m)) if observables is None else tuple(observables)
        if len(names) != m:
            raise ValueError(
                f"dini.economics: `observation` has {m} rows, and there are {len(names)} names of "
                f"observables, {', '.join(names)}."
            )
        self.lags = s if lags is None else lags
        if not 0 <= self.lags <= s:
            raise ValueError(f"dini.economics: `lags` must be from 0 to {s}, and is {lags}.")
        self.transition = jnp.where(jnp.arange(s) < self.lags, t, 0)
        self.impact, self.observation, self.observables = r, z, names
        self.measurement_cov = measurement_covariance(measurement_cov, names)
        self.prior = self._prior(initial, s)

    def _prior(self, initial: Initial, s: int) -> Prior:
        if initial is None or (isinstance(initial, str) and initial == "stationary"):
            cov = long_run_covariance(self.transition, self.impact, tuple(range(self.lags)))
            return Prior(jnp.zeros(s), cov)
        if isinstance(initial, str):
            raise ValueError(
                f'dini.economics: `initial` may be "stationary" or (mean, cov), and is "{initial}".'
            )
        prior = prior_of(initial)
        if prior.period not in (0, 1):
            raise ValueError(f"dini.economics: a prior is of period 0 or 1, not of {prior.period}.")
        mean = double("initial mean", prior.mean)
        _check("initial mean", mean, (s,))
        return Prior(mean, covariance("initial cov", prior.cov, s), prior.period)


def of_law(
    transition: ArrayLike,
    impact: ArrayLike,
    states: Sequence[int],
    observed: Sequence[int],
    measurement_cov: ArrayLike | None = None,
    initial: Initial = None,
    observables: Sequence[str] | None = None,
    others: Sequence[int] = (),
) -> StateSpace:
    """The part of a law that a filter needs: the states, and what is observed.

    Args:
        transition: of shape (n, n), zero outside the columns of the states.
        impact: of shape (n, k).
        states: the positions of the variables that occur with a lag, static.
        observed: those of the variables that are observed, static; may be states too.
        measurement_cov: as for [`StateSpace`][dini.economics.StateSpace].
        initial: the same, with (mean, cov) of all n variables.
        observables: their names.
        others: the positions of variables to keep beside them.

    Returns:
        The state space of x = (states, then what is observed or kept and no state): see `kept`.
    """
    transition, impact = double("transition", transition), double("impact", impact)
    n = transition.shape[-1] if transition.ndim else 0
    _check("transition", transition, (n, n))
    _check("impact", impact, (n, impact.shape[-1] if impact.ndim else 0))
    rows = kept(states, observed, others)
    at = np.asarray(rows, int)
    where = {row: i for i, row in enumerate(rows)}
    z = np.zeros((len(observed), len(rows)))
    z[np.arange(len(observed)), [where[i] for i in observed]] = 1
    if initial is not None and not isinstance(initial, str):
        prior = prior_of(initial)
        mean, cov = double("initial mean", prior.mean), double("initial cov", prior.cov)
        _check("initial mean", mean, (n,))
        _check("initial cov", cov, (n, n))
        initial = Prior(mean[at], cov[np.ix_(at, at)], prior.period)
    return StateSpace(
        transition[np.ix_(at, at)],
        impact[at],
        z,
        measurement_cov,
        initial,
        lags=len(states),
        observables=observables,
    )


def prior_of(initial: Prior | tuple[ArrayLike, ArrayLike]) -> Prior:
    """The same as a prior, of period 0 where it does not say."""
    if isinstance(initial, Prior):
        return initial
    mean, cov = initial
    return Prior(jnp.asarray(mean), jnp.asarray(cov))


def kept(
    states: Sequence[int], observed: Sequence[int], others: Sequence[int] = ()
) -> tuple[int, ...]:
    """The positions, among the variables of a law, of the numbers that x holds."""
    return tuple(dict.fromkeys([*states, *observed, *others]))


def double(name: str, x: ArrayLike) -> Float[Array, "..."]:
    """An array in double precision, or the reason why it must be."""
    x = jnp.asarray(x)
    if not (jnp.issubdtype(x.dtype, jnp.integer) or jnp.issubdtype(x.dtype, jnp.floating)):
        raise TypeError(f"dini.economics: `{name}` must hold real numbers, and is {x.dtype}.")
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)
    if x.dtype != jnp.float64:
        raise TypeError(
            f"dini.economics: a likelihood needs float64, and `{name}` is {x.dtype}. A filter "
            "subtracts covariances that are nearly equal, period by period, which leaves few or "
            'none of the digits of less precision. jax.config.update("jax_enable_x64", True) at '
            "the start of the program switches float64 on."
        )
    return x


def measurement_covariance(
    given: ArrayLike | None, names: tuple[str, ...]
) -> Float[Array, "m m"] | None:
    """H from a vector of variances, or a full matrix."""
    if given is None:
        return None
    x, m = double("measurement_cov", given), len(names)
    if x.shape not in ((m,), (m, m)):
        raise ValueError(
            f"dini.economics: `measurement_cov` has shape {x.shape}, and must be a vector of the "
            f"variances of {m} observables, {', '.join(names)}, or a matrix of shape {(m, m)}."
        )
    if x.ndim == 1:
        return jnp.diag(_if_covariance("measurement_cov", x, jnp.all(x >= 0)))
    return covariance("measurement_cov", x, m)


def covariance(name: str, given: ArrayLike, n: int) -> Float[Array, "n n"]:
    """A symmetric matrix without negative eigenvalues; NaN, or an error, where it is none."""
    x = double(name, given)
    _check(name, x, (n, n))
    tolerance = _SYMMETRIC * jnp.max(jnp.abs(x), initial=0)
    mean = (x + x.T) / 2
    lowest = jnp.min(jnp.linalg.eigvalsh(jax.lax.stop_gradient(mean)), initial=0)
    symmetric = jnp.max(jnp.abs(x - x.T), initial=0) <= tolerance
    return _if_covariance(name, mean, symmetric & (lowest >= -tolerance))


def _if_covariance(name: str, x: Array, good: Bool[Array, ""]) -> Array:
    """The same if it is one, else an error, or NaN where numbers are not known or not finite."""
    known = not isinstance(x, jax.core.Tracer)
    if known and not good and bool(jnp.all(jnp.isfinite(x))):
        raise ValueError(
            f"dini.economics: `{name}` is no covariance matrix: it must be symmetric, with no "
            "negative eigenvalue."
        )
    return x * jnp.where(good, 1, jnp.nan)


def _check(name: str, x: Array, shape: tuple[int, ...]) -> None:
    if x.shape != shape:
        raise ValueError(
            f"dini.economics: `{name}` must have shape {shape} to fit the other arrays, and has "
            f"{x.shape}."
        )


_SYMMETRIC = 1e-10
