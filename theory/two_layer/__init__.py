"""Statement 5: one hidden layer, in symbols."""
