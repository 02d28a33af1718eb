"""Equations by name: the steady state and the laws of motion, compiled once each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.core
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import ArrayLike, PyTree

from dini._tree import asarrays
from dini.economics import _explain, _first_order, _second_order, _steady_state
from dini.economics._equations import Equations, Linearised, precision
from dini.economics._law import FirstOrderLaw
from dini.economics._record import Record, unknown
from dini.economics._second_order import SecondOrderLaw
from dini.economics._steady_state import Values
from dini.economics._verdict import Verdict
from dini.implicit import Compiled


class Dynamics:
    """Equations by name, their steady state and their laws of motion; see `Model`."""

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

        By Powell's method from the guess, and where that fails by Newton's homotopy; the derivative
        is that of an implicit function.

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
            known = known[0] if known else self.steady_state(origin, throw=throw)
            start = origin, Record.of({name: known[name] for name in self.variables})
        found, record = self._call("_find", throw, (params, start))
        if throw and is_known(record) and not found.isolated:
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
        if throw and is_known(record) and not found.isolated:
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
        if throw and is_known(law) and law.result != Verdict.determinate:
            if law.result == Verdict.failed:
                self.steady_state(params)
            raise RuntimeError(_first_order.explain(law))
        return law

    # --- What is compiled: (throw, static options, *data) -----------------------------------------

    def _find(self, throw: bool, params: PyTree, start: tuple | None) -> Any:
        found = _steady_state.find(self.equations, self._guess, self._closed, params, start, throw)
        return found, self._record(found.x)

    def _calibrated(self, throw: bool, params: PyTree, targets: dict, where: Any) -> Any:
        where = where if callable(where) else _named(where)
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


def is_known(tree: PyTree) -> bool:
    return not _is_traced(tree)


def _named(names: tuple[str, ...]) -> Callable[[PyTree], list]:
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
