"""SimCLR on images: data, augmentation, networks, losses, training, evaluation, and the theory on real networks.

Needs the extra ``images`` (kornia). torchvision is used where it is there and never needed. Nothing is imported here:
``numeric.studies.images.study`` runs the experiment, ``numeric.studies.images.command`` is its command line.
"""
