"""A model: equations by name, and what follows from them and from data."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, ArrayLike, Float, PyTree

from dini.economics._dynamics import Dynamics, is_known
from dini.economics._kalman import Filtered
from dini.economics._likelihood import (
    Data,
    Seen,
    filtered,
    joint_likelihood,
    likelihood,
    observed_names,
    refuse_covariances,
    smoothed,
)
from dini.economics._smoother import Smoothed
from dini.economics._state_space import Initial, double


class Model(Dynamics):
    """A dynamic stochastic model with rational expectations: E F(w₋, w, w₊, ε, params) = 0.

    ```python
    def equations(lag, now, lead, shock, p):
        gross_return = p["alpha"] * jnp.exp(lead.z) * now.k ** (p["alpha"] - 1)
        return {
            "Euler": 1 / now.c - p["beta"] / lead.c * gross_return,
            "resources": now.c + now.k - jnp.exp(now.z) * lag.k ** p["alpha"],
            "technology": now.z - p["rho"] * lag.z - p["sigma"] * shock.e,
        }


    model = dini.economics.Model(equations, ["k", "c", "z"], ["e"])
    law = model.first_order({"alpha": 0.33, "beta": 0.96, "rho": 0.9, "sigma": 0.02})
    ```

    Expectations are over `lead`; a variable known before the shocks of its period is written with
    its lag. Shocks are independent and N(0, I): their scales stand in the equations. Parameters may
    be any pytree; its arrays and Python floats are differentiated, and a new value of them compiles
    nothing. All methods run under `jit`, `vmap`, `grad` and `hessian`. Their first call for a
    structure of parameters compiles.

    Args:
        equations: `equations(lag, now, lead, shock, params)` with four
            [`Record`][dini.economics.Record]s of numbers, which returns as many residuals as there
            are variables, in a sequence or a dict from the equations' names.
        variables: their names, or one string of them with blanks between.
        shocks: the same of the shocks.
        guess: where the search for the steady state starts: a dict from names to numbers, or a
            function of the parameters that returns one. What it leaves out starts at 1, then at 0.1
            and at 0, until a steady state is found.
        steady_state: the steady state in closed form, in the same forms. It is checked at each
            call, by its Newton correction, and its derivatives are taken from the equations. Where
            it leaves variables out they are searched for, as above, and what it gives is checked.

    Raises:
        TypeError, ValueError: for names that are none, that stand twice, or for a variable and a
            shock. A wrong count of equations, an unknown name or a residual that is no number
            raises when the equations are first called.

    Reference: Blanchard and Kahn, The solution of linear difference models under rational
    expectations (1980).
    """

    def log_likelihood(
        self,
        params: PyTree,
        data: ArrayLike,
        observables: str | Sequence[str],
        *,
        measurement_cov: ArrayLike | None = None,
        initial: Initial = None,
        presample: int = 0,
        steady_after: int | None = None,
        throw: bool = True,
    ) -> Float[Array, ""]:
        """The log density of data under the law of first order, by the Kalman filter.

        Its gradient takes one pass back through the periods, whatever the number of parameters.

        Args:
            params: the parameters, in double precision.
            data: of shape (periods, m), a column an observable, in levels of the variables; NaN
                where missing, entries or whole periods.
            observables: the names of m variables.
            measurement_cov: the covariance of errors of measurement, as m variances or a matrix of
                shape (m, m); none by default.
            initial: (mean, cov), of shapes (n,) and (n, n), of the deviations of all variables from
                their steady state before the first period, or a
                [`Prior`][dini.economics.Prior]; by default the law that they have in the long run.
            presample: so many of the first periods are filtered, and not counted.
            steady_after: after so many periods the gain of the filter is that of the long run, for
                long samples without missing data; it must have come within 1e-8 of it.
            throw: whether failures raise. If not, the value is −inf, and derivatives are NaN, where
                there is no law, or a forecast of the observables has a singular covariance (fewer
                shocks and errors of measurement than observables): samplers go on. It is NaN where
                `steady_after` does not hold.

        Raises:
            TypeError: for single precision, which leaves few or no digits of a likelihood.
            ValueError: for unknown names, and data of another shape.
            RuntimeError: with throw=True, in the cases above.

        References: Anderson and Moore, Optimal Filtering (1979); Hamilton, Time Series Analysis
        (1994), chapter 13.
        """
        seen = Seen(observed_names(observables, self.variables), presample, steady_after)
        given = params, Data(data, measurement_cov, initial)
        return self._seen("_log_likelihood", throw, given, seen)

    def filter(
        self,
        params: PyTree,
        data: ArrayLike,
        observables: str | Sequence[str],
        *,
        measurement_cov: ArrayLike | None = None,
        initial: Initial = None,
        presample: int = 0,
        throw: bool = True,
    ) -> Filtered:
        """What the data up to each period say of all variables.

        Args:
            params: as for `log_likelihood`, and so are all others.
            data: in levels.
            observables: names.
            measurement_cov: variances or a matrix.
            initial: a prior.
            presample: periods that are not counted.
            throw: whether failures raise, or give NaN.

        Returns:
            A [`Filtered`][dini.economics.Filtered], its means in levels, with one number for each
            variable, in their order.

        Raises:
            TypeError, ValueError, RuntimeError: as `log_likelihood`.
        """
        seen = Seen(observed_names(observables, self.variables), presample)
        return self._seen("_filtered", throw, (params, Data(data, measurement_cov, initial)), seen)

    def smooth(
        self,
        params: PyTree,
        data: ArrayLike,
        observables: str | Sequence[str],
        *,
        measurement_cov: ArrayLike | None = None,
        initial: Initial = None,
        throw: bool = True,
    ) -> Smoothed:
        """What all data say of all variables, shocks and errors of measurement.

        Args:
            params: as for `log_likelihood`, and so are all others.
            data: in levels.
            observables: names.
            measurement_cov: variances or a matrix.
            initial: a prior.
            throw: whether failures raise, or give NaN.

        Returns:
            A [`Smoothed`][dini.economics.Smoothed], its states in levels, with one number for each
            variable, in their order.

        Raises:
            TypeError, ValueError, RuntimeError: as `log_likelihood`.
        """
        seen = Seen(observed_names(observables, self.variables))
        return self._seen("_smoothed", throw, (params, Data(data, measurement_cov, initial)), seen)

    def joint_log_likelihood(
        self,
        params: PyTree,
        shocks: ArrayLike,
        data: ArrayLike,
        observables: str | Sequence[str],
        measurement_cov: ArrayLike,
        *,
        initial: ArrayLike | None = None,
        order: int = 1,
        throw: bool = True,
    ) -> Float[Array, ""]:
        """The log density of data, given the shocks: what a sampler of both needs.

        Where the law is not linear there is no Kalman filter, and shocks are parameters beside the
        others. The density of the shocks themselves is not in it.

        Args:
            params: the parameters, in double precision.
            shocks: of shape (periods, k).
            data: of shape (periods, m), in levels; NaN where missing.
            observables: the names of m variables.
            measurement_cov: the covariance of errors of measurement, as m variances or a matrix of
                shape (m, m); regular.
            initial: the deviations of all variables before the first period, of shape (n,); 0 by
                default.
            order: of the law, 1 or 2.
            throw: whether failures raise, or give −inf and derivatives NaN.

        Raises:
            TypeError, ValueError, RuntimeError: as `log_likelihood`.

        Reference: Childers, Fernández-Villaverde, Perla, Rackauckas and Wu, Differentiable
        state-space models and Hamiltonian Monte Carlo estimation (2022).
        """
        if order not in (1, 2):
            raise ValueError(f"Model: there are laws of order 1 and 2, and not of {order!r}.")
        seen = Seen(observed_names(observables, self.variables))
        initial = None if initial is None else double("initial", initial)
        given = params, shocks, Data(data, measurement_cov, initial)
        return self._seen("_joint_log_likelihood", throw, given, seen, order)

    def _seen(self, name: str, throw: bool, data: tuple, *static: Any) -> Any:
        """One of those below. If it fails the law may tell why, else what raises when compiled."""
        out = self._call(name, throw, data, *static)
        if throw and is_known(out) and not _is_finite(out):
            refuse_covariances(data[-1], static[0])
            self.first_order(data[0])
            return self._compiled((name, True, static), data)
        return out

    def _log_likelihood(self, throw: bool, params: PyTree, data: Data, seen: Seen) -> Any:
        return likelihood(self._first_order(throw, params), data, seen, throw)

    def _filtered(self, throw: bool, params: PyTree, data: Data, seen: Seen) -> Any:
        return filtered(self._first_order(throw, params), data, seen, throw)

    def _smoothed(self, throw: bool, params: PyTree, data: Data, seen: Seen) -> Any:
        return smoothed(self._first_order(throw, params), data, seen, throw)

    def _joint_log_likelihood(
        self, throw: bool, params: PyTree, shocks: Any, data: Data, seen: Seen, order: int
    ) -> Any:
        law = (self._first_order if order == 1 else self._second_order)(throw, params)
        return joint_likelihood(law, shocks, data, seen, throw)


def _is_finite(tree: PyTree) -> bool:
    """Of the numbers that are never missing by themselves."""
    tree = tree.log_likelihood if isinstance(tree, Filtered) else tree
    return all(bool(jnp.all(jnp.isfinite(x))) for x in jtu.tree_leaves(tree))
