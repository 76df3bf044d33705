"""The paper's numerical study on latent trees."""
