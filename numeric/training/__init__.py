"""Training of tree networks: minibatches and the exact population, checkpoints, reports."""
