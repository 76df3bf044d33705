"""Statement 5, on networks of one hidden layer: dynamics, conserved quantities, rings."""
