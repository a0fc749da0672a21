import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from growlattice._batches import Batches


def make_batches(n_images=10, batch_size=4, **options):
    images = np.arange(n_images, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), dtype=np.uint8)
    return Batches(images, np.arange(n_images), batch_size=batch_size, device="cpu", **options)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_batches_in_order_are_all_of_one_size():
    batches = list(make_batches())
    assert [len(images) for images, _ in batches] == [4, 4, 4]
    assert torch.cat([labels for _, (labels, _) in batches]).tolist() == [*range(10), 0, 0]


def test_bytes_stay_bytes():
    assert {images.dtype for images, _ in make_batches()} == {torch.uint8}


def test_shuffled_batches_hold_every_image_once_in_even_sizes():
    batches = list(make_batches(n_images=9).shuffled(generator()))
    assert [len(images) for images, _ in batches] == [3, 3, 3]
    labels = torch.cat([labels for _, (labels, _) in batches])
    assert sorted(labels.tolist()) == list(range(9))
    assert labels.tolist() != list(range(9))
    assert all(torch.equal(images[:, 0, 0, 0].long(), labels) for images, (labels, _) in batches)


def test_the_generator_alone_decides_the_order():
    orders = [torch.cat([y for _, (y, _) in make_batches().shuffled(generator(seed))]).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_weights_are_one_on_average():
    batches = make_batches(sample_weight=np.arange(10.0))
    weights = torch.cat([weights for _, (_, weights) in batches])[:10]
    torch.testing.assert_close(weights, torch.arange(10) / 4.5)


def test_augmentation_is_seeded_and_leaves_the_global_generator_alone():
    noisy = v2.Lambda(lambda images: images + torch.randint(0, 50, images.shape, dtype=torch.uint8))
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    first = torch.cat([images for images, _ in make_batches(augment=noisy).shuffled(generator())])
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(17)
    again = torch.cat([images for images, _ in make_batches(augment=noisy).shuffled(generator())])
    plain = torch.cat([images for images, _ in make_batches().shuffled(generator())])
    assert torch.equal(first, again)
    assert not torch.equal(first, plain)


def test_augmentation_is_for_training_alone():
    batches = make_batches(augment=lambda images: images + 1)
    assert torch.cat([images for images, _ in batches])[:10, 0, 0, 0].tolist() == list(range(10))


@pytest.mark.parametrize("augment", [lambda images: images[:, :, :2], lambda images: None, lambda images: images / 255])
def test_augmentation_must_keep_shape_and_dtype(augment):
    with pytest.raises(ValueError, match="augment returned .* for a tensor of shape"):
        list(make_batches(augment=augment).shuffled(generator()))


def test_read_only_arrays_are_fine():
    images = np.zeros((5, 1, 2, 2), dtype=np.float32)
    images.flags.writeable = False
    assert len(list(Batches(images, batch_size=2, device="cpu"))) == 3
