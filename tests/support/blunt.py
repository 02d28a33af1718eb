"""Solvers that are deliberately not differentiable: a right derivative proves that a rule ran."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree


def blunt(tree, digits=13):
    """Without derivatives, and rounded to so many significant digits."""

    def leaf(x):
        x = jax.lax.stop_gradient(x)
        if jnp.iscomplexobj(x):
            return jax.lax.complex(leaf(x.real), leaf(x.imag))
        size = jnp.where(x == 0, 1.0, jnp.abs(x))
        unit = 10.0 ** (jnp.floor(jnp.log10(size)) - digits + 1)
        return jnp.round(x / unit) * unit

    return jax.tree.map(leaf, tree)


def returning(closed):
    """A solver that knows the closed form, and hides how it depends on its arguments."""

    def solver(init, *args, **kwargs):
        z = blunt(closed(*args, **kwargs))
        assert jax.tree.structure(z) == jax.tree.structure(init)
        return z

    return solver


def newton(residual, steps=50):
    """Newton's method in a `while_loop`, for real unknowns."""

    def solver(init, *args, **kwargs):
        start, unravel = ravel_pytree(init)

        def flat(v):
            return ravel_pytree(residual(unravel(v), *args, **kwargs))[0]

        def step(carry):
            v, _, k = carry
            delta = jnp.linalg.solve(jax.jacfwd(flat)(v), flat(v))
            return v - delta, jnp.max(jnp.abs(delta)), k + 1

        def more(carry):
            return (carry[1] > 1e-14 * jnp.max(jnp.abs(carry[0]))) & (carry[2] < steps)

        v, _, _ = jax.lax.while_loop(more, step, (start, jnp.asarray(jnp.inf), 0))
        return blunt(unravel(v))

    return solver


def picard(fun, steps=1000):
    """z = T(z) by repetition in a `while_loop`."""

    def solver(init, *args, **kwargs):
        def step(carry):
            z, _, k = carry
            after = fun(z, *args, **kwargs)
            gap = ravel_pytree(jax.tree.map(jnp.subtract, after, z))[0]
            return after, jnp.max(jnp.abs(gap)), k + 1

        def more(carry):
            return (carry[1] > 2e-16) & (carry[2] < steps)

        init = jax.tree.map(jnp.asarray, init)
        z, _, _ = jax.lax.while_loop(more, step, (init, jnp.asarray(jnp.inf), 0))
        return blunt(z)

    return solver


def on_host(solve):
    """A NumPy function (init, *args) -> z as a solver, the result like init.

    The host sees NumPy arrays, never JAX's.
    """

    def call(init, *args):
        init, args = jax.tree.map(np.asarray, (init, args))
        z = solve(init, *args)
        return jax.tree.map(lambda x, i: np.asarray(x, i.dtype), z, init)

    def solver(init, *args):
        init = jax.tree.map(jnp.asarray, init)
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), init)
        init, args = jax.lax.stop_gradient((init, args))
        return jax.pure_callback(call, like, init, *args, vmap_method="sequential")

    return solver
