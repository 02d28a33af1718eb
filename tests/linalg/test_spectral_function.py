"""f(A) of symmetric and Hermitian matrices: all derivatives, above all where eigenvalues repeat."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg

from dini.linalg import spectral_function
from dini.linalg._divided_differences import divided_differences
from dini.testing import check_rule
from tests.support.compare import all_nan, assert_close, no_nan
from tests.support.marks import slow_among
from tests.support.multiprecision import assert_right, total

_random = np.random.default_rng(5)
E, H, U = (jnp.asarray(_random.normal(size=(3, 3))) for _ in range(3))
Q = np.linalg.qr(_random.normal(size=(3, 3)))[0]
Z = np.linalg.qr(_random.normal(size=(3, 3)) + 1j * _random.normal(size=(3, 3)))[0]
GAPS = (1e-3, 1e-6, 1e-9, 0.0)


def rotated(*eigenvalues, basis=Q):
    return jnp.asarray(basis @ np.diag(eigenvalues) @ basis.conj().T)


HARD = jnp.stack(
    [
        *(rotated(1, 1 + gap, 2) for gap in GAPS),
        jnp.eye(3),
        jnp.diag(jnp.array([2.0, 1.0, 2.0])),
        rotated(1e-8, 1.0, 0.3),
        rotated(1e-4, 2e-4, 50.0),
        jnp.asarray(scipy.linalg.hilbert(3)),
    ]
)
HERMITIAN = jnp.stack([rotated(1, 1, 2, basis=Z), rotated(1, 1 + 1e-9, 2.5, basis=Z)])
P = -0.7
FUNCTIONS = {
    "exp": ("exp", mpmath.exp),
    "log": ("log", mpmath.log),
    "sqrt": ("sqrt", mpmath.sqrt),
    "power": (("power", P), lambda x: x ** mpmath.mpf(P)),
    "any": (lambda x: jnp.sin(3 * x) * jnp.exp(x), lambda x: mpmath.sin(3 * x) * mpmath.exp(x)),
}


def exact(f, weights):
    """⟨weights, V f(Λ) Vᴴ⟩ of the Hermitian part, by mpmath."""

    def phi(a):
        w, v = mpmath.eighe((a + a.H) / 2)
        return mpmath.re(total(weights, v * mpmath.diag([f(x) for x in w]) * v.H))

    return phi


def weighed(f, weights=U):
    return lambda a: jnp.sum(weights * spectral_function(a, f)).real


@pytest.mark.parametrize("name", slow_among(FUNCTIONS, "exp", "sqrt", "power"))
def test_derivatives_are_right_at_hard_matrices(name):
    f, right = FUNCTIONS[name]
    # A is known to eps ‖A‖ alone: functions with a pole at 0 lose the condition number of A, in the
    # k-th derivative its (k + 1)th power.
    lost = np.ones(len(HARD)) if name in ("exp", "any") else np.linalg.cond(HARD) * 1e-6
    first, second = (bound * np.maximum(1, lost) ** k for k, bound in ((1, 1e-9), (2, 1e-6)))
    assert_right(weighed(f), exact(right, U), HARD, E, H, first, second)


@pytest.mark.parametrize("name", slow_among(FUNCTIONS, "exp", "log", "power", "any"))
def test_derivatives_are_right_at_hermitian_matrices(name):
    f, right = FUNCTIONS[name]
    e, h, u = E + 1j * H, U - 1j * E, H + 1j * U
    assert_right(weighed(f, u), exact(right, u), HERMITIAN, e, h, 1e-11, 1e-10)


POINTS = jnp.array([1e-4, 1e-4, 2e-4, 0.3, 0.3 + 1e-12, 0.3 + 1e-5, 0.31, 0.4, 5.0])


@pytest.mark.parametrize("name", slow_among(FUNCTIONS, "exp", "sqrt", "any"))
def test_divided_differences_are_those_of_mpmath(name):
    f = {"exp": jnp.exp, "log": jnp.log, "sqrt": jnp.sqrt, "power": lambda x: x**P}.get(
        name, FUNCTIONS[name][0]
    )
    right = FUNCTIONS[name][1]

    def difference(points):
        if points[0] == points[-1]:
            order = len(points) - 1
            return mpmath.diff(right, points[0], order) / mpmath.factorial(order)
        return (difference(points[1:]) - difference(points[:-1])) / (points[-1] - points[0])

    both = jax.jit(lambda x: [divided_differences(f, x, k) for k in (1, 2)])(POINTS)
    with mpmath.workdps(60):
        x = [mpmath.mpf(float(p)) for p in POINTS]
        for k, (table, rtol) in enumerate(zip(both, (1e-11, 1e-8), strict=True), 1):
            for at in np.ndindex(*[9] * (k + 1)):
                if list(at) == sorted(at):
                    value = float(difference([x[i] for i in at]))
                    assert abs(float(table[at]) - value) <= rtol * abs(value), (at, value)


def test_function_with_a_kink_is_differenced_across_it():
    """Nodes of an integral may all lie on one side of a kink that is near an eigenvalue."""
    absolute = divided_differences(jnp.abs, jnp.array([-1e-3, 1.0, 1.5]), 1)
    assert_close(absolute[0], jnp.array([-1.0, 0.999 / 1.001, 1.499 / 1.501]), 1e-14)


def test_step_gives_projection_on_a_repeated_eigenvalue():
    """P = Q₁Q₁ᵀ moves by (λ − μ)⁻¹ (P E (I − P) + (I − P) E P)."""
    a, e = rotated(1, 1, 3), (E + E.T) / 2
    step = lambda a: spectral_function(a, lambda x: jnp.where(x < 2, 1.0, 0.0))
    value, along = jax.jit(lambda a: jax.jvp(step, (a,), (e,)))(a)
    p = Q[:, :2] @ Q[:, :2].T
    assert_close(value, p, 1e-14)
    part = p @ e @ (np.eye(3) - p) / -2
    assert_close(along, part + part.T, 1e-14)


# d/dp A^p = A^p log A and ∂p L(A, E): p and closed-over parameters are of one mechanism.
def test_parameters_are_differentiated():
    a = rotated(1, 1, 2)
    c = jnp.array([P, 1.3])
    named = lambda a, c: weighed(("power", c[0]))(a) * c[1]
    closed = lambda a, c: weighed(lambda x: c[1] * jnp.exp(c[0] * jnp.log(x)))(a)
    first = lambda f: jax.grad(f, (0, 1))
    second = lambda f: (jax.jacfwd(first(f), 1), jax.jacrev(jax.jacfwd(f, (0, 1)), 1))
    of = lambda f: [first(f)(a, c), *(s(a, c) for s in second(f))]
    one, other = jax.jit(lambda: (of(named), of(closed)))()
    assert_close(one, other, 1e-11)
    power = np.asarray(scipy.linalg.fractional_matrix_power(np.asarray(a), P))
    assert_close(one[0][1][0], np.sum(U * (power @ scipy.linalg.logm(np.asarray(a)))) * c[1], 1e-12)


@pytest.mark.slow
def test_function_may_be_complex():
    a = rotated(1, 1, 2)
    f = lambda x: jnp.exp(1j * x)
    assert_close(spectral_function(a, f), scipy.linalg.expm(1j * np.asarray(a)), 1e-13)
    along = jax.jvp(lambda a: spectral_function(a, f), (a,), (E + E.T,))[1]
    right = scipy.linalg.expm_frechet(1j * np.asarray(a), 1j * np.asarray(E + E.T))[1]
    assert_close(along, right, 1e-13)
    gradient = jax.grad(lambda a: jnp.sum(U * spectral_function(a, f)).imag)(a)
    assert_close(jnp.sum(gradient * (E + E.T)), np.sum(U * right).imag, 1e-12)


def test_whole_power_takes_any_sign():
    a = rotated(-1, -1, 2)
    value, gradient = jax.value_and_grad(weighed(("power", 3)))(a)
    cube, right = jax.value_and_grad(lambda a: jnp.sum(U * (a @ a @ a)))(a)
    assert_close((value, gradient), (cube, (right + right.T) / 2), 1e-12)


@pytest.mark.slow
def test_third_order_is_right_at_a_repeated_eigenvalue():
    """D³(A⁴) by the products themselves."""
    along = lambda f, v: lambda a: jax.jvp(f, (a,), (v,))[1]
    third = lambda f: jax.grad(along(along(f, E + E.T), H + H.T))(rotated(1, 1, 2))
    fourth = lambda a: jnp.sum(U * (a @ a @ a @ a))
    right = third(fourth)
    assert_close(jax.jit(lambda: third(weighed(lambda x: x**4)))(), (right + right.T) / 2, 1e-11)


def test_lane_outside_the_domain_leaves_others_alone():
    stack = jnp.stack([HARD[3], rotated(-1, 1, 2), jnp.full((3, 3), jnp.nan), HARD[4]])
    value, gradient = jax.jit(
        jax.value_and_grad(
            lambda a: jnp.sum(U * spectral_function(a, "log")),
        )
    )(stack)
    assert np.isnan(value)
    assert all_nan(spectral_function(stack, "log")[1:3])
    assert all_nan(gradient[1:3])
    assert_close(gradient[::3], jnp.stack([jax.grad(weighed("log"))(a) for a in stack[::3]]), 1e-13)


def test_semidefinite_matrix_has_a_root_and_a_loud_derivative_where_there_is_none():
    root = spectral_function(one := rotated(0, 1, 2), "sqrt")
    assert_close(root @ root, one, 1e-12)
    gradient = jax.grad(weighed("sqrt"))(jnp.diag(jnp.array([0.0, 0.0, 1.0])))
    assert not np.any(np.isfinite(np.asarray(gradient)[:2, :2]))


def test_single_precision_stays():
    a = HARD.astype(jnp.float32)
    value, gradient = jax.value_and_grad(lambda a: jnp.sum(spectral_function(a, ("power", 0.5))))(a)
    assert value.dtype == gradient.dtype == jnp.float32
    right = jax.grad(lambda a: jnp.sum(spectral_function(a, ("power", 0.5))))(HARD[:6])
    assert_close(gradient[:6].astype(float), right, 1e-5)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="n n"):
        spectral_function(jnp.ones((2, 3)), "exp")
    with pytest.raises(ValueError, match="'sinh'"):
        spectral_function(jnp.eye(2), "sinh")
    with pytest.raises(TypeError, match="real number p"):
        spectral_function(jnp.eye(2), ("power", jnp.ones(2)))
    with pytest.raises(TypeError, match="floating"):
        spectral_function(jnp.eye(2), lambda x: jnp.stack([x, x]))


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_rule_is_checked(name):
    f = lambda a: spectral_function(a, FUNCTIONS[name][0])
    transforms = ("jit", "vmap") if name == "log" else ()
    check_rule(f, rotated(1, 1, 2), transforms=transforms)
    check_rule(f, HERMITIAN[1], order=1, transforms=())
    assert no_nan(f(HARD))
