"""Bounded parameters as unbounded numbers: beside mpmath, far into both tails."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from dini.economics import Bounds
from tests.support.compare import all_nan, assert_close

ENDS = {
    "open": (None, None),
    "above": (0.5, None),
    "positive": (0, np.inf),
    "below": (-np.inf, -1.0),
    "between": (-2.0, 3.0),
}
by_ends = pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
FAR = np.array([-700.0, -60.0, -30.0, -3.0, -0.3, 0.0, 0.3, 2.0, 30.0, 60.0])


def exact(ends, u):
    """x, the distance to the nearest bound, the first two derivatives and log dx/du."""
    with mpmath.workdps(400):
        lower, upper = (None if b is None or np.isinf(b) else mpmath.mpf(b) for b in ends)

        def x(u):
            if lower is None:
                return u if upper is None else upper - mpmath.log1p(mpmath.exp(-u))
            if upper is None:
                return lower + mpmath.log1p(mpmath.exp(u))
            return lower + (upper - lower) / (1 + mpmath.exp(-u))

        u = mpmath.mpf(float(u))
        slopes = [mpmath.diff(x, u, order, h=mpmath.mpf(10) ** -60) for order in (1, 2)]
        return [float(y) for y in (x(u), *slopes, mpmath.log(slopes[0]))]


@by_ends
def test_maps_have_the_derivatives_of_mpmath_to_the_last_digits(ends):
    bounds = Bounds(ends)
    first = jax.grad(bounds.constrain)
    ours = [bounds.constrain, first, jax.grad(first), bounds.log_det_jacobian]
    found = [jax.vmap(fn)(FAR) for fn in ours]
    expected = np.transpose([exact(ends, u) for u in FAR])
    for found_one, expected_one in zip(found, expected, strict=True):
        np.testing.assert_allclose(found_one, expected_one, rtol=2e-14, atol=1e-300)


@by_ends
def test_inverse_leads_back(ends):
    bounds, u = Bounds(ends), np.linspace(-12, 12, 49)
    assert_close(bounds.unconstrain(bounds.constrain(u)), u, rtol=1e-10)


def test_inverse_keeps_its_digits_near_zero():
    x = np.array([1e-300, 1e-20, 1e-3, 1.0, 40.0, 1e5])
    positive, share = Bounds((0, None)), Bounds((0, 1))
    np.testing.assert_allclose(positive.constrain(positive.unconstrain(x)), x, rtol=2e-13)
    with mpmath.workdps(40):
        logs = [float(mpmath.log(mpmath.expm1(mpmath.mpf(float(v))))) for v in x]
    np.testing.assert_allclose(positive.unconstrain(x), logs, rtol=1e-14)
    near = np.array([1e-300, 1e-20, 0.3, 1 - 2**-50])
    with mpmath.workdps(40):
        logits = [float(mpmath.log(v / (1 - v))) for v in map(mpmath.mpf, near.tolist())]
    np.testing.assert_allclose(share.unconstrain(near), logits, rtol=1e-14)


class Params(NamedTuple):
    share: float = 0.3
    sd: dict = {}  # noqa: RUF012
    weights: tuple = (0.5, 2.0)
    periods: int = 4
    name: str = "a"


TREE = Params(sd={"a": jnp.array([0.1, 2.0]), "b": 0.2})
BOUNDS = Bounds(Params((0, 1), (0, None), ((None, 1), None), None, None))


def test_bounds_of_a_branch_hold_for_all_of_it():
    u = BOUNDS.unconstrain(TREE)
    assert (u.periods, u.name) == (4, "a")
    assert_close(u.share, np.log(0.3 / 0.7), rtol=1e-15)
    assert_close(u.sd["a"], np.log(np.expm1([0.1, 2.0])), rtol=1e-14)
    assert float(u.weights[1]) == 2.0
    back = BOUNDS.constrain(u)
    assert_close([back.sd["a"], back.sd["b"], back.weights[0]], [TREE.sd["a"], 0.2, 0.5], 1e-14)
    assert (back.periods, back.name) == (4, "a")


def test_log_det_is_that_of_the_jacobian_of_the_vector():
    bounds = Bounds({"a": (0, 1), "b": (np.array([-1.0, 0.0]), 4.0), "c": (None, 3), "d": None})
    u = {"a": 0.3, "b": jnp.array([[0.2, -1.0], [3.0, 1.5]]), "c": -2.0, "d": 1.0}
    vector, unravel = ravel_pytree(u)
    jacobian = jax.jacfwd(lambda v: ravel_pytree(bounds.constrain(unravel(v)))[0])(vector)
    assert_close(bounds.log_det_jacobian(u), np.linalg.slogdet(jacobian)[1], rtol=1e-13)


def test_log_density_integrates_to_one():
    """Of a beta density over u, by the trapezoidal rule, which is exact for such."""
    density = Bounds((0, 1)).log_density(lambda x: jnp.log(6 * x * (1 - x)))
    u = np.linspace(-40, 40, 2001)
    assert_close(np.sum(np.exp(jax.vmap(density)(u))) * (u[1] - u[0]), 1.0, rtol=1e-12)


def test_maps_keep_single_precision_and_compile():
    x = {"a": jnp.float32(0.2), "b": jnp.ones(3, jnp.float32)}
    bounds = Bounds({"a": (0.0, np.float64(1)), "b": (0, None)})
    u = jax.jit(bounds.unconstrain)(x)
    assert {y.dtype for y in jax.tree.leaves((u, bounds.constrain(u)))} == {jnp.dtype("float32")}
    assert bounds.log_det_jacobian(u).dtype == jnp.float32
    assert_close(bounds.constrain(u), x, rtol=1e-6)


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 7.0, np.nan])
def test_parameters_outside_are_refused_by_name(bad):
    bounds = Bounds({"p": {"alpha": (0, 1)}})
    params = {"p": {"alpha": bad}}
    with pytest.raises(ValueError, match=r"p\.alpha must be above 0.0 and below 1.0, and is"):
        bounds.unconstrain(params)
    with pytest.raises(Exception, match=r"above 0\.0 and below 1\.0"):
        jax.block_until_ready(jax.jit(bounds.unconstrain)(params))
    silent = lambda p: bounds.unconstrain(p, throw=False)
    assert all_nan(silent(params))
    assert all_nan(jax.jit(silent)(params))
    assert all_nan(jax.grad(lambda p: silent(p)["p"]["alpha"])(params))


def test_bounds_that_are_none_are_refused():
    with pytest.raises(ValueError, match="lower bound of a must be below"):
        Bounds({"a": (1, 1)})
    with pytest.raises(ValueError, match="a bound of a is nan"):
        Bounds({"a": (np.nan, 1)})
    with pytest.raises(TypeError, match=r"pair \(lower, upper\) for a"):
        Bounds({"a": 0.5})
    with pytest.raises(TypeError, match="n has bounds, and must be a floating-point"):
        Bounds({"n": (0, 5)}).constrain({"n": 3})
    with pytest.raises(ValueError, match="alpha"):
        Bounds({"alpha": (0, 1)}).constrain({"beta": 0.5})
