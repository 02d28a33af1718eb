"""Matrix functions by the block-matrix trick: of JAX functions, host functions, with a Fréchet."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import dini
from tests.support.compare import assert_close
from tests.support.compositions import COMPOSITIONS, first_order, looked
from tests.support.marks import case, slow

_random = np.random.default_rng(7)
A = jnp.array([[2.0, 0.3, 0.1], [0.2, 1.5, -0.4], [0.3, 0.1, 3.0]])
E = jnp.asarray(_random.normal(size=(3, 3)))
U = jnp.asarray(_random.normal(size=(3, 3)))
DEFECTIVE = jnp.array([[1.2, 1.0, 0.0], [0.0, 1.2, 1.0], [0.0, 0.0, 1.2]])


class Host:
    """SciPy's logm inside a callback, which JAX cannot differentiate; counts its calls."""

    calls = 0

    def __call__(self, a):
        def logm(a):
            self.calls += 1
            return np.asarray(scipy.linalg.logm(np.asarray(a))).astype(a.dtype)

        like = jax.ShapeDtypeStruct(a.shape, a.dtype)
        return jax.pure_callback(logm, like, a, vmap_method="sequential")


def expm(a):
    return jax.scipy.linalg.expm(a)


def inv_along(a, e):
    """∂C = −C ∂A C."""
    return -jnp.linalg.inv(a) @ e @ jnp.linalg.inv(a)


@functools.partial(dini.matrix_function, frechet=inv_along)
def inv(a):
    return jnp.linalg.inv(a)


@functools.partial(dini.matrix_function, forward=True)
def eighth_power(a):
    """By a loop that JAX cannot transpose."""
    square = lambda state: (state[0] + 1, state[1] @ state[1])
    return jax.lax.while_loop(lambda state: state[0] < 3, square, (0, a))[1]


FUNCTIONS = {
    "forward": (eighth_power, lambda a: jnp.linalg.matrix_power(a, 8)),
    "block matrix": (dini.matrix_function(expm), expm),
    "frechet": (inv, jnp.linalg.inv),
    "host": (dini.matrix_function(Host()), None),
}


def weighed(f):
    return lambda a: jnp.sum(U * f(a))


def log_along(a, e):
    """∂logm along e, by a complex step."""
    return np.imag(scipy.linalg.logm(np.asarray(a) + 1e-20j * np.asarray(e))) / 1e-20


# exp(log A) = A  ⇒  L_exp(log A, L_log(A, E)) = E, and SciPy has L_exp.
@pytest.mark.parametrize("a", [A, DEFECTIVE], ids=["regular", "defective"])
def test_host_function_inverts_the_derivative_of_its_inverse(a):
    f = FUNCTIONS["host"][0]
    program = jax.jit(lambda a: (jax.jvp(f, (a,), (E,))[1], jax.grad(weighed(f))(a)))
    tangent, gradient = program(a)
    logarithm = scipy.linalg.logm(np.asarray(a))
    back = scipy.linalg.expm_frechet(logarithm, np.asarray(tangent), compute_expm=False)
    assert_close(back, E, 1e-10)
    assert_close(jnp.sum(gradient * E), jnp.sum(U * tangent), 1e-10)


def test_host_function_has_a_second_derivative():
    f = weighed(FUNCTIONS["host"][0])
    along = lambda a: np.sum(U * log_along(a, E))
    h = 1e-4
    expected = (along(A + h * E) - along(A - h * E)) / (2 * h)
    hvp = jax.jit(jax.grad(lambda a: jax.jvp(f, (a,), (E,))[1]))(A)
    assert_close(jnp.sum(hvp * E), expected, 1e-6)


@dini.matrix_function
def host_expm(a):
    host = lambda a: np.asarray(scipy.linalg.expm(np.asarray(a))).astype(a.dtype)
    return jax.pure_callback(
        host, jax.ShapeDtypeStruct(a.shape, a.dtype), a, vmap_method="sequential"
    )


def of_entries(exponential):
    """(3,) and () to (2,), by way of an asymmetric matrix."""
    return lambda x, y: exponential(jnp.array([[x[0], x[1] * y], [x[2], y]]))[:, 1]


@pytest.mark.parametrize(
    "composition",
    [case(c, id=c.__name__, quick=c is first_order) for c in COMPOSITIONS],
)
def test_host_function_composes_with(composition):
    actual, right = (
        jax.jit(lambda f=f: composition(looked(of_entries(f), 2)))() for f in (host_expm, expm)
    )
    for name, value in right.items():
        try:
            assert_close(actual[name], value, 1e-11)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def test_host_is_called_once_for_a_value_and_once_more_for_a_gradient():
    host = Host()
    f = weighed(dini.matrix_function(host))
    jax.block_until_ready(jax.jit(f)(A))
    assert host.calls == 1
    jax.block_until_ready(jax.jit(jax.grad(f))(A))
    assert host.calls <= 3


NESTINGS = {
    "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "forward over reverse": lambda f: jax.jacfwd(jax.jacrev(f)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
    "reverse over reverse": lambda f: jax.jacrev(jax.jacrev(f)),
    "batch": lambda f: lambda a: jax.vmap(jax.hessian(f))(jnp.stack([a, a.T])),
}


# The block matrix is put through all of them by `test_host_function_composes_with`.
@pytest.mark.parametrize(
    ("name", "nesting"),
    [
        *((f, n) for f in ("frechet", "forward") for n in NESTINGS),
        slow("block matrix", "reverse over reverse"),
    ],
)
def test_second_order_agrees_with_jax(name, nesting):
    f, plain = FUNCTIONS[name]
    transform = NESTINGS[nesting]
    actual, expected = jax.jit(lambda a: [transform(weighed(g))(a) for g in (f, plain)])(A)
    assert_close(actual, expected, 1e-11)


@pytest.mark.parametrize("size", [1e-200, 2.0**30, 1e200])
def test_derivative_is_as_good_along_any_length(size):
    """JAX's expm gives NaN for a block of 2³⁰."""
    along = jax.jit(lambda e: jax.jvp(FUNCTIONS["block matrix"][0], (A,), (e,))[1])
    assert_close(along(size * E) / size, along(E), 1e-14)


def test_complex_matrix_follows_the_convention_of_jax():
    a, e = A + 0.2j * E, E + 1j * U
    objective = lambda f: lambda a: jnp.sum(U * f(a)).real

    @jax.jit
    def both(a):
        return [(jax.jvp(f, (a,), (e,))[1], jax.grad(objective(f))(a)) for f in (mine, expm)]

    mine = FUNCTIONS["block matrix"][0]
    assert_close(*both(a), 1e-11)


def test_leading_axes_are_a_batch():
    f = FUNCTIONS["frechet"][0]
    stack = jnp.stack([A, A.T + 0.1])
    gradient = jax.grad(lambda a: jnp.sum(f(a) ** 2))
    assert_close(gradient(stack), jax.vmap(gradient)(stack), 1e-12)


def test_frechet_derivative_is_used():
    f = dini.matrix_function(expm, frechet=lambda a, e: 2 * e)
    assert_close(jax.jvp(f, (A,), (E,))[1], 2 * E)
    assert_close(jax.grad(weighed(f))(A), 2 * U)


@pytest.mark.parametrize("bad", [jnp.ones(3), jnp.ones((2, 3))])
def test_matrix_that_is_not_square_is_refused(bad):
    with pytest.raises(TypeError, match="square"):
        FUNCTIONS["block matrix"][0](bad)


def test_result_of_another_shape_is_refused():
    with pytest.raises(TypeError, match="keep the shape"):
        dini.matrix_function(jnp.trace)(A)
