"""throw=True raises everywhere; throw=False calls nobody back and gives NaN, lane by lane."""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import dini
from tests.support.compare import assert_close
from tests.support.marks import slow
from tests.support.outcome import assert_nan, assert_raises_everywhere, compiled, mapped
from tests.support.processes import output

MESSAGE = "not solved|does not solve|singular|not finite"


def square(z, a):
    return z**2 - a


def known_square_root(z, a):
    """Returns its argument's root, or 0 where there is none."""
    return jax.lax.stop_gradient(jnp.sqrt(jnp.maximum(a, 0)) + 0 * z)


lenient = dini.custom_root(square, throw=False)(known_square_root)
strict = dini.custom_root(square)(known_square_root)
LANES = jnp.array([-1.0, 1.0, 4.0])


# --- throw=True ----------------------------------------------------------------------------------


def affine(z, a):
    return 2 * z + a


@pytest.mark.parametrize(
    "solution",
    [
        slow(lambda a: dini.implicit_root(square)(1.0, a - 3.0)),
        # Its derivative depends on nothing: dead code, if the failure stood beside it.
        slow(lambda a: dini.implicit_fixed_point(affine, solver=dini.Picard(1e-8, 1e-8))(1.0, a)),
        lambda a: dini.custom_root(lambda z, a: z + a)(lambda z, a: 1.5 - a)(1.0, a),
    ],
    ids=["root", "affine fixed point", "affine foreign root"],
)
def test_failed_solve_raises_everywhere(solution):
    assert_raises_everywhere(solution, jnp.asarray(1.0), MESSAGE)


def test_unused_argument_of_a_failed_solve_raises():
    f = dini.custom_root(lambda z, a, b: z**2 - a)(lambda z, a, b: 0 * z)
    for transform in (jax.jacfwd, jax.jacrev):
        with pytest.raises(Exception, match=MESSAGE):
            jax.block_until_ready(jax.jit(transform(f, 2))(1.0, -1.0, 2.0))


def test_one_failed_lane_raises():
    for f in (jax.vmap(strict, (None, 0)), jax.vmap(jax.grad(strict, 1), (None, 0))):
        with pytest.raises(Exception, match=MESSAGE):
            jax.block_until_ready(jax.jit(f)(1.0, LANES))
        assert np.all(np.isfinite(jax.jit(f)(1.0, LANES[1:])))


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_tangent_and_cotangent_that_are_not_finite_raise(bad):
    for f in (
        lambda t: jax.jvp(lambda a: strict(1.0, a), (2.0,), (t,))[1],
        lambda t: jax.vjp(lambda a: strict(1.0, a), 2.0)[1](t)[0],
    ):
        with pytest.raises(Exception, match="not finite"):
            jax.block_until_ready(jax.jit(f)(bad))


def test_error_is_an_environment_switch():
    """EQX_ON_ERROR=nan turns every raise into NaN."""
    code = """
        import jax, jax.numpy as jnp, dini
        f = dini.implicit_root(lambda z, a: z**2 - a)
        print(f(1.0, -1.0))
        print(jax.jit(jax.grad(f, 1))(1.0, -1.0), jax.jit(jax.jacfwd(f, 1))(1.0, -1.0))
    """
    assert output(code, EQX_ON_ERROR="nan").split() == ["nan"] * 3


# --- throw=False ---------------------------------------------------------------------------------

PROGRAMS = {
    "value": lambda a: lenient(1.0, a),
    "jvp": lambda a: jax.jvp(lambda a: lenient(1.0, a), (a,), (a,)),
    "grad": jax.grad(lambda a: lenient(1.0, a)),
    "hessian": jax.hessian(lambda a: lenient(1.0, a)),
    "vmapped grad": lambda a: jax.vmap(jax.grad(lambda a: lenient(1.0, a)))(jnp.stack([a, a])),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_callback(name):
    lowered = jax.jit(PROGRAMS[name]).lower(2.0).as_text()
    assert "callback" not in lowered
    assert "callback" not in str(jax.make_jaxpr(PROGRAMS[name])(2.0))


def test_callback_is_found_where_there_is_one():
    """That the two tests for callbacks see one."""
    f = lambda a: strict(1.0, a)
    assert "callback" in jax.jit(f).lower(2.0).as_text()
    assert "callback" in str(jax.make_jaxpr(f)(2.0))


@pytest.mark.parametrize("decorator", [dini.implicit_root, dini.implicit_fixed_point])
def test_no_callback_with_our_own_solvers(decorator):
    f = decorator(lambda z, a: 0.3 * jnp.cos(z) + a - z / 2, throw=False)
    text = jax.jit(jax.value_and_grad(f, 1)).lower(1.0, 0.2).as_text()
    assert "callback" not in text


def test_export_round_trip():
    f = jax.jit(jax.value_and_grad(lambda a: lenient(1.0, a)))
    exported = jax.export.export(f)(jax.ShapeDtypeStruct((), jnp.float64))
    value, slope = jax.export.deserialize(exported.serialize()).call(2.0)
    assert_close((value, slope), (np.sqrt(2), np.sqrt(2) / 4))
    assert np.all(np.isnan(exported.call(-1.0)))


@pytest.mark.slow
def test_persistent_cache_holds_the_compiled_program(tmp_path):
    """A second process finds what the first one compiled: nothing in it belongs to a process."""
    code = """
        import jax, dini
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        f = dini.implicit_root(lambda z, a: z**2 - a, throw=False)
        print(jax.jit(jax.grad(f, 1))(1.0, 2.0))
    """
    files = []
    for _ in range(2):
        slope = float(output(code, JAX_COMPILATION_CACHE_DIR=str(tmp_path)))
        np.testing.assert_allclose(slope, np.sqrt(2) / 4, rtol=1e-5)
        files.append({p.name for p in tmp_path.iterdir() if p.name.endswith("-cache")})
    assert files[0]
    assert files[0] == files[1]


def test_shards_over_several_devices():
    code = """
        import jax, jax.numpy as jnp, dini
        from jax.sharding import NamedSharding, PartitionSpec as P
        jax.config.update("jax_enable_x64", True)
        f = dini.implicit_root(lambda z, a: z**2 - a, throw=False)
        automatic = (jax.sharding.AxisType.Auto,)
        mesh = jax.make_mesh((4,), ("lanes",), axis_types=automatic)
        xs = jax.device_put(jnp.arange(8.0) - 1.0, NamedSharding(mesh, P("lanes")))
        out = jax.jit(jax.vmap(jax.value_and_grad(f, 1), (None, 0)))(1.0, xs)
        assert len(out[0].sharding.device_set) == len(out[1].sharding.device_set) == 4
        expected = jnp.sqrt(xs), 0.5 / jnp.sqrt(xs)
        for x, e in zip(out, expected):
            assert jnp.isnan(x[0]) and jnp.allclose(x[2:], e[2:], rtol=1e-12), (x, e)
        print("sharded")
    """
    assert output(code, XLA_FLAGS="--xla_force_host_platform_device_count=4").split() == ["sharded"]


def test_failed_lane_is_nan_and_the_others_are_exact():
    for f in (lenient, dini.implicit_root(square, throw=False)):
        out = mapped(lambda a, f=f: f(1.0, a), LANES)
        assert_nan(jax.tree.map(lambda x: x[0], out))
        expected = mapped(jnp.sqrt, LANES[1:])
        assert_close(jax.tree.map(lambda x: x[1:], out), expected)


def test_failed_affine_equation_has_no_derivative_of_any_order():
    f = dini.implicit_fixed_point(affine, solver=dini.Picard(1e-8, 1e-8), throw=False)
    assert_nan(compiled(lambda a: f(1.0, a), 1.0))
    assert np.isnan(jax.jit(jax.hessian(f, 1))(1.0, 1.0))


def test_derivative_at_a_failure_is_never_zero():
    """Where an argument is masked out, or does not enter at all."""

    def residual(z, a, b, c):
        del c
        return z**2 - a + 0.1 * jnp.where(a > 0, b, 0.0)

    f = dini.custom_root(residual, throw=False)(lambda z, a, b, c: 1 + 0 * z)
    for transform in (jax.jacfwd, jax.jacrev):
        slopes = jax.jit(transform(f, (1, 2, 3)))(1.0, -1.0, 2.0, 3.0)
        assert np.all(np.isnan(slopes))


def test_zero_tangent_at_a_failure_is_nan():
    mapped_ = jax.vmap(lambda a: lenient(1.0, a))
    zeros = jnp.zeros(3)
    tangent = jax.jvp(mapped_, (LANES,), (zeros,))[1]
    cotangent = jax.vjp(mapped_, LANES)[1](zeros)[0]
    for t in (tangent, cotangent):
        np.testing.assert_array_equal(t, [np.nan, 0.0, 0.0])


def test_nan_cotangent_stays_nan():
    mapped_ = jax.vmap(lambda a: lenient(1.0, a))
    bad = jnp.array([1.0, jnp.nan, 1.0])
    for t in (jax.jvp(mapped_, (LANES,), (bad,))[1], jax.vjp(mapped_, LANES)[1](bad)[0]):
        np.testing.assert_allclose(t, [np.nan, np.nan, 0.25], rtol=1e-12)


def test_tiny_and_huge_cotangents_are_exact():
    pull = jax.jit(lambda ct: jax.vjp(lambda a: lenient(1.0, a), 4.0)[1](ct)[0])
    for size in (1e-300, 1e-30, 1e30, 1e300):
        np.testing.assert_allclose(pull(size), 0.25 * size, rtol=1e-13)
    assert pull(0.0) == 0.0


def test_result_tells_which_lane_failed_and_why():
    f = dini.implicit_root(square, solver=optx.Newton(1e-8, 1e-8), max_steps=6, throw=False)
    xs = jnp.array([1.0, 1e12, jnp.nan])
    solution = jax.vmap(lambda a: f.solve(1.0, a))(xs)
    success = solution.result == optx.RESULTS.successful
    np.testing.assert_array_equal(success, [True, False, False])
    np.testing.assert_array_equal(np.isnan(solution.value), [False, True, True])
    assert f.solve(1.0, 1e12).result == optx.RESULTS.nonlinear_max_steps_reached
