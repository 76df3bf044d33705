"""SimCLR on images: data, augmentation, networks, losses, training, evaluation, and the theory on real networks.

Needs the extra ``images`` (kornia). torchvision is used where it is there and never needed. Nothing is imported here:
``numeric.images.study`` runs the experiment, ``numeric.images.command`` is its command line.
"""
