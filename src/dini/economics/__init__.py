"""Economic models: steady states, laws of motion, likelihoods."""
