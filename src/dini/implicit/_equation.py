"""Decorators on an equation: the function becomes its solution."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Unpack, overload

import equinox as eqx
import jax.numpy as jnp
import jax.tree_util as jtu
import optimistix as optx
from jaxtyping import PyTree

from dini._tree import Closed, RealView
from dini.implicit import _problem
from dini.implicit._call import Decorated, apply_user, inexact, split_aux
from dini.implicit._options import EquationOptions, Options
from dini.implicit._problem import Problem, check_output
from dini.implicit._solve import Equation, Posed, Search
from dini.implicit._watch import Printer, Watch


def _decorator(problem: Problem, name: str, fn: Callable | None, options: dict[str, Any]) -> Any:
    """`@name` and `@name(...)` alike."""

    def decorate(fn: Callable) -> Decorated:
        pose = functools.partial(_pose, problem, fn)
        return Decorated(fn, name, tuple(EquationOptions.__annotations__), options, pose)

    return decorate if fn is None else decorate(fn)


def _pose(
    problem: Problem,
    fn: Callable,
    options: Options,
    name: str,
    guess: PyTree,
    arguments: PyTree,
) -> Posed:
    def pair(z: PyTree, arguments: PyTree) -> tuple[PyTree, PyTree]:
        return split_aux(apply_user(fn, z, arguments), options.has_aux, name, "the equation")

    def value(z: PyTree, arguments: PyTree) -> PyTree:
        return inexact(pair(z, arguments)[0])

    loose = jtu.tree_map(_is_loose, guess)
    guess = inexact(guess)
    closed = Closed(value, guess, arguments)
    out = eqx.filter_eval_shape(closed, guess, arguments)
    if problem is _problem.fixed_point and any(jtu.tree_leaves(loose)):
        guess, old = _adopt(guess, loose, out), guess
        if jtu.tree_map(_dtype, guess) != jtu.tree_map(_dtype, old):
            closed = Closed(value, guess, arguments)
            out = eqx.filter_eval_shape(closed, guess, arguments)
    check_output(problem, name, guess, out)

    eps = RealView(guess).eps
    tolerances = [problem.tolerance(eps)] * 2
    solver, instead = options.solver, None
    if solver is None:
        solver = problem.default_solver(*tolerances)
        instead = problem.plain_solver and problem.plain_solver(*tolerances)
    if not isinstance(solver, problem.solvers):
        kinds = ", ".join(k.__name__ for k in problem.solvers)
        raise TypeError(
            f"{name}: {type(solver).__name__} is no solver for this kind of equation. It takes an "
            f"Optimistix solver of one of these kinds: {kinds}."
        )
    equation = Equation(
        problem,
        closed,
        options.linear(problem, name, solver.rtol),
        solver.rtol,
        solver.atol,
        _norm(solver),
    )
    progress = Printer(name) if options.progress is True else options.progress or None
    search = Search(solver, instead, options.options or {}, options.max_steps, Watch(progress))
    adjoint = options.configured_adjoint(name, solver.rtol)
    aux = lambda solved: pair(solved.value, arguments)[1] if options.has_aux else None
    return Posed(equation, guess, arguments, search, adjoint, aux)


def _norm(solver: optx.AbstractIterativeSolver) -> Callable:
    """The norm that the solver was given; a scalar solver has a fixed one of its own."""
    given = any(field.name == "norm" for field in dataclasses.fields(solver))
    return solver.norm if given else optx.max_norm


def _is_loose(x: Any) -> bool:
    """Whether the dtype of a guess is not meant: a Python number, an integer array."""
    return isinstance(x, int | float | complex) or (
        hasattr(x, "dtype") and (x.weak_type or not jnp.issubdtype(x.dtype, jnp.inexact))
    )


def _adopt(guess: PyTree, loose: PyTree, out: PyTree) -> PyTree:
    """The guess with the dtypes that the map returns, where its own are not meant."""
    if jtu.tree_structure(guess) != jtu.tree_structure(out):
        return guess
    return jtu.tree_map(lambda z, free, o: z.astype(o.dtype) if free else z, guess, loose, out)


def _dtype(x: Any) -> Any:
    return getattr(x, "dtype", None)


@overload
def implicit_fixed_point(fn: Callable, **options: Unpack[EquationOptions]) -> Decorated: ...
@overload
def implicit_fixed_point(**options: Unpack[EquationOptions]) -> Callable[[Callable], Decorated]: ...
def implicit_fixed_point(fn: Callable | None = None, **options: Unpack[EquationOptions]) -> Any:
    """Turns a map T(z, *args, **kwargs) into its fixed point z = T(z, *args, **kwargs).

    The function decorated returns a tree like z: same structure, shapes and dtypes. What it becomes
    is called as `f(guess, *args, **kwargs)` and returns z; `f.solve(...)` returns an
    `optimistix.Solution`, `f.with_options(...)` the same function with other options, and `f.fn` is
    T. Derivatives of every order and mode in the arguments follow from

        ż = (I − ∂zT)⁻¹ ∂θT θ̇.

    Use it bare or with options, on functions and on methods (self is then an argument, and is
    differentiated where it is a pytree). Floats and arrays in the arguments, and arrays that T
    captures, are differentiated; all other leaves reach T unchanged. The derivative with respect to
    the guess is zero. An integer guess becomes a float; complex and mixed dtypes are kept.

    Args:
        fn: T.
        **options: `solver` (a fixed-point solver, root finder, least-squares solver or minimiser;
            `dini.Anderson` with rtol = atol = eps^(3/4), 1.8e-12 in float64, by default),
            `max_steps` (256), `options`, `linear_solver`, `preconditioner`, `tags`, `adjoint`,
            `throw` (True), `has_aux` (False: with True T returns (value, aux), the call returns z
            alone, and `f.solve(...).aux` is aux at the solution).

    Raises:
        TypeError: when the map's output does not match z, when z has nothing to differentiate, or
            the solver is of another kind.
        RuntimeError: with throw=True, when the solver fails, when |T(z) − z| exceeds ten times
            atol + rtol |z|, when the iteration moves away, or when the linear solve of a derivative
            fails; with throw=False the result is NaN instead.

    Reference: Krantz and Parks, The Implicit Function Theorem (2002); Christianson, Reverse
    accumulation and attractive fixed points (1994).
    """
    return _decorator(_problem.fixed_point, "implicit_fixed_point", fn, {**options})


@overload
def implicit_root(fn: Callable, **options: Unpack[EquationOptions]) -> Decorated: ...
@overload
def implicit_root(**options: Unpack[EquationOptions]) -> Callable[[Callable], Decorated]: ...
def implicit_root(fn: Callable | None = None, **options: Unpack[EquationOptions]) -> Any:
    """Turns a residual F(z, *args, **kwargs) into its root, F(z, *args, **kwargs) = 0.

    The residual may be any tree with as many real numbers as z. Derivatives follow from

        ż = −(∂zF)⁻¹ ∂θF θ̇.

    The solution is checked, and polished, by its Newton correction −(∂zF)⁻¹ F, which does not
    change when F is multiplied by a constant; the solver too is handed F in units of its own
    derivative. For all else see `implicit_fixed_point`.

    Args:
        fn: F.
        **options: as for `implicit_fixed_point`; `solver` is a root finder, least-squares solver or
            minimiser, by default `optimistix.Dogleg` with rtol = atol = √eps (1.5e-8 in float64).

    Raises:
        TypeError: when there are not as many equations as unknowns, and as above.
        RuntimeError: with throw=True, when the solver fails, when the Newton correction at the
            solution exceeds atol + rtol |z|, when z runs away, or ∂zF is singular.

    Reference: Deuflhard, Newton Methods for Nonlinear Problems (2011), for the error estimate.
    """
    return _decorator(_problem.root, "implicit_root", fn, {**options})


@overload
def implicit_minimum(fn: Callable, **options: Unpack[EquationOptions]) -> Decorated: ...
@overload
def implicit_minimum(**options: Unpack[EquationOptions]) -> Callable[[Callable], Decorated]: ...
def implicit_minimum(fn: Callable | None = None, **options: Unpack[EquationOptions]) -> Any:
    """Turns an objective f(z, *args, **kwargs) into its minimiser, argmin_z f.

    The objective returns one real number. Derivatives follow from ∇f = 0,

        ż = −(∇²f)⁻¹ ∂θ∇f θ̇.

    The Hessian must be positive definite at the solution: a saddle or a flat minimum is a failure.
    The minimum is found up to the solver's tolerance and then polished by a Newton correction. For
    all else see `implicit_fixed_point`.

    Args:
        fn: f.
        **options: as for `implicit_fixed_point`; `solver` is a minimiser, by default
            `optimistix.BFGS` with rtol = atol = √eps (1.5e-8 in float64).

    Raises:
        TypeError: when the objective is not one real number, and as above.
        RuntimeError: as for `implicit_root`, with F = ∇f.
    """
    return _decorator(_problem.minimum, "implicit_minimum", fn, {**options})


@overload
def implicit_least_squares(fn: Callable, **options: Unpack[EquationOptions]) -> Decorated: ...
@overload
def implicit_least_squares(
    **options: Unpack[EquationOptions],
) -> Callable[[Callable], Decorated]: ...
def implicit_least_squares(fn: Callable | None = None, **options: Unpack[EquationOptions]) -> Any:
    """Turns residuals r(z, *args, **kwargs) into argmin_z ½ |r|².

    r may be any tree of numbers; of complex ones the squared modulus counts. Derivatives are those
    of the minimum, with the full Hessian of ½ |r|² and not its Gauss–Newton part. For all else see
    `implicit_minimum`.

    Args:
        fn: r.
        **options: as for `implicit_fixed_point`; `solver` is a least-squares solver or minimiser,
            by default `optimistix.LevenbergMarquardt` with rtol = atol = √eps (1.5e-8 in float64).

    Raises:
        RuntimeError: as for `implicit_root`, with F = ∇ ½ |r|².
    """
    return _decorator(_problem.least_squares, "implicit_least_squares", fn, {**options})
