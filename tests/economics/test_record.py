"""Numbers by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dini.economics import Record

R = Record.of(("k", "lambda", "items"), [1.0, 2.0, 3.0])


def test_numbers_are_reached_by_attribute_and_by_item():
    assert (R.k, R["k"], R["lambda"], R["items"]) == (1.0, 1.0, 2.0, 3.0)
    assert list(R) == ["k", "lambda", "items"]
    assert len(R) == 3
    assert "lambda" in R
    assert "lambada" not in R
    assert dict(R.items()) == {"k": 1.0, "lambda": 2.0, "items": 3.0}


def test_unknown_name_is_told_with_those_that_are_close():
    with pytest.raises(AttributeError, match=r"no 'lamda'\. Did you mean 'lambda'"):
        _ = R.lamda
    with pytest.raises(KeyError, match=r"no 'x'.* are k, lambda, items"):
        _ = R["x"]
    assert not hasattr(R, "shape")


def test_vector_follows_the_names_on_the_last_axis():
    batch = jnp.arange(6.0).reshape(2, 3)
    record = Record.of(["a", "b", "c"], batch)
    assert np.array_equal(record.b, [1.0, 4.0])
    assert np.array_equal(record.vector, batch)
    assert np.array_equal(Record.of({"a": 1.0, "b": 2}).vector, [1.0, 2.0])
    for wrong in (jnp.ones(3), jnp.ones(())):
        with pytest.raises(ValueError, match="2 names"):
            Record.of(("a", "b"), wrong)


def test_record_is_a_pytree_of_one_leaf_a_name():
    assert len(jax.tree.leaves(R)) == 3
    doubled = jax.jit(lambda r: jax.tree.map(lambda x: 2 * x, r))(R)
    assert doubled.names == R.names
    assert np.array_equal(doubled.vector, [2.0, 4.0, 6.0])
    gradient = jax.grad(lambda r: r.k * r["lambda"])(R)
    assert np.array_equal(gradient.vector, [2.0, 1.0, 0.0])
    assert jax.vmap(lambda x: Record.of(("a", "b"), x))(jnp.ones((4, 2))).a.shape == (4,)


def test_record_shows_one_line_a_name():
    assert repr(Record.of({"k": 1.5, "path": jnp.ones(3)})).splitlines() == [
        "Record",
        "    k     1.5",
        "    path  float64[3]",
    ]
