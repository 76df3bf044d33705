"""One process of two: gradients of every loss on its part of a batch, then short trainings; started by torchrun."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from numeric.studies.images.augment import RECIPES, draw
from numeric.studies.images.data import load_images, pixels
from numeric.studies.images.losses import IMAGE_LOSSES, NONCONTRASTIVE_LOSSES, ImageLoss, batch_loss
from numeric.studies.images.network import Shape, statistics_kept
from numeric.studies.images.processes import average_gradients, own_part, processes, rank_and_size
from numeric.studies.images.training import Trainer, Training, train_images, views


def gradients(trainer):
    """In double precision, in which two orders of a sum cannot be told apart at 1e-6."""
    network, own = trainer.network.double().train(), own_part(32)
    generator = torch.Generator().manual_seed(3)
    chosen = pixels(trainer.data.train[trainer.indices(0)[own]])

    def outputs():
        draws = [draw(trainer.recipe, (32, 1, 8, 8), generator)[own] for _ in range(2)]
        seen = views(trainer.recipe, chosen, tuple(draws))
        return torch.nn.functional.normalize(network(seen.double()), dim=-1).chunk(2)

    first, second = outputs()
    with torch.no_grad(), statistics_kept(network):
        further = outputs()
    batch_loss(trainer.settings.loss, first, second, generator, further).backward()
    average_gradients(network.parameters())
    found = {name: value.grad for name, value in network.named_parameters()}
    return found | {f"statistics.{name}": value for name, value in network.named_buffers()}


def measure(folder, size):
    data, shape = load_images("digits", subset=64), Shape(width=4, hidden=6, out=5, norm="batch", head_norm="batch")
    with processes(torch.device("cpu")):
        assert rank_and_size()[1] == size
        for loss in (*IMAGE_LOSSES, *NONCONTRASTIVE_LOSSES[:3]):
            trainer = Trainer(
                Training(ImageLoss(loss, negatives=4), epochs=1, batch=32), shape, RECIPES["digits"], data
            )
            found = gradients(trainer)
            if rank_and_size()[0] == size - 1:
                save_file(found, folder / f"{loss}.safetensors")
        settings = Training(ImageLoss("ntxent"), epochs=2, batch=32, every=1)
        run = train_images(settings, shape, RECIPES["digits"], data, folder=folder / "run")
        if rank_and_size()[0] == size - 1:
            save_file(run.network.state_dict(), folder / "trained.safetensors")
        mixed = Trainer(Training(ImageLoss("within"), epochs=2, batch=32), shape, RECIPES["digits"], data)
        mixed.mixed = True  # what a GPU does
        for _ in range(3):
            mixed.take_step()
        if rank_and_size()[0] == size - 1:
            save_file(mixed.network.state_dict(), folder / "mixed.safetensors")
    # A thread of the group that is left when the interpreter ends can abort the process.
    left = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    assert left
    assert not [name for name in left if "gloo" in name], left


if __name__ == "__main__":
    measure(Path(sys.argv[1]), int(sys.argv[2]))
