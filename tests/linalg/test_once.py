"""What only some matrices of a batch need is computed only if one of them needs it."""

import jax
import jax.numpy as jnp

from dini import linalg


def test_nothing_is_computed_ahead_of_the_loop_that_asks_for_it():
    compiled = jax.jit(linalg.sqrtm).lower(jnp.zeros((4, 3, 3))).compile().as_text()
    rest, entry = compiled.rsplit("\nENTRY", 1)
    assert "syevd" in rest  # for semi-definite matrices, which the iteration does not serve
    assert "syevd" not in entry
