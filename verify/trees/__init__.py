"""Statement 6, on tree networks: four ways to the same moments that share no formula."""
