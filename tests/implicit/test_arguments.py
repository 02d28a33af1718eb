"""What may be passed: leaves of every kind, methods, closures, dtypes; and what is refused."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
import pytest

import dini
from tests.support.compare import assert_close
from tests.support.marks import slow


def square(z, a):
    return z**2 - a


root = dini.implicit_root(square)
foreign = functools.partial(dini.custom_root, square)
ROOT2 = np.sqrt(2.0)

# --- Leaves --------------------------------------------------------------------------------------


def check_leaves(n, flag, name, nothing, function, whole, key):
    assert (n, flag, name, nothing, function) == (2, True, "x", None, jnp.sin)
    assert type(n) is int
    assert type(flag) is bool
    assert whole.dtype == jnp.int32
    assert jnp.issubdtype(key.dtype, jax.dtypes.prng_key)


def many(z, a, *leaves):
    check_leaves(*leaves)
    return z ** leaves[0] - a


@pytest.mark.parametrize("decorator", ["implicit", "custom"])
def test_leaves_that_are_not_differentiated_arrive_unchanged(decorator):
    def solver(z, a, *leaves):
        check_leaves(*leaves)
        return jax.lax.stop_gradient(jnp.sqrt(a)) + 0 * z

    f = dini.implicit_root(many) if decorator == "implicit" else dini.custom_root(many)(solver)
    leaves = 2, True, "x", None, jnp.sin, jnp.arange(3, dtype=jnp.int32), jax.random.key(0)
    value, slope = jax.value_and_grad(f, 1)(1.0, 2.0, *leaves)
    assert_close((value, slope), (ROOT2, 0.5 / ROOT2))


def test_integer_arrays_and_keys_may_be_mapped_and_traced():
    f = dini.custom_root(lambda z, a, i, key: z - a[i] * (1 + 0 * jax.random.normal(key)))(
        lambda z, a, i, key: jax.lax.stop_gradient(a[i])
    )
    a, i = jnp.array([3.0, 5.0, 7.0]), jnp.array([2, 0])
    keys = jax.random.split(jax.random.key(0), 2)
    slopes = jax.jit(jax.vmap(jax.grad(f, 1), (None, None, 0, 0)))(0.0, a, i, keys)
    assert_close(slopes, np.eye(3)[np.array([2, 0])])


def test_equal_values_of_different_types_are_told_apart():
    f = dini.implicit_root(lambda z, n: z - (2.0 if isinstance(n, bool) else 4.0))
    assert (f(0.0, 1), f(0.0, True)) == (4.0, 2.0)


def test_bound_method_among_the_arguments_sees_new_attributes():
    class Box:
        rate = 0.5

        def g(self, z):
            return self.rate * z + 1

    f = dini.implicit_fixed_point(lambda z, g: g(z))
    box = Box()
    assert_close(f(0.0, box.g), 2.0)
    box.rate = 0.2
    assert_close(f(0.0, box.g), 1.25)
    assert_close(f(0.0, functools.partial(box.g)), 1.25)


def test_one_tag_may_be_given_without_a_set():
    f = dini.implicit_root(lambda z, a: jnp.array([2.0, 3.0]) * z - a, tags=lx.diagonal_tag)
    assert_close(f(jnp.zeros(2), 6.0), jnp.array([3.0, 2.0]))


def test_keywords_reach_the_function():
    f = dini.implicit_root(lambda z, *, a, n=3: z**n - a)
    assert_close(f(1.0, a=8.0), 2.0)
    assert_close(jax.grad(lambda a: f(1.0, a=a, n=2))(2.0), 0.5 / ROOT2)


def test_guess_may_be_given_by_keyword():
    assert_close(root(z=1.0, a=2.0), ROOT2)
    g = foreign()(lambda init, a: jnp.sqrt(a) + 0 * init)
    assert_close(g(init=1.0, a=2.0), ROOT2)


@pytest.mark.parametrize("guess", [1, True, np.int64(1), jnp.array([1, 2]), 1.0, np.float64(1.0)])
def test_whole_and_weak_guesses_become_floats(guess):
    z = root(guess, 2.0)
    assert z.dtype == jnp.float64
    assert_close(z, np.full(np.shape(guess), ROOT2))


def test_guess_without_a_dtype_of_its_own_takes_that_of_the_map():
    f = dini.implicit_fixed_point(lambda z, a: (0.5 * jnp.cos(z) + a).astype(jnp.float32))
    z = f(0, 0.1)
    assert z.dtype == jnp.float32


# --- Methods -------------------------------------------------------------------------------------


class Curve(eqx.Module):
    scale: jax.Array
    power: int = 2

    @dini.implicit_root
    def root(self, z, a):
        return self.scale * z**self.power - a

    def residual(self, z, a):
        return self.scale * z**self.power - a

    @dini.custom_root(residual)
    def found(self, z, a):
        return jax.lax.stop_gradient(jnp.sqrt(a / self.scale)) + 0 * z


@pytest.mark.parametrize("name", ["root", "found"])
def test_method_of_a_module_is_differentiated_in_self(name):
    gradient = eqx.filter_grad(lambda c: getattr(c, name)(1.0, 2.0))(Curve(jnp.asarray(3.0)))
    assert_close(gradient.scale, -0.5 * np.sqrt(2.0) * 3.0**-1.5)
    assert gradient.power is None


def test_method_of_a_plain_class_sees_new_attributes():
    class Plain:
        def __init__(self):
            self.scale = jnp.asarray(1.0)

        @dini.implicit_root
        def root(self, z, a):
            return self.scale * z**2 - a

    plain = Plain()
    assert_close(plain.root(1.0, 2.0), ROOT2)
    plain.scale = jnp.asarray(2.0)
    assert_close(plain.root(1.0, 2.0), 1.0)


# --- Closures ------------------------------------------------------------------------------------


def closing(b):
    """sqrt(2 b), b captured."""
    return dini.implicit_root(lambda z, a: z**2 - a * b)(1.0, 2.0)


def closing_solver(b):
    """sqrt(2 b), b captured by residual and solver."""

    @dini.custom_root(lambda z, a: z**2 - a * b)
    def f(z, a):
        return jnp.round(jnp.sqrt(a * b), 14) + 0 * z

    return f(1.0, 2.0)


@pytest.mark.parametrize("f", [slow(closing), closing_solver])
def test_captured_tracers_are_differentiated(f):
    b = 1.3
    slope, curve = np.sqrt(2) / 2 * b**-0.5, -np.sqrt(2) / 4 * b**-1.5
    assert_close(jax.grad(f)(b), slope)
    together = jax.jit(lambda b: (jax.jacfwd(f)(b), jax.hessian(f)(b), jax.vmap(f)(b[None])))
    assert_close(together(jnp.asarray(b)), (slope, curve, np.sqrt([2 * b])))


def test_captured_carry_of_a_scan_is_differentiated():
    """z ← sqrt(b x z), which is explicit."""

    def implicit(z, x, b):
        return dini.custom_root(lambda y, x: y**2 - b * x * z)(
            lambda y, x: jax.lax.stop_gradient(jnp.sqrt(b * x * z)) + 0 * y
        )(1.0, x)

    def explicit(z, x, b):
        return jnp.sqrt(b * x * z)

    def total(step, b):
        def body(z, x):
            z = step(z, x, b)
            return z, z

        return jax.lax.scan(body, b, jnp.arange(1.0, 4.0))[1].sum()

    run = jax.jit(jax.value_and_grad(total, 1), static_argnums=0)
    assert_close(run(implicit, 1.3), run(explicit, 1.3))


def test_captured_arrays_are_constants():
    weights = jnp.array([1.0, 4.0])
    assert_close(
        dini.implicit_root(lambda z, a: z**2 - weights * a)(jnp.ones(2), 2.0),
        ROOT2 * np.array([1, 2]),
    )


@pytest.mark.parametrize("throw", [True, False])
def test_solution_that_is_the_same_in_all_lanes_has_a_tangent_in_each(throw):
    """a z = b: the solver returns 3 whatever a is, and ∂z = (∂b − 3 ∂a)/a."""
    solve = dini.custom_root(lambda z, a, b: a * z - b, throw=throw)(
        lambda z, a, b: jnp.array([3.0])
    )
    a = jnp.array([0.5, 0.7])
    lanes = jax.vmap(lambda a, b: solve(None, a, b)[0])
    assert_close(jax.grad(lambda a: lanes(a, 3 * a).sum())(a), jnp.zeros(2), 1e-15)
    assert_close(jax.grad(lambda b: lanes(a, b).sum())(3 * a), 1 / a, 1e-15)
    assert_close(jax.jacfwd(lanes)(a, 3 * a), -3 * jnp.diag(1 / a), 1e-15)


# --- Dtypes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.complex64, jnp.complex128])
def test_unknown_keeps_its_dtype(dtype):
    f = dini.custom_root(square)(lambda z, a: jnp.sqrt(a).astype(z.dtype))
    a = jnp.asarray(2.0, dtype)
    value, tangent = jax.jvp(lambda a: f(jnp.ones((), dtype), a), (a,), (a,))
    assert value.dtype == tangent.dtype == dtype
    eps = float(jnp.finfo(dtype).eps)
    assert abs(complex(value) - ROOT2) < 4 * eps
    assert abs(complex(tangent) - ROOT2 / 2) < 4 * eps


def test_float32_unknown_with_float64_argument():
    z = root(jnp.float32(1), jnp.float64(2))
    assert z.dtype == jnp.float32
    slope = jax.grad(root, 1)(jnp.float32(1), jnp.float64(2))
    assert slope.dtype == jnp.float64
    assert_close(slope, 0.5 / ROOT2, 1e-6)


def test_mixed_dtypes_are_kept():
    def residual(z, a):
        return {"x": z["x"] ** 2 - a.astype(jnp.float32), "y": z["y"] * z["x"] - a}

    f = dini.implicit_root(residual)
    guess = {"x": jnp.float32(1), "y": jnp.ones(2)}

    @jax.jit
    def program(a):
        return f(guess, a), jax.jacrev(f, 1)(guess, a)

    z, jacobian = program(jnp.asarray(2.0))
    assert {k: v.dtype for k, v in z.items()} == {"x": jnp.float32, "y": jnp.float64}
    assert_close(z, {"x": ROOT2, "y": np.full(2, ROOT2)}, 1e-7)
    assert_close(jacobian, {"x": 0.5 / ROOT2, "y": np.full(2, 0.5 / ROOT2)}, 1e-6)


def test_complex_root_by_a_residual_that_is_not_holomorphic():
    """z + z̄/2 = a: 1.5 Re z = Re a and 0.5 Im z = Im a."""
    f = dini.implicit_root(lambda z, a: z + 0.5 * jnp.conj(z) - a)
    a, direction = jnp.asarray(3.0 + 2.0j), jnp.asarray(0.3 - 0.7j)
    value, tangent = jax.jvp(lambda a: f(0j, a), (a,), (direction,))
    assert_close((value, tangent), (2.0 + 4.0j, 0.2 - 1.4j))


# --- has_aux -------------------------------------------------------------------------------------


def test_aux_of_an_equation_is_taken_at_the_solution():
    f = dini.implicit_root(lambda z, a: (z**2 - a, {"cube": z**3, "name": "x"}), has_aux=True)
    assert_close(f(1.0, 2.0), ROOT2)
    solution = f.solve(1.0, 2.0)
    assert solution.aux["name"] == "x"
    assert_close(solution.aux["cube"], ROOT2**3)
    assert_close(jax.grad(lambda a: f.solve(1.0, a).aux["cube"])(2.0), 1.5 * ROOT2)


def test_aux_of_a_solver_is_returned_by_the_call():
    @foreign(has_aux=True)
    def f(z, a):
        return jnp.sqrt(a) + 0 * z, {"steps": jnp.asarray(7), "ok": True}

    z, aux = f(1.0, 2.0)
    assert_close(z, ROOT2)
    assert (int(aux["steps"]), bool(aux["ok"])) == (7, True)
    slope, _ = jax.jit(jax.grad(lambda a: (f(1.0, a)[0], 0), has_aux=True))(2.0)
    assert_close(slope, 0.5 / ROOT2)


# --- One direction only --------------------------------------------------------------------------


@jax.custom_vjp
def reverse_only(x):
    return x**2


reverse_only.defvjp(lambda x: (x**2, x), lambda x, ct: (2 * x * ct,))


def forward_only(x):
    """x², by a loop that JAX does not transpose."""
    start = (jnp.ones_like(x), 0)
    return jax.lax.while_loop(lambda c: c[1] < 2, lambda c: (c[0] * x, c[1] + 1), start)[0]


def test_reverse_only_residual_has_both_modes():
    f = dini.custom_root(lambda z, a: reverse_only(z) - a)(
        lambda z, a: jax.lax.stop_gradient(jnp.sqrt(a)) + 0 * z
    )
    slope = 0.5 / ROOT2
    assert_close((jax.grad(f, 1)(1.0, 2.0), jax.jacfwd(f, 1)(1.0, 2.0)), (slope, slope))


def test_residual_that_is_forward_only_in_z_has_both_modes():
    """Where ∂zF is formed as a matrix, a forward mode is enough."""
    f = dini.custom_root(lambda z, a: forward_only(z) - a)(
        lambda z, a: jax.lax.stop_gradient(jnp.sqrt(a)) + 0 * z
    )
    slope = 0.5 / ROOT2
    assert_close((jax.grad(f, 1)(1.0, 2.0), jax.jacfwd(f, 1)(1.0, 2.0)), (slope, slope))


@pytest.mark.parametrize(
    ("residual", "solver"),
    [
        (lambda z, a: z**2 - forward_only(a), "auto"),
        (lambda z, a: forward_only(z) - a**2, lx.GMRES(1e-12, 1e-12)),
    ],
    ids=["in the argument", "in z, without a matrix"],
)
def test_forward_only_residual_works_forward_and_says_so(residual, solver):
    f = dini.custom_root(residual, linear_solver=solver)(
        lambda z, a: jax.lax.stop_gradient(a) + 0 * z
    )
    assert_close(jax.jit(jax.jacfwd(f, 1))(1.0, 2.0), 1.0)
    with pytest.raises(TypeError, match="no reverse mode"):
        jax.grad(f, 1)(1.0, 2.0)


def test_residual_without_any_derivative_is_refused():
    f = dini.custom_root(lambda z, a: jax.pure_callback(np.square, z, z) - a)(lambda z, a: z)
    with pytest.raises((TypeError, ValueError)):
        f(1.0, 1.0)


# --- Refusals ------------------------------------------------------------------------------------

ONES = jnp.ones(2)
REFUSED = {
    "map of another shape": (
        lambda: dini.implicit_fixed_point(lambda z, a: z[0] * a)(ONES, 2.0),
        r"float64\[2\].*float64\[\]",
    ),
    "map of another dtype": (
        lambda: dini.implicit_fixed_point(lambda z, a: z * a)(jnp.float32(1), jnp.float64(2)),
        r"float32\[\].*float64\[\]",
    ),
    "map of another structure": (
        lambda: dini.implicit_fixed_point(lambda z, a: {"z": z})(1.0, 2.0),
        "structure",
    ),
    "too many equations": (
        lambda: dini.implicit_root(lambda z, a: jnp.stack([z, z]))(1.0, 2.0),
        "2 equations for 1 unknown",
    ),
    "objective that is a vector": (
        lambda: dini.implicit_minimum(lambda z, a: (z - a) ** 2)(ONES, 2.0),
        r"one real number.*float64\[2\]",
    ),
    "objective that is complex": (
        lambda: dini.implicit_minimum(lambda z, a: (z - a) * 1j)(1.0, 2.0),
        "one real number",
    ),
    "nothing unknown": (lambda: root(jnp.zeros(0), 2.0), "nothing to differentiate"),
    "solver of integers": (lambda: foreign()(lambda z, a: 3)(1.0, 9.0), "nothing to differentiate"),
    "unknown option": (lambda: dini.implicit_root(sovler=1)(square), "no option 'sovler'.*solver"),
    "option of another decorator": (lambda: root.with_options(rtol=1e-3), "no option 'rtol'"),
    "solver for another kind": (
        lambda: dini.implicit_minimum(lambda z, a: (z - a) ** 2, solver=optx.Newton(1e-8, 1e-8))(
            1.0, 2.0
        ),
        "Newton is no solver for this kind",
    ),
    "solver that is none": (
        lambda: dini.implicit_root(square, solver="newton")(1.0, 2.0),
        "newton",
    ),
    "decorating a number": (lambda: dini.implicit_root(3), "was given 3"),
    "equation that is a number": (lambda: dini.custom_root(3), "was given 3"),
    "solver that is a number": (lambda: dini.custom_root(square)(3), "was given 3"),
    "no guess": (root, "guess"),
    "adjoint that is none": (lambda: dini.implicit_root(square, adjoint="lu")(1.0, 2.0), "adjoint"),
    "has_aux without a pair": (
        lambda: dini.implicit_root(square, has_aux=True)(1.0, 2.0),
        "must return a pair",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_misuse_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(TypeError, match=message):
        call()


def test_two_linear_solvers_are_refused():
    with pytest.raises(ValueError, match="belong to the adjoint"):
        dini.implicit_root(square, linear_solver=lx.LU(), adjoint=dini.Implicit())
    with pytest.raises(ValueError, match="linear_solver must be"):
        dini.implicit_root(square, linear_solver="lu")(1.0, 2.0)
