"""The fixture, as pytest finds it in a project of its own."""

import pytest

from tests.support.processes import python

pytest.importorskip("xdist")

PROJECT = """
import jax
import jax.numpy as jnp

def test_right(check_rule):
    assert check_rule(jnp.sin, 1.0, order=1, transforms=()).verdict == "pass"

def test_undecided(check_rule):
    assert check_rule(jnp.abs, 0.0, order=1, transforms=()).verdict == "inconclusive"

@jax.custom_jvp
def minus(x):
    return jnp.sin(x)

minus.defjvp(lambda p, t: (minus(*p), -jnp.cos(*p) * t[0]))

def test_wrong(check_rule):
    check_rule(minus, 1.0, order=1, transforms=())
"""

LATE = """
import sys

def test_jax_is_not_imported_by_the_plugin():
    assert "pytest_dini" in sys.modules
    assert "jax" not in sys.modules
"""


def run(folder, text, *options):
    (folder / "test_project.py").write_text(text, encoding="utf-8")
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", *options, cwd=folder)
    return done.returncode, done.stdout


def test_fixture_checks_reports_and_fails(tmp_path):
    code, out = run(tmp_path, PROJECT, "-n", "1")
    assert code == 1
    assert "1 failed, 2 passed" in out
    assert "the sign?" in out
    assert "inconclusive: test_project.py::test_undecided" in out
    assert "kink" in out


def test_plugin_does_not_import_jax(tmp_path):
    code, out = run(tmp_path, LATE)
    assert code == 0, out
