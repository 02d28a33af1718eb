"""Python in a process of its own."""

import os
import pathlib
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).parents[2]
# Options and coverage asked for here are not the other process's.
OURS = ("PYTEST", "COV")


def python(*arguments, cwd=ROOT, timeout=None, **environment):
    """The process, ended, with its output as text."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        timeout=timeout,
        env=outside | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def output(code, **options):
    """The standard output of a program that must succeed."""
    done = python("-c", textwrap.dedent(code), **options)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
