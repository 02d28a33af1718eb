"""Every way to give a rule under `check_rule`, to second order and under all transformations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from dini.testing import check_rule
from tests.rules import test_custom_rule, test_forward_mode, test_matrix_function
from tests.support.marks import slow, slow_among

check_all = functools.partial(check_rule, transforms=("jit", "vmap", "scan", "checkpoint"))

A = jnp.asarray(np.random.default_rng(2).normal(size=(3, 3))) + 3 * jnp.eye(3)


@pytest.mark.parametrize("kind", slow_among(test_custom_rule.RULES, "jvp", "vjp", "vjp, residuals"))
def test_custom_rule_passes(kind):
    f, _ = test_custom_rule.RULES[kind]
    report = check_all(f, test_custom_rule.X, test_custom_rule.Y)
    assert report.verdict == "pass", report


@pytest.mark.parametrize("kind", [slow("block matrix"), slow("frechet")])
def test_matrix_function_passes(kind):
    f, _ = test_matrix_function.FUNCTIONS[kind]
    assert check_all(f, test_matrix_function.A).verdict == "pass"


@pytest.mark.parametrize("a", [slow(test_matrix_function.A), slow(test_matrix_function.DEFECTIVE)])
def test_host_function_passes(a):
    f, _ = test_matrix_function.FUNCTIONS["host"]
    report = check_rule(f, a, order=1, transforms=("jit", "vmap"), rtol=1e-10)
    assert report.verdict == "pass", report


@pytest.mark.slow
def test_forward_mode_passes():
    f = functools.partial(test_forward_mode.decorated, steps=7)
    point = {"a": test_forward_mode.V[0], "b": test_forward_mode.V[1:]}
    assert check_all(f, point, transforms=("jit", "vmap", "scan")).verdict == "pass"


def solve(a, b):
    return jnp.linalg.solve(a, b)


def solve_transposed(a, c):
    return jnp.linalg.solve(a.T, c)


def test_linear_map_passes():
    f = lambda a, b: dini.linear_map(solve, solve_transposed, a, b)
    assert check_all(f, A, jnp.array([1.0, -2.0, 0.5])).verdict == "pass"


def test_linear_map_with_a_wrong_transpose_fails():
    f = lambda b: dini.linear_map(solve, solve, A, b)
    report = check_rule(f, jnp.array([1.0, -2.0, 0.5]), throw=False)
    first = next(f for f in report.findings if f.verdict == "fail")
    assert (first.check, "the transpose?" in first.reason) == ("vjp", True)


def test_affine_cotangent_is_refused():
    @dini.custom_rule
    def f(x):
        return jax.lax.stop_gradient(jnp.sin(x))

    f.defvjp(lambda out, primals, ct: (jnp.cos(*primals) * ct + 1e-3,))
    report = check_rule(f, jnp.array([0.3, 1.0]), throw=False)
    assert next(f for f in report.findings if f.verdict == "fail").check == "linear"
