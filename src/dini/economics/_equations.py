"""A user's equations: called with names, checked, and linearised."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Float, PyTree

from dini._tree import describe
from dini.economics._record import Record

_Vector = Float[Array, " n"]


class Occurrences(NamedTuple):
    """Which variables, and which shocks, occur: their places, in order."""

    lead: tuple[int, ...]
    now: tuple[int, ...]
    lag: tuple[int, ...]
    shock: tuple[int, ...]

    def places(self, n: int) -> list[int]:
        """The same among the 3n + k numbers of all four in one row."""
        return [i * n + j for i, part in enumerate(self) for j in part]


class Linearised(eqx.Module):
    """Equations in deviations from a point: A w₊ + B w + C w₋ + D ε = 0.

    Columns of what does not occur are exactly 0.

    Attributes:
        lead: A, of shape (n, n); rows follow the equations, columns the variables.
        now: B, of shape (n, n).
        lag: C, of shape (n, n).
        shock: D, of shape (n, k); columns follow the shocks.
        occurrences: which columns are not zero throughout.
    """

    lead: Float[Array, "n n"]
    now: Float[Array, "n n"]
    lag: Float[Array, "n n"]
    shock: Float[Array, "n k"]
    occurrences: Occurrences = eqx.field(static=True)

    @property
    def states(self) -> tuple[int, ...]:
        """The places of the variables that occur with a lag."""
        return self.occurrences.lag


class Equations:
    """n equations in n variables and k shocks, by name.

    Attributes:
        fn: (lag, now, lead, shock, params) ↦ residuals.
        variables: the names of the variables.
        shocks: the names of the shocks.
    """

    def __init__(self, fn: Callable, variables: Iterable[str], shocks: Iterable[str]) -> None:
        """Checks the names.

        Raises:
            TypeError: when the equations are no function, or a name is no string.
            ValueError: when there is no variable, or a name stands for two things.
        """
        if not callable(fn):
            raise TypeError(f"Model takes its equations as a function, and was given {fn!r}.")
        self.fn = fn
        self.variables = _names(variables, "variables")
        self.shocks = _names(shocks, "shocks")
        if not self.variables:
            raise ValueError("Model needs at least one variable.")
        if both := [name for name in self.shocks if name in self.variables]:
            raise ValueError(f"Model: {_listed(both)} is both a variable and a shock.")

    def residuals(
        self, lag: PyTree, now: PyTree, lead: PyTree, shock: PyTree, params: PyTree
    ) -> dict[str, Array]:
        """The residuals by the equations' names, or their numbers from 0.

        Args:
            lag: one number for each variable.
            now: the same.
            lead: the same.
            shock: one number for each shock.
            params: the parameters.

        Raises:
            TypeError: for a residual that is no real number; ValueError for a wrong count of them.
        """
        record = lambda numbers: Record(self.variables, tuple(numbers))
        shocks = Record(self.shocks, tuple(shock))
        out = self.fn(record(lag), record(now), record(lead), shocks, params)
        if isinstance(out, Record | Mapping):
            named = {str(name): x for name, x in out.items()}
        elif isinstance(out, Sequence) or (hasattr(out, "shape") and len(out.shape) == 1):
            named = {str(i): out[i] for i in range(len(out))}
        else:
            raise TypeError(
                "the equations must return a sequence of residuals, or a dict from names to "
                f"residuals, and return {describe(out)}."
            )
        if len(named) != len(self.variables):
            raise ValueError(
                f"there are {len(named)} equations ({', '.join(named)}) for "
                f"{len(self.variables)} variables ({', '.join(self.variables)})."
            )
        return {name: _scalar(name, x) for name, x in named.items()}

    def reads(self, name: str, params: PyTree) -> set[str]:
        """The variables that one equation reads, at any date."""
        still = jnp.zeros(len(self.shocks))
        one = lambda *x: self.residuals(x, x, x, still, params)[name]
        numbers = [jax.ShapeDtypeStruct((), precision(params))] * len(self.variables)
        return {self.variables[i] for i in _read(jax.make_jaxpr(one)(*numbers))}

    def at_rest(self, x: Float[Array, " n"], params: PyTree) -> Float[Array, " n"]:
        """The residuals where nothing moves."""
        still = jnp.zeros(len(self.shocks), x.dtype)
        return jnp.stack(list(self.residuals(x, x, x, still, params).values())).astype(x.dtype)

    def around(
        self, x: Float[Array, " n"], params: PyTree
    ) -> tuple[Callable[[_Vector], _Vector], Occurrences]:
        """The residuals as a function of the deviations of what occurs: lead, now, lag, shock.

        Args:
            x: the point, the same at all three dates.
            params: the parameters.

        Returns:
            u ↦ F, where u follows `occurrences.places(n)`; and the occurrences.
        """
        n, k = len(self.variables), len(self.shocks)
        point = jnp.concatenate([x, x, x, jnp.zeros(k, x.dtype)])

        def of_numbers(*numbers: Array) -> list[Array]:
            lead, now, lag = (numbers[i : i + n] for i in (0, n, 2 * n))
            shock = numbers[3 * n :]
            return list(self.residuals(lag, now, lead, shock, params).values())

        structs = [jax.ShapeDtypeStruct((), x.dtype)] * (3 * n + k)
        occur = _read(jax.make_jaxpr(of_numbers)(*structs))
        part = lambda i, width: tuple(j - i * n for j in occur if 0 <= j - i * n < width)
        occurrences = Occurrences(part(0, n), part(1, n), part(2, n), part(3, k))

        def residual(u: _Vector) -> _Vector:
            numbers = [point[i] for i in range(3 * n + k)]
            for j, i in enumerate(occur):
                numbers[i] = numbers[i] + u[j]
            return jnp.stack(of_numbers(*numbers)).astype(x.dtype)

        return residual, occurrences

    def linearise(self, x: Float[Array, " n"], params: PyTree) -> Linearised:
        """The equations' Jacobians at a point, the same at all three dates."""
        residual, occurrences = self.around(x, params)
        n, places = len(self.variables), occurrences.places(len(self.variables))
        jacobian = jax.jacfwd(residual)(jnp.zeros(len(places), x.dtype))
        whole = jnp.zeros((n, 3 * n + len(self.shocks)), x.dtype)
        whole = whole.at[:, jnp.array(places, int)].set(jacobian)
        lead, now, lag, shock = jnp.split(whole, [n, 2 * n, 3 * n], axis=1)
        return Linearised(lead=lead, now=now, lag=lag, shock=shock, occurrences=occurrences)


def precision(params: PyTree) -> Any:
    """The dtype of a model: the widest of its parameters; the default one for Python floats."""
    inexact = [x for x in jtu.tree_leaves(params) if eqx.is_inexact_array(x)]
    reals = [x.real if jnp.iscomplexobj(x) else x for x in inexact]
    return jnp.result_type(*reals) if reals else jnp.result_type(float)


# An input that no equation reads is told from the traced program: what its results do not need is
# left out, backwards; what stands inside a nested program counts as a whole.
def _read(program: Any) -> list[int]:
    jaxpr = program.jaxpr
    hashable = lambda atoms: {id(v) for v in atoms if not hasattr(v, "val")}
    needed = hashable(jaxpr.outvars)
    for eqn in reversed(jaxpr.eqns):
        if needed & hashable(eqn.outvars):
            needed |= hashable(eqn.invars)
    return [i for i, v in enumerate(jaxpr.invars) if id(v) in needed]


def _scalar(name: str, x: Any) -> Array:
    number = isinstance(x, int | float) or hasattr(x, "dtype")
    if not number or isinstance(x, bool):
        raise TypeError(f"equation {name!r} must be a real number, and is {x!r}.")
    x = jnp.asarray(x)
    if x.shape:
        raise TypeError(f"equation {name!r} must be one number, and has the shape {x.shape}.")
    if not (jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer)):
        raise TypeError(f"equation {name!r} must be a real number, and is {x.dtype}.")
    return x


def _names(names: Iterable[str], what: str) -> tuple[str, ...]:
    names = tuple(names.split() if isinstance(names, str) else names)
    if bad := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"Model: {what} are named by strings, and not by {bad[0]!r}.")
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ValueError(f"Model: {_listed(twice)} stands twice among the {what}.")
    return names


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))
