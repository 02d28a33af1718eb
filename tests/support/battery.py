"""One battery for every differentiable solution: all modes, orders and transformations."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from tests.support.compare import relative_error


@dataclasses.dataclass(frozen=True)
class Scenario:
    """An equation solved by the library, beside its solution in closed form.

    Attributes:
        name: what the test is called.
        solution: (guess, *args) -> z, the function under test.
        closed: (*args) -> z, plain JAX, which JAX's own differentiation handles.
        guess: where the solve starts.
        args: the arguments, floats and arrays.
        rtol: the largest error accepted, relative to the largest number in each result.
    """

    name: str
    solution: Callable[..., Any]
    closed: Callable[..., Any]
    guess: Any
    args: tuple
    rtol: float = 1e-9

    def __repr__(self):
        return self.name


def real_vector(tree):
    """A tree as a vector of real numbers, and the way back."""
    flat, unravel = ravel_pytree(tree)
    if not jnp.iscomplexobj(flat):
        return flat, unravel
    kinds = jax.tree.map(jnp.iscomplexobj, tree)

    def back(v):
        z = unravel(jax.lax.complex(*jnp.split(v, 2)))
        return jax.tree.map(lambda x, c: x if c else x.real, z, kinds)

    return jnp.concatenate([flat.real, flat.imag]), back


def modes(of_guess, guess, x0, lanes=3):
    """Every mode, order and transformation of f = of_guess(guess), vector to vector, by name.

    `of_guess(guess)(x)` is a vector of real numbers. The result maps a name to a function of no
    arguments.
    """
    random = np.random.default_rng(0)
    n, m = x0.size, jax.eval_shape(of_guess(guess), x0).shape[0]
    v, u = jnp.asarray(random.normal(size=n)), jnp.asarray(random.normal(size=m))
    w = jnp.asarray(random.normal(size=n))
    xs = x0 * (1 + 0.02 * jnp.asarray(random.normal(size=(lanes, n))))
    guesses = jax.tree.map(
        lambda g: jnp.stack([jnp.asarray(g) * (1 + 0.01 * i) for i in range(lanes)]), guess
    )
    f = of_guess(guess)

    def phi(x):
        return jnp.sum(u * f(x)) + 0.5 * jnp.sum(f(x) ** 2)

    def along(f, v):
        return lambda x: jax.jvp(f, (x,), (v,))[1]

    def rows(xs):
        return jnp.sum(u * jax.vmap(f)(xs))

    def scanned(xs):
        def step(total, x):
            y = f(x)
            return total + jnp.sum(u * y) + 0.1 * jnp.sum(y) * total, y

        total, ys = jax.lax.scan(step, 0.0, xs)
        return total + jnp.sum(ys**2)

    table = {
        "value": lambda: f(x0),
        "jvp": lambda: along(f, v)(x0),
        "vjp": lambda: jax.vjp(f, x0)[1](u)[0],
        "linearize": lambda: jax.linearize(f, x0)[1](v),
        "jacfwd": lambda: jax.jacfwd(f)(x0),
        "jacrev": lambda: jax.jacrev(f)(x0),
        "hessian, forward over reverse": lambda: jax.jacfwd(jax.jacrev(f))(x0),
        "hessian, reverse over forward": lambda: jax.jacrev(jax.jacfwd(f))(x0),
        "hessian, reverse over reverse": lambda: jax.grad(lambda x: v @ jax.grad(phi)(x))(x0),
        "hessian, forward over forward": lambda: along(along(f, v), w)(x0),
        "third, forward": lambda: along(along(along(f, v), w), v)(x0),
        "third, reverse over the rest": lambda: jax.grad(along(along(phi, v), w))(x0),
        "third, forward over the rest": lambda: along(along(jax.grad(phi), v), w)(x0),
        "vmap over arguments": lambda: jax.vmap(f)(xs),
        "vmap over guesses": lambda: jax.vmap(lambda g: of_guess(g)(x0))(guesses),
        "vmap over both, jvp": lambda: jax.vmap(lambda g, x: along(of_guess(g), v)(x))(guesses, xs),
        "grad of vmap": lambda: jax.grad(rows)(xs),
        "vmap of grad": lambda: jax.vmap(jax.grad(phi))(xs),
        "jit of grad": lambda: jax.jit(jax.grad(phi))(x0),
        "scan": lambda: scanned(xs),
        "grad of scan": lambda: jax.grad(scanned)(xs),
        "jvp of scan": lambda: along(scanned, xs[::-1])(xs),
        "grad of checkpoint": lambda: jax.grad(jax.checkpoint(phi))(x0),
        "hessian of checkpoint": lambda: along(jax.grad(jax.checkpoint(phi)), v)(x0),
    }
    return table


def tables(scenario):
    """The battery of the solution under test, and of the closed form."""
    x0, back = real_vector(jax.tree.map(jnp.asarray, scenario.args))

    def under_test(guess):
        return lambda x: real_vector(scenario.solution(guess, *back(x)))[0]

    def oracle(guess):
        del guess
        return lambda x: real_vector(scenario.closed(*back(x)))[0]

    return [modes(of_guess, scenario.guess, x0) for of_guess in (under_test, oracle)]


def check_all_modes(scenario, compiled=True):
    """Every mode agrees with the closed form; all in one compilation, or each called eagerly."""
    ours, theirs = tables(scenario)

    def run(table):
        return {name: case() for name, case in table.items()}

    expected = jax.jit(lambda: run(theirs))()
    actual = jax.jit(lambda: run(ours))() if compiled else run(ours)
    check_same(actual, expected, scenario)


def check_same(actual, expected, scenario):
    """Raises with the errors of all modes that are wrong."""
    errors = {name: relative_error(actual[name], expected[name]) for name in expected}
    wrong = {name: f"{e:.1e}" for name, e in errors.items() if not e <= scenario.rtol}
    assert not wrong, f"{scenario.name}: relative errors above {scenario.rtol}: {wrong}"


def check_derivative_in_guess_is_zero(scenario):
    """The solution does not move with the guess: forward and reverse derivatives are zero."""
    guess, back = real_vector(jax.tree.map(jnp.asarray, scenario.guess))

    def f(g):
        return real_vector(scenario.solution(back(g), *scenario.args))[0]

    for jacobian in (jax.jacfwd(f), jax.jacrev(f)):
        assert not np.any(jacobian(guess)), scenario.name
