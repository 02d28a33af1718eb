"""What a derivative must compose with: 37 ways to use f(x, y), x of shape (3,) and y a number."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_random = np.random.default_rng(3)
X, V, W = (jnp.asarray(_random.normal(size=3)) for _ in range(3))
XS = jnp.asarray(_random.normal(size=(4, 3)))
Y, Y_DOT, YS = 0.7, -1.3, jnp.array([0.2, -0.4, 1.1, 0.8])


class Looked(NamedTuple):
    """A function, and a number made of it, not linearly."""

    f: Any
    ct: jax.Array

    def phi(self, x, y):
        return jnp.sum(self.ct * jnp.sin(self.f(x, y)))

    def of_x(self, x):
        return self.phi(x, Y)


BOTH = (0, 1)
AT = (X, Y)
DOT = (V, Y_DOT)


def along(f, v):
    return lambda x: jax.jvp(f, (x,), (v,))[1]


def first_order(c):
    value, pushforward = jax.linearize(c.f, *AT)
    transposed = jax.linear_transpose(pushforward, *AT)
    return {
        "value": c.f(*AT),
        "jvp": jax.jvp(c.f, AT, DOT),
        "jvp of one argument": jax.jvp(lambda y: c.f(X, y), (Y,), (Y_DOT,)),
        "vjp": jax.vjp(c.f, *AT)[1](c.ct),
        "vjp of one argument": jax.vjp(lambda x: c.f(x, Y), X)[1](c.ct),
        "linearize": (value, pushforward(*DOT)),
        "linear_transpose": transposed(c.ct),
        "jacfwd": jax.jacfwd(c.f, BOTH)(*AT),
        "jacrev": jax.jacrev(c.f, BOTH)(*AT),
        "jit": (jax.jit(c.f)(*AT), jax.grad(jax.jit(c.phi), BOTH)(*AT)),
    }


def second_order(c):
    return {
        "forward over forward": jax.jacfwd(jax.jacfwd(c.f, BOTH), BOTH)(*AT),
        "forward over reverse": jax.jacfwd(jax.jacrev(c.f, BOTH), BOTH)(*AT),
        "reverse over forward": jax.jacrev(jax.jacfwd(c.f, BOTH), BOTH)(*AT),
        "reverse over reverse": jax.jacrev(jax.jacrev(c.f, BOTH), BOTH)(*AT),
        "hessian vector product": jax.jvp(jax.grad(c.phi, BOTH), AT, DOT),
    }


def third_order(c):
    return {
        "grad of hvp": jax.grad(lambda x: W @ along(jax.grad(c.of_x), V)(x))(X),
        "jvp of hvp": along(along(jax.grad(c.of_x), V), W)(X),
        "jvp three times": along(along(along(lambda x: c.f(x, Y), V), W), V)(X),
        "grad three times": jax.grad(lambda y: jax.grad(jax.grad(c.phi, 1), 1)(X, y))(Y),
    }


def mapped(c):
    back = lambda x, y, ct: jax.vjp(c.f, x, y)[1](ct)
    cts = jnp.outer(YS, c.ct)
    return {
        "x": jax.vmap(c.f, (0, None))(XS, Y),
        "y": jax.vmap(c.f, (None, 0))(X, YS),
        "both": jax.vmap(c.f)(XS, YS),
        "last axis, out last": jax.vmap(c.f, (1, None), 1)(XS.T, Y),
        "twice": jax.vmap(jax.vmap(c.f, (None, 0)), (0, None))(XS, YS),
        "jvp, x": jax.vmap(lambda x: jax.jvp(c.f, (x, Y), DOT)[1])(XS),
        "jvp, tangent": jax.vmap(lambda v: jax.jvp(c.f, AT, (v, 0.0))[1])(XS),
        "vjp, x and y": jax.vmap(back, (0, 0, None))(XS, YS, c.ct),
        "vjp, cotangent": jax.vmap(back, (None, None, 0))(*AT, cts),
        "vjp, y and cotangent": jax.vmap(back, (None, 0, 0))(X, YS, cts),
        "grad of vmap": jax.grad(lambda xs: jnp.sum(jax.vmap(c.phi)(xs, YS) ** 2))(XS),
        "hessian": jax.vmap(jax.hessian(c.of_x))(XS),
    }


def controlled(c):
    def scanned(xs):
        @jax.checkpoint
        def step(total, x):
            return total + c.phi(x, Y) * (1 + 0.1 * total), c.f(x, Y)

        total, ys = jax.lax.scan(step, 0.3, xs)
        return total + jnp.sum(ys**2)

    branch = lambda x: jax.lax.cond(x[0] > 9, lambda x: 0.0, c.of_x, x)
    return {
        "jvp of scan": jax.jvp(scanned, (XS,), (XS[::-1],)),
        "grad of scan of checkpoint": jax.grad(scanned)(XS),
        "jvp of grad of checkpoint": jax.jvp(jax.grad(jax.checkpoint(c.of_x)), (X,), (V,)),
        "grad of cond": jax.grad(branch)(X),
        "jvp of while_loop": jax.jvp(
            lambda x: jax.lax.while_loop(
                lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] + c.of_x(s[1] * x)), (0, 0.4)
            ),
            (X,),
            (V,),
        )[1][1],
        "vmap of grad of scan": jax.vmap(lambda s: jax.grad(scanned)(s * XS))(YS[:2]),
    }


COMPOSITIONS = [first_order, second_order, third_order, mapped, controlled]


def looked(f, m):
    return Looked(f, jnp.linspace(0.4, -1.5, m))
