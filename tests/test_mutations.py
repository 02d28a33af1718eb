"""Each part of the rule is needed: with the part broken, the test that guards it fails."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]
IMPLICIT = "tests/implicit/test_"

# What is broken, in which file, old text, new text, and the test that must notice.
MUTATIONS = {
    "sign flipped": (
        "implicit/_theorem.py",
        "_marked(-pushforward(inputs_dot)",
        "_marked(pushforward(inputs_dot)",
        f"{IMPLICIT}arguments.py::test_captured_carry_of_a_scan_is_differentiated",
    ),
    "rule not recursive": (
        "implicit/_theorem.py",
        "    view = RealView(z)\n    pushforward",
        "    z = jax.lax.stop_gradient(z)\n    view = RealView(z)\n    pushforward",
        f"{IMPLICIT}arguments.py::test_captured_tracers_are_differentiated",
    ),
    "failure not marked": (
        "implicit/_theorem.py",
        "_marked(-pushforward(inputs_dot), inputs_dot, failed)",
        "-pushforward(inputs_dot)",
        f"{IMPLICIT}throw.py::test_derivative_at_a_failure_is_never_zero",
    ),
    "adjoint solve not transposed": (
        "linear/_system.py",
        "            factors, options = solver.transpose(factors, options)",
        "            pass",
        "tests/linear/test_system.py::test_inverse_is_linear_and_transposable[auto]",
    ),
    "preconditioner not transposed": (
        "linear/_system.py",
        "p.transpose() if transpose else p",
        "p",
        f"{IMPLICIT}adjoints.py::test_preconditioner_is_used_and_transposed_for_the_adjoint[operator]",
    ),
    "linear residual not checked": (
        "linear/_system.py",
        "        solved = idle | solved\n",
        "        solved = jnp.asarray(True)\n",
        f"{IMPLICIT}traps_conditioning.py::test_normal_equations_at_condition_1e4_are_never_silently_off",
    ),
    "right-hand side not scaled": (
        "linear/_system.py",
        "size = max_abs(b)\n",
        "size = jnp.where(max_abs(b) > 0, 1 + 0 * max_abs(b), 0)\n",
        f"{IMPLICIT}throw.py::test_tiny_and_huge_cotangents_are_exact",
    ),
    "failure of the primal dropped": (
        "implicit/_solve.py",
        'failed = extra["result"] != optx.RESULTS.successful',
        'failed = extra["result"] != extra["result"]',
        f"{IMPLICIT}throw.py::test_failed_lane_is_nan_and_the_others_are_exact",
    ),
    "runaway check dropped": (
        "implicit/_accept.py",
        "near = near & solved & ~runs_away",
        "near = near & solved",
        f"{IMPLICIT}traps_runaway.py::test_foreign_solver_that_ran_away_is_refused",
    ),
    "real and imaginary parts exchanged": (
        "_tree.py",
        "return x.real.astype(self.dtype), x.imag.astype(self.dtype)",
        "return x.imag.astype(self.dtype), x.real.astype(self.dtype)",
        "tests/test_tree.py::test_ravel_and_unravel_are_inverse_and_keep_dtypes",
    ),
}


def run_test(source, test):
    """The exit code of pytest on one test, with the package at `source`."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-m", "", "-p", "no:cacheprovider", test],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_noticed(name, tmp_path):
    file, old, new, test = MUTATIONS[name]
    shutil.copytree(ROOT / "src" / "dini", tmp_path / "dini")
    path = tmp_path / "dini" / file
    text = path.read_text()
    assert text.count(old) == 1, f"{file} has {text.count(old)} places for this mutation"
    path.write_text(text.replace(old, new))
    done = run_test(tmp_path, test)
    assert done.returncode == 1, done.stdout[-2000:]
    assert "1 failed" in done.stdout
