"""A model: equations by name, and what follows from them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, ArrayLike, Float, PyTree

from dini._tree import asarrays
from dini.economics import _explain, _first_order, _second_order, _steady_state
from dini.economics._equations import Equations, Linearised, precision
from dini.economics._kalman import Filtered
from dini.economics._law import FirstOrderLaw
from dini.economics._likelihood import (
    Data,
    Seen,
    filtered,
    joint_likelihood,
    likelihood,
    places,
    smoothed,
)
from dini.economics._record import Record, unknown
from dini.economics._second_order import SecondOrderLaw
from dini.economics._smoother import Smoothed
from dini.economics._state_space import Initial
from dini.economics._steady_state import Values
from dini.economics._verdict import Verdict
from dini.implicit import Compiled


class Model:
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

    def __init__(
        self,
        equations: Callable,
        variables: Iterable[str],
        shocks: Iterable[str],
        guess: Values = None,
        steady_state: Values = None,
    ) -> None:
        self.equations = Equations(equations, variables, shocks)
        self._guess, self._closed = guess, steady_state
        for what, spec in (("guess", guess), ("steady_state", steady_state)):
            if isinstance(spec, Mapping):
                _steady_state.values(spec, None, self.variables, what, None)
        self._compiled = Compiled(self._run)

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the variables, in the order of every matrix."""
        return self.equations.variables

    @property
    def shocks(self) -> tuple[str, ...]:
        """The names of the shocks."""
        return self.equations.shocks

    def steady_state(
        self, params: PyTree, *, start: tuple | None = None, throw: bool = True
    ) -> Record:
        """The root of F(x, x, x, 0, params), where nothing moves.

        By Newton's homotopy from the guess; the derivative is that of an implicit function.

        Args:
            params: the parameters.
            start: `(params0,)` or `(params0, record)`: parameters for which the steady state is
                known, or found, and from which it is followed to `params` on a straight line.
            throw: whether a failure raises, or gives NaN.

        Raises:
            RuntimeError: with throw=True, when none is found, what was given is none, or the
                Jacobian there is singular, as with a unit root: it is not isolated then, and has no
                derivative.
        """
        if start is not None:
            origin, *known = start
            start = origin, *(known or [self.steady_state(origin, throw=throw)])
        found, record = self._call("_find", throw, (params, start))
        if throw and _is_known(record) and not found.isolated:
            raise RuntimeError(self._why_not_steady(params, found.point, start))
        return record

    def calibrate(
        self,
        params: PyTree,
        targets: Mapping[str, ArrayLike] | Record,
        free: str | Sequence[str] | Callable[[PyTree], Any],
        *,
        throw: bool = True,
    ) -> tuple[PyTree, Record]:
        """The parameters for which the steady state has some values wanted.

        Args:
            params: the parameters; those that are free start where they are here.
            targets: steady-state values of some variables.
            free: the names of as many parameters, keys or attributes of `params`; or a function of
                `params` that returns them, as the `where` of `eqx.tree_at`.
            throw: whether a failure raises, or gives NaN.

        Returns:
            The parameters with the free ones changed, and the steady state. Both are differentiable
            in the targets and in the parameters that are not free.

        Raises:
            ValueError: for an unknown name, or unless as many parameters are free as there are
                targets.
            RuntimeError: with throw=True, when there are none, or they are not isolated.
        """
        values = {str(name): jnp.asarray(x) for name, x in targets.items()}
        for name in values:
            if name not in self.variables:
                raise ValueError(f"Model: among the targets, {unknown(name, self.variables)}")
        names = (free,) if isinstance(free, str) else free
        where = names if callable(names) else tuple(names)
        changed, found, record = self._call("_calibrated", throw, (params, values), where)
        if throw and _is_known(record) and not found.isolated:
            raise RuntimeError(_explain.NOT_CALIBRATED)
        return changed, record

    def jacobians(self, params: PyTree, steady_state: Record | None = None) -> Linearised:
        """A, B, C and D of the equations in deviations, A w₊ + B w + C w₋ + D ε = 0.

        Args:
            params: the parameters.
            steady_state: the point; found where it is None.

        Raises:
            RuntimeError: as `steady_state`.
        """
        point = self.steady_state(params) if steady_state is None else steady_state
        return self._call("_jacobians", True, (params, point))

    def first_order(self, params: PyTree, *, throw: bool = True) -> FirstOrderLaw:
        """The law of motion w = w̄ + X (w₋ − w̄) + R ε of the linearised model.

        Args:
            params: the parameters.
            throw: whether anything but one stable law raises; if not, X and R are NaN then, and
                `law.result` tells which.

        Raises:
            RuntimeError: with throw=True, when there is no steady state, no stable law or more than
                one.
        """
        return self._law("_first_order", params, throw)

    def second_order(self, params: PyTree, *, throw: bool = True) -> SecondOrderLaw:
        """The law of motion with its quadratic terms, for pruned simulation.

        Args:
            params: the parameters.
            throw: as for `first_order`.

        Raises:
            RuntimeError: as for `first_order`.
        """
        return self._law("_second_order", params, throw)

    def _law(self, order: str, params: PyTree, throw: bool) -> Any:
        law = self._call(order, throw, (params,))
        if throw and _is_known(law) and law.result != Verdict.determinate:
            if law.result == Verdict.failed:
                self.steady_state(params)
            raise RuntimeError(_first_order.explain(law))
        return law

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
        seen = Seen(places(observables, self.variables), presample, steady_after)
        data = Data(data, measurement_cov, initial)
        return self._seen("_log_likelihood", throw, (params, data), seen)

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
        seen = Seen(places(observables, self.variables), presample)
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
        seen = Seen(places(observables, self.variables))
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
        seen = Seen(places(observables, self.variables))
        data = Data(data, measurement_cov, initial)
        return self._seen("_joint_log_likelihood", throw, (params, shocks, data), seen, order)

    def _seen(self, name: str, throw: bool, data: tuple, *static: Any) -> Any:
        """One of those below. If it fails the law may tell why, else what raises when compiled."""
        out = self._call(name, throw, data, *static)
        if throw and _is_known(out) and not _is_finite(out):
            self.first_order(data[0])
            return self._compiled((name, True, static), data)
        return out

    # --- What is compiled: (throw, static options, *data) -----------------------------------------

    def _find(self, throw: bool, params: PyTree, start: tuple | None) -> Any:
        found = _steady_state.find(self.equations, self._guess, self._closed, params, start, throw)
        return found, self._record(found.x)

    def _calibrated(self, throw: bool, params: PyTree, targets: dict, where: Any) -> Any:
        where = where if callable(where) else _named(params, where)
        params = eqx.tree_at(where, params, replace_fn=lambda x: jnp.asarray(x, precision(params)))
        changed, found = _steady_state.calibrate(
            self.equations, self._guess, self._closed, params, targets, where, throw
        )
        return changed, found, self._record(found.x)

    def _jacobians(self, throw: bool, params: PyTree, point: Record) -> Linearised:
        del throw
        x = jnp.stack([point[name] for name in self.variables]).astype(precision(params))
        return self.equations.linearise(x, params)

    def _first_order(self, throw: bool, params: PyTree) -> FirstOrderLaw:
        found = _steady_state.find(self.equations, self._guess, self._closed, params, None, throw)
        return _first_order.first_order(self.equations, found, params, throw)

    def _second_order(self, throw: bool, params: PyTree) -> SecondOrderLaw:
        law = self._first_order(throw, params)
        residual, _ = self.equations.around(law.steady_state.vector, params)
        return _second_order.second_order(law, residual)

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

    def _record(self, x: Any) -> Record:
        return Record.of(self.variables, x)

    def _run(self, config: tuple, data: tuple) -> Any:
        name, throw, static = config
        return getattr(self, name)(throw, *data, *static)

    def _call(self, name: str, throw: bool, data: tuple, *static: Any) -> Any:
        """One of the above. What raises in compiled code is left out where the result is known.

        The caller then raises, and can tell more.
        """
        if not (throw and _is_traced(data)):
            out = self._compiled((name, False, static), data)
            if not (throw and _is_traced(out)):
                return out
        return self._compiled((name, True, static), data)

    def _why_not_steady(self, params: PyTree, point: Any, start: tuple | None) -> str:
        return _explain.steady_state(
            self.equations, self._guess, self._closed, asarrays(params), point, start
        )


def _is_traced(tree: PyTree) -> bool:
    return any(isinstance(x, jax.core.Tracer) for x in jtu.tree_leaves(tree))


def _is_known(tree: PyTree) -> bool:
    return not _is_traced(tree)


def _is_finite(tree: PyTree) -> bool:
    """Of the numbers that are never missing by themselves."""
    tree = tree.log_likelihood if isinstance(tree, Filtered) else tree
    return all(bool(jnp.all(jnp.isfinite(x))) for x in jtu.tree_leaves(tree))


def _named(params: PyTree, names: tuple[str, ...]) -> Callable[[PyTree], list]:
    """The parameters of these names, as `eqx.tree_at` asks for them."""

    def one(params: PyTree, name: str) -> Any:
        if isinstance(params, Mapping | Record):
            if name not in params:
                raise ValueError(f"Model: among the parameters, {unknown(name, params)}")
            return params[name]
        if not hasattr(params, name):
            raise ValueError(f"Model: the parameters have no {name!r}.")
        return getattr(params, name)

    return lambda params: [one(params, name) for name in names]
