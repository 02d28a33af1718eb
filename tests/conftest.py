"""What all tests share: double precision, and no scheduler that can lose a task."""

import importlib.metadata
import os

import jax

jax.config.update("jax_enable_x64", True)

# jaxlib 0.10 can wait for ever for a batch of solves on two cores (docs/api/linalg.md).
if importlib.metadata.version("jaxlib").startswith("0.10."):
    flag = "--xla_cpu_enable_concurrency_optimized_scheduler=false"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
