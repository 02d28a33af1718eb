"""What all tests share: precision, threads, a scheduler that loses no task, room for programs."""

import gc
import importlib.metadata
import os
import zlib
from pathlib import Path

import jax
import scipy.linalg  # noqa: F401  loads the library that JAX's linear algebra calls too
import threadpoolctl

jax.config.update("jax_enable_x64", True)

# One worker of pytest-xdist a core: where LAPACK starts threads too, they wait for one another.
threadpoolctl.threadpool_limits(1)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of processes that tests start

# jaxlib 0.10 can wait for ever for a batch of solves on two cores (docs/api/linalg.md).
if importlib.metadata.version("jaxlib").startswith("0.10."):
    flag = "--xla_cpu_enable_concurrency_optimized_scheduler=false"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"


def pytest_addoption(parser):
    parser.addoption("--part", help="K/N: the tests of the K-th of N parts, told by their names")


def pytest_collection_modifyitems(config, items):
    if part := config.getoption("--part"):
        which, count = map(int, part.split("/"))
        inside = lambda item: zlib.crc32(item.nodeid.encode()) % count == which - 1
        config.hook.pytest_deselected(items=[item for item in items if not inside(item)])
        items[:] = filter(inside, items)


# JAX keeps every program that it compiled, and each takes dozens of the 65530 maps of memory
# that Linux allows a process. Where none is left XLA crashes: half an hour of tests can do it.
_MAPS = Path("/proc/self/maps")
_MOST_MAPS = 20_000


def pytest_runtest_teardown():
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MOST_MAPS:
        jax.clear_caches()
        gc.collect()
