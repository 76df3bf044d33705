"""Statement 7: gaps and selectivities of neurons at initialisation and along training."""
