"""The steady state: found, or given and checked, with the derivatives of a root."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import optimistix as optx
from jaxtyping import Array, ArrayLike, Bool, Float, PyTree

from dini._tree import all_finite
from dini.economics._equations import Equations, precision
from dini.economics._record import Record, unknown
from dini.implicit import custom_root
from dini.linear import guarded
from dini.solvers import Continuation, PowellHybrid

# A name → a number, or a function of the parameters that gives such.
Values = Mapping[str, Any] | Callable[[PyTree], Any] | None
_Vector = Float[Array, " n"]
_Residual = Callable[[_Vector, PyTree], _Vector]
_Solver = Callable[[Any, PyTree], _Vector]


class Found(eqx.Module):
    """What has been found of a steady state.

    Attributes:
        x: the variables, with the derivatives of a root; NaN where it is none, or not isolated.
        point: the point that was reached, whatever it is.
        isolated: whether x is a root at which the Jacobian is regular.
    """

    x: _Vector
    point: _Vector
    isolated: Bool[Array, ""]


def find(
    equations: Equations,
    guess: Values,
    closed: Values,
    params: PyTree,
    start: tuple[PyTree, Record] | None,
    throw: bool,
) -> Found:
    """The root of F(x, x, x, 0, params), its derivatives by the implicit function theorem.

    Args:
        equations: F.
        guess: where the search starts.
        closed: the steady state itself, or a part of it.
        params: the parameters.
        start: (params₀, x₀), from which the search follows the solution to `params`.
        throw: whether a failure raises.
    """
    names, dtype = equations.variables, precision(params)
    stated = lambda params: values(closed, params, names, "steady_state", dtype)
    given = stated(params)
    if start is None and len(given) == len(names):
        solver = lambda _, params: _row(stated(params), names)
        return _root(equations.at_rest, solver, None, params, throw)
    if start is None:
        starts = _starts(values(guess, params, names, "guess", dtype) | given, names, dtype)
        init = starts, None
    else:
        origin, x = start
        init = x.vector.astype(dtype)[None], _like(origin, params)
    found = _root(equations.at_rest, _search(equations.at_rest), init, params, throw)
    if not given:
        return found
    places = jnp.array([names.index(name) for name in given])
    near = close(found.x[places], _row(given, tuple(given)))
    x = guarded(found.x, found.isolated & ~near, _NOT_AS_STATED, throw)
    return Found(x, found.point, found.isolated & near)


def calibrate(
    equations: Equations,
    guess: Values,
    closed: Values,
    params: PyTree,
    targets: dict[str, Array],
    where: Callable[[PyTree], Any],
    throw: bool,
) -> tuple[PyTree, Found]:
    """The parameters for which the steady state has the values aimed at, and that steady state.

    Args:
        equations: F.
        guess: where the search starts.
        closed: as the guess; it need not hold for `params` as they are.
        params: the parameters; those that are free start where they are.
        targets: values of variables.
        where: which parameters are free, as `eqx.tree_at` takes it.
        throw: whether a failure raises.

    Raises:
        ValueError: when there are not as many free parameters as targets.
    """
    names, dtype = equations.variables, precision(params)
    others = tuple(name for name in names if name not in targets)
    free = jtu.tree_leaves(where(params))
    count = sum(jnp.size(p) for p in free)
    if count != len(targets):
        raise ValueError(
            f"calibrate: {count} parameters are free for {len(targets)} targets; there must be as "
            "many of the one as of the other."
        )

    def parts(u: _Vector, arguments: tuple) -> tuple[_Vector, PyTree]:
        params, targets = arguments
        numbers = dict(zip(others, u[: len(others)], strict=True)) | targets
        old, treedef = jtu.tree_flatten(where(params))
        new, at = [], len(others)
        for p in old:
            new.append(u[at : at + jnp.size(p)].reshape(jnp.shape(p)))
            at += jnp.size(p)
        return _row(numbers, names), eqx.tree_at(where, params, treedef.unflatten(new))

    def residual(u: _Vector, arguments: tuple) -> _Vector:
        return equations.at_rest(*parts(u, arguments))

    known = values(guess, params, names, "guess", dtype)
    known |= values(closed, params, names, "steady_state", dtype)
    starts = _starts({k: v for k, v in known.items() if k not in targets}, others, dtype)
    initial = jnp.concatenate([jnp.ravel(p).astype(dtype) for p in free])
    starts = jnp.concatenate([starts, jnp.tile(initial, (len(starts), 1))], axis=1)
    found = _root(residual, _search(residual), (starts, None), (params, targets), throw)
    x, params = parts(found.x, (params, targets))
    x = jnp.where(found.isolated, x, jnp.nan)
    return params, Found(x, found.point, found.isolated)


def values(
    spec: Values, params: PyTree, names: tuple[str, ...], what: str, dtype: Any
) -> dict[str, Array]:
    """A guess or a closed form as numbers by name.

    Raises:
        TypeError: when it is no mapping from names to numbers.
        ValueError: for a name that is none of a variable.
    """
    given = spec(params) if callable(spec) else spec
    if given is None:
        return {}
    if not isinstance(given, Mapping | Record):
        raise TypeError(
            f"Model: {what} must be a dict from names to numbers, or a function of the parameters "
            f"that returns one, and gives {given!r}."
        )
    numbers = {}
    for name, x in given.items():
        if name not in names:
            raise ValueError(f"Model: in {what} {unknown(name, names)}")
        numbers[name] = jnp.asarray(x, dtype)
        if numbers[name].shape:
            raise TypeError(
                f"Model: {what} must give one number for {name!r}, and gives an array of shape "
                f"{numbers[name].shape}."
            )
    return numbers


def first_start(
    guess: Values, closed: Values, params: PyTree, names: tuple[str, ...], dtype: Any
) -> _Vector:
    """Where the search starts, or a closed form that leaves nothing to search for."""
    known = values(guess, params, names, "guess", dtype)
    known |= values(closed, params, names, "steady_state", dtype)
    return _starts(known, names, dtype)[0]


def _row(numbers: Mapping[str, Array], names: tuple[str, ...]) -> _Vector:
    return jnp.stack([numbers[name] for name in names])


def _starts(known: dict[str, Array], names: tuple[str, ...], dtype: Any) -> Float[Array, "m n"]:
    """The points to start from: what is known, and for the others one of the defaults each."""
    defaults = _DEFAULTS if len(known) < len(names) else _DEFAULTS[:1]
    other = lambda x: jnp.asarray(x, dtype)
    rows = [[known.get(name, other(x)) for name in names] for x in defaults]
    return jnp.stack([jnp.stack(row) for row in rows])


def _like(start: PyTree, params: PyTree) -> PyTree:
    """The parameters to start from, with the dtypes of those to arrive at."""

    def leaf(new: Any, old: Any) -> Any:
        return jnp.asarray(old, new.dtype) if eqx.is_inexact_array(new) else old

    return jtu.tree_map(leaf, params, start)


def _root(
    residual: _Residual, solver: _Solver, init: PyTree, arguments: PyTree, throw: bool
) -> Found:
    """What the solver has found, checked by its Newton correction."""

    def steady_state(init: PyTree, arguments: PyTree) -> tuple[_Vector, _Vector]:
        x = solver(init, arguments)
        return x, x

    steady_state.__qualname__ = "the steady state"
    root = custom_root(residual, has_aux=True, throw=throw)(steady_state)
    solution = root.solve(init, arguments)
    isolated = solution.result == optx.RESULTS.successful
    return Found(solution.value, solution.aux, isolated)


# From each start by Powell's method, and where that fails by Newton's homotopy, along
# F(z) = (1 − λ) F(z₀): a continuation, whose first step is the whole way. Where the solution for
# other parameters is known it is followed, F(z, (1 − λ) θ₀ + λ θ) = 0, in steps that keep to it.
def _search(residual: _Residual) -> _Solver:
    """A solver from (starts, parameters to follow the solution from or None).

    Where it fails it returns the point reached from the first start.
    """

    def search(init: tuple, arguments: PyTree) -> _Vector:
        starts, origin = init
        arrays, rest = eqx.partition(arguments, eqx.is_array)
        fn = lambda z, arrays: residual(z, eqx.combine(arrays, rest))
        tol = float(jnp.finfo(starts.dtype).eps) ** 0.75
        step, options = 1.0, {}
        if origin is not None:
            step, options = 0.25, {"start": eqx.filter(origin, eqx.is_array)}
        solver = Continuation(  # pyright: ignore[reportCallIssue]
            solver=PowellHybrid(tol, tol), initial_step=step, max_corrections=_CORRECTIONS
        )

        def attempt(state: tuple) -> tuple:
            k, first, *_ = state
            z = starts[k]
            found = optx.root_find(fn, solver, z, arrays, options, max_steps=_STEPS, throw=False)
            # Zeros are the steady state of a linear model, a singular one too.
            at_start = ~jnp.any(fn(z, arrays))
            z = jnp.where(at_start, z, found.value)
            solved = (found.result == optx.RESULTS.successful) & all_finite(z)
            return k + 1, jnp.where(k == 0, z, first), z, at_start | solved

        more = lambda state: ~state[3] & (state[0] < len(starts))
        begin = 0, starts[0], starts[0], jnp.asarray(False)
        _, first, last, solved = jax.lax.while_loop(more, attempt, begin)
        return jnp.where(solved, last, first)

    return search


def close(x: ArrayLike, y: ArrayLike) -> Bool[Array, ""]:
    """Whether all numbers agree to half their digits, the accuracy asked of what is given."""
    x, y = jnp.asarray(x), jnp.asarray(y)
    tol = float(jnp.finfo(x.dtype).eps) ** 0.5
    return jnp.all(jnp.abs(x - y) <= tol * (1 + jnp.abs(y)))


# Where a variable starts of which nothing is said, in this order.
_DEFAULTS = (1.0, 0.1, 0.0)
# How many steps in λ a homotopy may take, and how many of Powell's method each of them.
_STEPS, _CORRECTIONS = 100, 100
_NOT_AS_STATED = (
    "Model: the steady state that was found from the values of steady_state= does not have them: "
    "they do not solve the equations. What only is near the steady state belongs into guess=."
)
