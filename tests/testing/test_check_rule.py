"""What `check_rule` takes and returns, what it says, and where it comes to no conclusion."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from dini.testing import RuleError, Verdict, check_rule

X = jnp.array([0.3, -0.2, 0.9])
brief = functools.partial(check_rule, order=1, transforms=("jit",))


@jax.custom_jvp
def twice(p):
    """Twice the derivative that it should have, in a["k"][1] alone."""
    return jnp.sum(jnp.sin(p["k"])) * p["s"]


@twice.defjvp
def _(primals, tangents):
    (p,), (v,) = primals, tangents
    weight = jnp.array([1.0, 2.0, 1.0])
    slope = jnp.sum(weight * jnp.cos(p["k"]) * v["k"]) * p["s"]
    return twice(p), slope + jnp.sum(jnp.sin(p["k"])) * v["s"]


POINT = {"k": X, "s": 1.5}


def test_failure_tells_leaf_index_numbers_ratio_and_seed():
    with pytest.raises(RuleError) as caught:
        brief(twice, POINT, seed=3)
    report = caught.value.report
    finding = next(f for f in report.findings if f.verdict is Verdict.FAIL)
    right = np.cos(-0.2) * 1.5
    assert (finding.check, finding.transform) == ("jvp", "forward")
    assert finding.path == "p['k'][1] → out"
    assert finding.expected is not None
    assert finding.error is not None
    assert finding.ratio is not None
    assert finding.got == pytest.approx(2 * right, rel=1e-12)
    assert abs(finding.expected - right) <= 4 * finding.error < 1e-9
    assert finding.seed == 3
    assert 1 < finding.ratio < 2
    assert "1 of the 3 numbers looked at are wrong" in finding.reason
    for part in ("check_rule of `twice`: fail", "p['k'][1]", "expected 1.47", "±", "seed 3"):
        assert part in str(caught.value)


def test_report_is_returned_without_throw():
    report = brief(twice, POINT, throw=False)
    assert report.verdict is Verdict.FAIL
    assert report.verdict == "fail"
    assert report.name == "twice"
    assert all(f.verdict is Verdict.PASS for f in report.findings if f.check == "value")


def test_error_is_an_assertion_error():
    assert issubclass(RuleError, AssertionError)


def test_pass_lists_every_check():
    report = check_rule(
        lambda x, y: {"a": jnp.sin(x) * y, "b": x + y},
        X,
        2.0,
        transforms=("jit", "vmap", "scan", "checkpoint"),
    )
    checks = {f.check for f in report.findings}
    assert checks == {
        "value", "types", "linear", "jvp", "vjp", "second order",
        "zeros", "jit", "vmap", "scan", "checkpoint",
    }  # fmt: skip
    assert report.verdict == "pass"
    assert report.reason == ""
    assert str(report).startswith("check_rule of `<lambda>`: pass")


def test_four_nestings_of_second_order_are_looked_at():
    report = check_rule(jnp.sin, 0.3, transforms=("jit",))
    nestings = {f.transform for f in report.findings if f.check == "second order"}
    modes = ("forward", "reverse")
    assert nestings == {f"{outer} over {inner}" for outer in modes for inner in modes}


@pytest.mark.slow
def test_third_order_finds_what_second_order_does_not():
    @jax.custom_jvp
    def f(x):
        return jnp.sin(x)

    @f.defjvp
    def _(primals, tangents):
        (x,), (v,) = primals, tangents
        frozen = jax.lax.stop_gradient(x)
        return f(x), (jnp.cos(frozen) - jnp.sin(frozen) * (x - frozen)) * v

    assert check_rule(f, 0.4, order=2).verdict == "pass"
    report = check_rule(f, 0.4, order=3, throw=False)
    assert {f.check for f in report.findings if f.verdict == "fail"} == {"third order"}


def test_keyword_arguments_are_differentiated_by_name():
    def f(x, *, scale):
        return jax.lax.stop_gradient(scale) * x

    report = brief(f, X, kwargs={"scale": 2.0}, throw=False)
    finding = next(f for f in report.findings if f.verdict == "fail")
    assert finding.path == "scale → out[0]"
    assert "zero: is `scale` dropped?" in finding.reason


def test_static_and_integer_arguments_reach_the_function_unchanged():
    def f(x, n, name, flags, index):
        assert isinstance(n, int)
        assert name == "sin"
        return jnp.sin(x[index]) ** n * jnp.where(flags, 2.0, 1.0)

    report = brief(f, X, 2, "sin", np.array([True, False]), jnp.array([2, 0]))
    assert {f.transform for f in report.findings if f.check == "types"} >= {
        "float0 (fwd)",
        "float0 (rev)",
    }


def test_integer_results_stand_beside_the_floats():
    assert brief(lambda x: (jnp.argmax(x), jnp.max(x)), X).verdict == "pass"


def test_rule_that_chokes_on_integer_arrays_is_found():
    @jax.custom_jvp
    def f(x, k):
        return x * k

    @f.defjvp
    def _(primals, tangents):
        (x, k), (v, w) = primals, tangents
        return x * k, v * k + (0 * w if isinstance(w, jax.Array) else jnp.asarray(w) * 0)

    report = brief(f, X, jnp.array([1, 2, 3]), throw=False)
    assert "float0" in report.reason


def test_missing_mode_is_a_failure_with_its_cause():
    @jax.custom_vjp
    def f(x):
        return jnp.sin(x)

    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, ct: (jnp.cos(x) * ct,))
    with pytest.raises(RuleError, match="forward-mode") as caught:
        brief(f, X)
    assert isinstance(caught.value.__cause__, TypeError)
    assert brief(f, X, modes=("rev",)).verdict == "pass"


def test_kink_is_inconclusive_and_says_why():
    report = brief(jnp.abs, 0.0)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "kink" in report.reason


def test_value_that_is_not_finite_is_inconclusive():
    report = brief(jnp.log, -1.0)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "not finite" in report.reason


def test_noise_is_inconclusive():
    assert brief(lambda x: x + 1e-3 * jnp.sin(1e16 * x), 0.7).verdict is Verdict.INCONCLUSIVE


def test_rounding_that_the_function_amplifies_is_no_failure():
    left, _, right = np.linalg.svd(np.random.default_rng(5).normal(size=(5, 5)))
    ill = jnp.asarray(left @ np.diag(np.logspace(0, -10, 5)) @ right)
    f = lambda a: jnp.sin(1e-6 * jnp.sum(jnp.linalg.inv(a)))
    assert brief(f, ill, throw=False).verdict is not Verdict.FAIL


@pytest.mark.parametrize("n", [5, 9, 17, 19])
def test_what_is_left_of_a_tangent_that_cancels_need_not_be_linear(n):
    f = lambda x, n: x * (n / 70) - (x * (n / 7)) * 0.1
    report = brief(f, 0.6, jnp.asarray(n), transforms=(), throw=False)
    assert {found.verdict for found in report.findings if found.check == "linear"} == {"pass"}


def test_nan_derivative_of_a_finite_value_fails():
    report = brief(lambda x: jnp.where(x > 1, jnp.sqrt(x - 1), x), 0.7, throw=False)
    finding = next(f for f in report.findings if f.verdict == "fail")
    assert finding.transform == "reverse"
    assert "NaN" in finding.reason


def test_tolerance_lets_a_known_error_pass():
    @jax.custom_jvp
    def f(x):
        return jnp.sin(x)

    f.defjvp(lambda p, t: (f(*p), (1 + 1e-6) * jnp.cos(*p) * t[0]))
    assert brief(f, 0.3, throw=False).verdict == "fail"
    assert brief(f, 0.3, rtol=1e-5).verdict == "pass"


def test_complex_steps_see_a_smaller_mistake():
    @jax.custom_jvp
    def f(x):
        return jnp.exp(jnp.sin(x))

    f.defjvp(lambda p, t: (f(*p), (1 + 3e-13) * f(*p) * jnp.cos(*p) * t[0]))
    assert brief(f, 0.3, analytic=True, throw=False).verdict == "fail"


def test_host_calls_are_counted():
    calls = []

    def host(x):
        calls.append(1)
        return np.sin(np.asarray(x))

    def on_host(x):
        like = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(host, like, x, vmap_method="sequential")

    def function(rule):
        @dini.custom_rule
        def f(x):
            return on_host(x)

        f.defvjp(rule)
        return f

    once = function(lambda out, primals, ct: (jnp.cos(*primals) * ct,))
    twice = function(lambda out, primals, ct: (on_host(primals[0] + jnp.pi / 2) * ct,))
    assert brief(once, X, host_calls=lambda: len(calls)).verdict == "pass"
    report = brief(twice, X, host_calls=lambda: len(calls), throw=False)
    assert {f.check for f in report.findings if f.verdict == "fail"} == {"host calls"}
    assert "2 times, the value 1 times" in report.reason


def test_function_that_reads_its_numbers_is_checked_without_compiling():
    @jax.custom_jvp
    def f(x):
        return jnp.asarray(np.sin(np.asarray(x)))

    f.defjvp(lambda p, t: (f(*p), jnp.cos(*p) * t[0]))
    options = {"modes": ("fwd",), "transforms": (), "compiled": False}
    assert check_rule(f, 0.3, order=1, **options).verdict == "pass"


def test_several_seeds_share_programs():
    traces = []

    def f(x):
        traces.append(1)
        return jnp.sin(x)

    brief(f, X)
    once = len(traces)
    brief(f, X, seed=range(3))
    assert len(traces) < 2 * once + 3 * once // 2


def test_reports_are_reproducible():
    first, second = (str(brief(twice, POINT, throw=False, seed=7)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": 0}, "order"),
        ({"modes": ("forward",)}, "modes"),
        ({"modes": "fwd"}, "modes"),
        ({"modes": ()}, "modes"),
        ({"transforms": ("pmap",)}, "transforms"),
    ],
)
def test_options_that_are_none_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        check_rule(jnp.sin, 1.0, **options)


@pytest.mark.parametrize(
    ("f", "x", "words"),
    [
        (jnp.sin, 1, "takes no"),
        (lambda x: 3, 1.0, "returns no"),
        (jnp.sin, np.zeros(0), "takes no"),
    ],
)
def test_functions_of_no_floats_are_refused(f, x, words):
    with pytest.raises(TypeError, match=words):
        check_rule(f, x)


def test_report_tells_how_well_differences_knew_the_derivative():
    report = brief(jnp.sin, 0.3)
    bars = [f.error for f in report.findings if f.check == "jvp"]
    assert 0 < max(bars) < 1e-9
    assert "jvp (± " in str(report)


def test_exception_of_the_function_itself_passes_through():
    def f(_):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        check_rule(f, 1.0)
