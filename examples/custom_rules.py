"""Every way to give a derivative, one function each, all checked and tabulated.

A rule is given once. Forward mode, reverse mode, Hessians, `vmap` and `jit` follow from it, and
`check_rule` puts each of them to the test.
"""

# %% Set-up
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.special
import sympy

import dini
from dini.testing import check_rule

jax.config.update("jax_enable_x64", True)


# %% By partials: a function that acts entry by entry. log(1 + exp(x)) that cannot overflow
@dini.custom_rule
def softplus(x):
    return jnp.where(x > 30, x, jnp.log1p(jnp.exp(jnp.minimum(x, 30.0))))


@softplus.defpartials
def _(out, x):
    return (jnp.exp(x - out),)


# %% By the tangent: C A = I  ⇒  ∂C A + C ∂A = 0  ⇒  ∂C = −C ∂A C
@dini.custom_rule
def inverse(a):
    return jnp.linalg.inv(a)


@inverse.defjvp
def _(primals, tangents):
    c = inverse(*primals)
    return c, -c @ tangents[0] @ c


# %% By the cotangent, with the factor of the value kept for it: log|A| of a covariance matrix
@dini.custom_rule(has_residuals=True)
def log_determinant(a):
    factor = jnp.linalg.cholesky(a)
    return 2 * jnp.sum(jnp.log(jnp.diagonal(factor))), factor


@log_determinant.defvjp
def _(seen, primals, cotangent):
    _, factor = seen
    return (cotangent * jax.scipy.linalg.cho_solve((factor, True), jnp.eye(len(primals[0]))),)


# %% By itself: f([[A, E], [0, A]]) holds the derivative of a matrix function, SciPy's too
@dini.matrix_function
@dini.external(like="a")
def logm(a):
    return scipy.linalg.logm(a)


# %% On the host, with a rule in JAX: the complete elliptic integral K(m)
@dini.external(like="m")
def elliptic(m):
    return scipy.special.ellipk(m)


@elliptic.defpartials
def _(out, m):
    return ((elliptic_second(m) / (1 - m) - out) / (2 * m),)


@dini.external(like="m")
def elliptic_second(m):
    return scipy.special.ellipe(m)


@elliptic_second.defpartials
def _(out, m):
    return ((out - elliptic(m)) / (2 * m),)


# %% Through forward mode: reverse mode of a `while_loop`. K(m) again, by Gauss's mean of two means
@dini.forward_mode
def elliptic_by_means(m):
    def step(means):
        return (means[0] + means[1]) / 2, jnp.sqrt(means[0] * means[1])

    apart = lambda means: jnp.abs(means[0] - means[1]) > 1e-9 * means[0]
    mean = sum(step(jax.lax.while_loop(apart, step, (1.0, jnp.sqrt(1 - m))))) / 2
    return jnp.pi / (2 * mean)


# %% A linear map that knows its transpose: present values v_t = x_t + β v_{t+1}, run forwards
def discounted(beta, flows, reverse=True):
    step = lambda later, x: (x + beta * later,) * 2
    return jax.lax.scan(step, 0.0, flows, reverse=reverse)[1]


def present_values(beta, flows):
    backwards = lambda beta, weights: discounted(beta, weights, reverse=False)
    return dini.linear_map(discounted, backwards, beta, flows)


# %% By SymPy: (exp(x) − 1) / x and its derivatives have limits at 0, which are found
@dini.symbolic_rule
def growth_factor(x):
    return (sympy.exp(x) - 1) / x


# %% Each at a point where its derivative is known
spd = jnp.array([[2.0, 0.3, 0.1], [0.3, 1.5, -0.4], [0.1, -0.4, 3.0]])
skew = jnp.array([[2.0, 0.9, 0.1], [0.2, 1.5, -0.4], [0.3, 0.1, 3.0]])
inv = np.linalg.inv(skew)
k, e = scipy.special.ellipk(0.4), scipy.special.ellipe(0.4)
slope_of_k = (e / 0.6 - k) / 0.8
cases = {
    "partials": (softplus, (800.0,), 1.0),
    "tangent": (inverse, (skew,), -np.einsum("ik,lj->ijkl", inv, inv)),
    "cotangent": (log_determinant, (spd,), np.linalg.inv(spd)),
    "itself": (lambda a: jnp.trace(logm(a)), (skew,), inv.T),
    "host": (elliptic, (0.4,), slope_of_k),
    "forward mode": (elliptic_by_means, (0.4,), slope_of_k),
    "linear map": (present_values, (0.9, jnp.ones(3)), np.array([1 + 2 * 0.9, 1.0, 0.0])),
    "SymPy": (growth_factor, (0.0,), 0.5),
}
print(f"{'given by':14}{'forward error':>15}{'reverse error':>15}   every mode, to second order")
for name, (f, point, known) in cases.items():
    errors = [np.max(np.abs(d(f)(*point) - known)) for d in (jax.jacfwd, jax.jacrev)]
    verdict = check_rule(f, *point, transforms=(), rtol=1e-11).verdict.value
    print(f"{name:14}{errors[0]:15.0e}{errors[1]:15.0e}   {verdict}")
    assert max(errors) < 1e-12
    assert verdict == "pass"
