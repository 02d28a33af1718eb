"""One battery for every differentiable solution: all modes, orders and transformations."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from tests.support.compare import relative_error

LANES = 3


@dataclasses.dataclass(frozen=True, eq=False)
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


class Case(NamedTuple):
    """A function of a vector of real numbers to another, and where it is looked at.

    Attributes:
        of_guess: guess -> f.
        guess, x: where f is taken, and at which x.
        guesses, xs: the same with a leading axis.
        v, w: directions in x.
        u: weights on f(x).
    """

    of_guess: Callable[[Any], Callable[[Array], Array]]
    guess: Any
    x: Array
    guesses: Any
    xs: Array
    v: Array
    w: Array
    u: Array

    def f(self, x):
        return self.of_guess(self.guess)(x)

    def phi(self, x):
        """A number made of f(x), not linearly."""
        y = self.f(x)
        return jnp.sum(self.u * y) + 0.5 * jnp.sum(y**2)


def along(f, v):
    """The derivative of f in the direction v, as a function."""
    return lambda x: jax.jvp(f, (x,), (v,))[1]


def with_value(f):
    """A function to hand to a `has_aux=True` transformation: the value twice."""

    def both(x):
        y = f(x)
        return y, y

    return both


# Each mode runs as one program. Lower orders come along as auxiliary outputs of the higher ones.


def forward_over_reverse(c):
    jacobian = jax.jacrev(with_value(c.f), has_aux=True)
    hessian, (first, value) = jax.jacfwd(lambda x: (jacobian(x)[0], jacobian(x)), has_aux=True)(c.x)
    return {"value": value, "jacrev": first, "jacfwd of jacrev": hessian}


def reverse_over_forward_mapped(c):
    """Over guesses and arguments together."""

    def lane(guess, x):
        jacobian = jax.jacfwd(with_value(c.of_guess(guess)), has_aux=True)
        hessian, (first, value) = jax.jacrev(lambda x: (jacobian(x)[0], jacobian(x)), has_aux=True)(
            x
        )
        return {"value": value, "jacfwd": first, "jacrev of jacfwd": hessian}

    return jax.vmap(lane)(c.guesses, c.xs)


def reverse_over_reverse(c):
    def slope(x):
        value, gradient = jax.value_and_grad(c.phi)(x)
        return c.v @ gradient, (value, gradient)

    return jax.value_and_grad(slope, has_aux=True)(c.x)


def forward_thrice(c):
    def once(f, v):
        """The value and the derivative along v."""
        return lambda x: jax.jvp(f, (x,), (v,))

    return once(once(once(c.f, c.v), c.w), c.v)(c.x)


def third_by_reverse(c):
    return jax.grad(along(along(c.phi, c.v), c.w))(c.x)


def third_by_forward(c):
    return along(along(jax.grad(c.phi), c.v), c.w)(c.x)


def grad_of_vmap(c):
    def total(xs):
        ys = jax.vmap(c.f)(xs)
        return jnp.sum(c.u * ys**2), ys

    return jax.value_and_grad(total, has_aux=True)(c.xs)


def vmap_of_grad(c):
    return jax.vmap(jax.value_and_grad(c.phi))(c.xs)


def vmap_over_guesses(c):
    return jax.vmap(lambda guess: jax.jvp(c.of_guess(guess), (c.x,), (c.v,)))(c.guesses)


def _scanned(c, xs):
    @jax.checkpoint
    def step(total, x):
        y = c.f(x)
        return total + jnp.sum(c.u * y) + 0.1 * jnp.sum(y) * total, y

    total, ys = jax.lax.scan(step, 0.0, xs)
    return total + jnp.sum(ys**2)


def grad_of_scan_of_checkpoint(c):
    return jax.value_and_grad(lambda xs: _scanned(c, xs))(c.xs)


def jvp_of_scan(c):
    return jax.jvp(lambda xs: _scanned(c, xs), (c.xs,), (c.xs[::-1],))


def hessian_vector_product_of_checkpoint(c):
    return jax.jvp(jax.value_and_grad(jax.checkpoint(c.phi)), (c.x,), (c.v,))


def vjp_and_linearize_of_jit(c):
    f = jax.jit(c.f)
    return jax.vjp(f, c.x)[1](c.u), jax.linearize(f, c.x)[1](c.v)


MODES = (
    forward_over_reverse,
    reverse_over_forward_mapped,
    reverse_over_reverse,
    forward_thrice,
    third_by_reverse,
    third_by_forward,
    grad_of_vmap,
    vmap_of_grad,
    vmap_over_guesses,
    grad_of_scan_of_checkpoint,
    jvp_of_scan,
    hessian_vector_product_of_checkpoint,
    vjp_and_linearize_of_jit,
)


def real_vector(tree):
    """A tree as a vector of real numbers, and the way back."""
    flat, unravel = ravel_pytree(tree)
    if not jnp.iscomplexobj(flat):
        return flat, unravel
    structs = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)

    def back(v):
        z, start, leaves = jax.lax.complex(*jnp.split(v, 2)), 0, []
        for s in jax.tree.leaves(structs):
            part = z[start : start + s.size].reshape(s.shape)
            leaves.append(part if jnp.issubdtype(s.dtype, jnp.complexfloating) else part.real)
            start += s.size
        return jax.tree.unflatten(jax.tree.structure(structs), leaves)

    return jnp.concatenate([flat.real, flat.imag]), back


def cases(scenario):
    """The function under test, and the closed form, as cases that are alike."""
    random = np.random.default_rng(0)
    x, back = real_vector(jax.tree.map(jnp.asarray, scenario.args))
    m = real_vector(scenario.closed(*scenario.args))[0].size
    v, w, u = (jnp.asarray(random.normal(size=k)) for k in (x.size, x.size, m))
    xs = x * (1 + 0.02 * jnp.asarray(random.normal(size=(LANES, x.size))))
    guesses = jax.tree.map(
        lambda g: jnp.stack([jnp.asarray(g) * (1 + 0.01 * i) for i in range(LANES)]), scenario.guess
    )

    def under_test(guess):
        return lambda x: real_vector(scenario.solution(guess, *back(x)))[0]

    def oracle(guess):
        del guess
        return lambda x: real_vector(scenario.closed(*back(x)))[0]

    return (
        Case(of_guess, scenario.guess, x, guesses, xs, v, w, u) for of_guess in (under_test, oracle)
    )


def check_mode(scenario, mode, compiled=True):
    """The solution under test agrees with the closed form in one mode."""
    ours, theirs = (functools.partial(mode, case) for case in cases(scenario))
    expected = jax.jit(theirs)()
    actual = jax.jit(ours)() if compiled else ours()
    error = jax.tree.map(relative_error, actual, expected)
    worst = max(jax.tree.leaves(error))
    assert worst <= scenario.rtol, f"{scenario.name}, {mode.__name__}: relative errors {error}"


def check_all_modes(scenario, compiled=True):
    """The solution under test agrees with the closed form in every mode."""
    for mode in MODES:
        check_mode(scenario, mode, compiled)


def check_derivative_in_guess_is_zero(scenario):
    """The solution does not move with the guess: forward and reverse derivatives are zero."""
    guess, back = real_vector(jax.tree.map(jnp.asarray, scenario.guess))

    def f(g):
        return real_vector(scenario.solution(back(g), *scenario.args))[0]

    forward, reverse = jax.jit(lambda g: (jax.jacfwd(f)(g), jax.jacrev(f)(g)))(guess)
    assert not np.any(forward), scenario.name
    assert not np.any(reverse), scenario.name
