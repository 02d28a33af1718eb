"""Decorators on a solver: any solver becomes differentiable."""

import functools
from collections.abc import Callable
from typing import Any, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import PyTree

from dini._tree import Closed, RealView, asarrays
from dini.conditions import Condition
from dini.implicit import _problem
from dini.implicit._call import Decorated, apply_user, inexact, split_aux
from dini.implicit._options import Options, SolverOptions
from dini.implicit._problem import Problem, check_output
from dini.implicit._solve import Equation, Posed


def _decorator(
    problem: Problem, name: str, equation: Callable, options: dict[str, Any]
) -> Callable:
    if not callable(equation):
        raise TypeError(f"dini.{name} takes the equation, a function, and was given {equation!r}.")

    def decorate(solver: Callable) -> Decorated:
        pose = functools.partial(_pose, problem, equation, solver)
        return Decorated(solver, name, tuple(SolverOptions.__annotations__), options, pose)

    return decorate


def _pose(
    problem: Problem,
    fn: Callable,
    solver: Callable,
    options: Options,
    name: str,
    guess: PyTree,
    arguments: PyTree,
) -> Posed:
    def pair(guess: PyTree, arguments: PyTree) -> tuple[PyTree, PyTree]:
        out = apply_user(solver, guess, arguments)
        z, aux = split_aux(out, options.has_aux, name, "the solver")
        return asarrays(z), jtu.tree_map(_computed, aux)

    closed_solver = Closed(pair, guess, arguments)
    z, aux = eqx.filter_eval_shape(closed_solver, guess, arguments)
    eps = RealView(z).eps
    rtol = eps**0.5 if options.rtol is None else options.rtol
    atol = eps**0.5 if options.atol is None else options.atol
    equation_fn = fn.within(rtol, atol) if isinstance(fn, Condition) else fn

    def value(z: PyTree, arguments: PyTree) -> PyTree:
        return inexact(apply_user(equation_fn, z, arguments))

    closed = Closed(value, z, arguments)
    check_output(problem, name, z, eqx.filter_eval_shape(closed, z, arguments))
    equation = Equation(problem, closed, options.linear(problem, name, rtol), rtol, atol)
    adjoint = options.configured_adjoint(name, rtol)
    constants = eqx.filter(aux, _is_struct, inverse=True)
    combined = lambda solved: eqx.combine(solved.extra["aux"], constants)
    return Posed(equation, guess, arguments, closed_solver, adjoint, combined, options.has_aux)


def _computed(x: Any) -> Any:
    """The same array, which a traced program will not write down as a Python number."""
    plain = eqx.is_array(x) and not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return jax.lax.optimization_barrier(x) if plain else x


def _is_struct(x: Any) -> bool:
    return isinstance(x, jax.ShapeDtypeStruct)


def custom_root(
    residual: Callable, **options: Unpack[SolverOptions]
) -> Callable[[Callable], Decorated]:
    """Makes any solver of F(z, *args, **kwargs) = 0 differentiable.

    The solver is called as `solver(init, *args, **kwargs)` and F as `F(z, *args, **kwargs)`, with
    the same arguments and keywords. The solver may be any code that JAX can trace: loops, SciPy by
    [`external`][dini.external], C through the FFI. It runs once for a value and once for a value
    with derivatives; its own tangents are never used, and the derivative in `init` is zero. On a
    method, solver and F both get `self` first.

    Args:
        residual: F; any tree with as many real numbers as z.
        **options: `rtol` and `atol` (√eps of z's dtype, 1.5e-8 in float64, by default) for the
            check of what the solver returned, by its Newton correction −(∂zF)⁻¹ F;
            `linear_solver`, `preconditioner`, `tags`, `adjoint`, `throw` (True), and `has_aux`
            (False: with True the solver returns (z, aux) and so does the call, with aux a constant
            for derivatives; F returns the residual alone).

    Returns:
        A decorator for the solver.

    Raises:
        TypeError: when there are not as many equations as unknowns, or z has no inexact number.
        RuntimeError: with throw=True, when what the solver returned does not solve the equation
            within the tolerance, or the linear solve of a derivative fails; with throw=False the
            result is NaN instead.
    """
    return _decorator(_problem.root, "custom_root", residual, {**options})


def custom_fixed_point(
    map: Callable,  # noqa: A002
    **options: Unpack[SolverOptions],
) -> Callable[[Callable], Decorated]:
    """Makes any solver of z = T(z, *args, **kwargs) differentiable.

    As `custom_root`; what the solver returned is checked by |T(z) − z| ≤ atol + rtol |z|.

    Args:
        map: T, which returns a tree like z.
        **options: as for `custom_root`.

    Returns:
        A decorator for the solver.

    Raises:
        TypeError, RuntimeError: as `custom_root`.
    """
    return _decorator(_problem.fixed_point, "custom_fixed_point", map, {**options})


def custom_minimum(
    objective: Callable, **options: Unpack[SolverOptions]
) -> Callable[[Callable], Decorated]:
    """Makes any solver of argmin_z f(z, *args, **kwargs) differentiable.

    As `custom_root` with F = ∇f; the Hessian must be positive definite at the solution.

    Args:
        objective: f, which returns one real number.
        **options: as for `custom_root`.

    Returns:
        A decorator for the solver.

    Raises:
        TypeError, RuntimeError: as `custom_root`.
    """
    return _decorator(_problem.minimum, "custom_minimum", objective, {**options})


def custom_least_squares(
    residual: Callable, **options: Unpack[SolverOptions]
) -> Callable[[Callable], Decorated]:
    """Makes any solver of argmin_z ½ |r(z, *args, **kwargs)|² differentiable.

    As `custom_minimum` with f = ½ |r|².

    Args:
        residual: r, any tree of numbers.
        **options: as for `custom_root`.

    Returns:
        A decorator for the solver.

    Raises:
        TypeError, RuntimeError: as `custom_root`.
    """
    return _decorator(_problem.least_squares, "custom_least_squares", residual, {**options})
