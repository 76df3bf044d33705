"""Contrastive learning on images, and the theory on the trained networks. Needs the extra ``images`` (kornia)."""
