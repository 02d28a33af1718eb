"""Data in levels of a model's variables, seen by the filters of its law of motion."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from dini.economics._kalman import Filtered, kalman_filter, log_likelihood
from dini.economics._law import FirstOrderLaw
from dini.economics._measurement import measurement_log_density
from dini.economics._record import unknown
from dini.economics._smoother import Smoothed, kalman_smoother
from dini.economics._state_space import (
    Prior,
    StateSpace,
    covariance,
    double,
    kept,
    measurement_covariance,
    of_law,
    prior_of,
)


class Seen(NamedTuple):
    """How data are seen, all of it static."""

    observables: tuple[str, ...]
    presample: int = 0
    steady_after: int | None = None


class Data(NamedTuple):
    """What is seen.

    Attributes:
        levels: of shape (T, m), NaN where missing.
        measurement_cov: of shape (m,) or (m, m), or None.
        initial: a prior of all variables, in deviations from the steady state; of a joint
            likelihood the variables themselves.
    """

    levels: ArrayLike
    measurement_cov: ArrayLike | None
    initial: Any = None


def observed_names(observables: str | Sequence[str], variables: tuple[str, ...]) -> tuple[str, ...]:
    """The names of what is observed, checked.

    Raises:
        ValueError: for an unknown name, or one that stands twice.
    """
    names = tuple(observables.split() if isinstance(observables, str) else observables)
    for i, name in enumerate(names):
        if name not in variables:
            raise ValueError(f"Model: among the observables, {unknown(name, variables)}")
        if name in names[:i]:
            raise ValueError(f"Model: {name!r} stands twice among the observables.")
    return names


def refuse_covariances(data: Data, seen: Seen) -> None:
    """Raises for a covariance that is none, where its numbers are known."""
    measurement_covariance(data.measurement_cov, seen.observables)
    if isinstance(data.initial, Prior | tuple):
        cov = prior_of(data.initial).cov
        covariance("initial cov", cov, len(cov))


def likelihood(law: FirstOrderLaw, data: Data, seen: Seen, throw: bool) -> Float[Array, ""]:
    """The log density of the data under the law."""
    space, deviations = _posed(law, data, seen)
    options = {"presample": seen.presample, "steady_after": seen.steady_after, "throw": throw}
    return log_likelihood(space, deviations, **options)


def filtered(law: FirstOrderLaw, data: Data, seen: Seen, throw: bool) -> Filtered:
    """All variables given the data of their period and before, in levels and in their order."""
    space, deviations = _posed(law, data, seen, everything=True)
    out = kalman_filter(space, deviations, presample=seen.presample, throw=throw)
    order, rest = _order(law, seen), law.steady_state.vector
    means = lambda f: (f.predicted, f.filtered)
    covs = lambda f: (f.predicted_cov, f.filtered_cov)
    out = eqx.tree_at(means, out, replace_fn=lambda x: x[:, order] + rest)
    return eqx.tree_at(covs, out, replace_fn=lambda v: v[:, order[:, None], order])


def smoothed(law: FirstOrderLaw, data: Data, seen: Seen, throw: bool) -> Smoothed:
    """All variables given all data, in levels and in their order."""
    space, deviations = _posed(law, data, seen, everything=True)
    out = kalman_smoother(space, deviations, throw=throw)
    order, rest = _order(law, seen), law.steady_state.vector
    means = lambda s: (s.states, s.initial)
    covs = lambda s: (s.state_cov, s.initial_cov)
    out = eqx.tree_at(means, out, replace_fn=lambda x: x[..., order] + rest)
    return eqx.tree_at(covs, out, replace_fn=lambda v: v[..., order[:, None], order])


def joint_likelihood(
    law: FirstOrderLaw, shocks: ArrayLike, data: Data, seen: Seen, throw: bool
) -> Float[Array, ""]:
    """The log density of the data, given the shocks and what the variables were before them."""
    path = law.simulate(double("shocks", shocks), initial=data.initial)
    rows, rest = _rows(law, seen)
    levels = path[:, rows] + rest
    return measurement_log_density(levels, data.levels, data.measurement_cov, throw=throw)


def _posed(
    law: FirstOrderLaw, data: Data, seen: Seen, everything: bool = False
) -> tuple[StateSpace, Float[Array, "T m"]]:
    """The state space, and the data in deviations from the steady state."""
    rows, rest = _rows(law, seen)
    space = of_law(
        law.transition,
        law.impact,
        law.states,
        rows.tolist(),
        data.measurement_cov,
        data.initial,
        seen.observables,
        range(len(law.variables)) if everything else (),
    )
    levels = double("data", data.levels)
    # A steady state that is NaN would make the data missing; the law is NaN there too.
    rest = jnp.where(jnp.isfinite(rest), rest, 0)
    return space, levels - rest if levels.shape[-1:] == rest.shape else levels


def _rows(law: FirstOrderLaw, seen: Seen) -> tuple[np.ndarray, Float[Array, " m"]]:
    """The places of the observables, and their steady state."""
    rows = np.array([law.variables.index(name) for name in seen.observables], int)
    return rows, law.steady_state.vector[rows]


def _order(law: FirstOrderLaw, seen: Seen) -> np.ndarray:
    """Where each variable stands in the state space that keeps all of them."""
    rows, _ = _rows(law, seen)
    return np.argsort(kept(law.states, rows.tolist(), range(len(law.variables))))
