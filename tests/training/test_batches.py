import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from growlattice._training._batches import Batches
from growlattice._training._training_set import TrainingSet


def make_batches(n_images=10, batch_size=4, sample_weight=None, resident=False, **options):
    images = np.arange(n_images, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), dtype=np.uint8)
    data = TrainingSet(images, np.arange(n_images), sample_weight).upload(torch.device("cpu"))
    if resident:  # as on a GPU, where the images are a tensor
        data = TrainingSet(torch.from_numpy(images), data.targets, data.sample_weight)
    return Batches(data, batch_size, **options)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("resident", [False, True])
def test_bytes_stay_bytes(resident):
    batches = make_batches(resident=resident).shuffled(generator())
    assert {images.dtype for images, _ in batches} == {torch.uint8}


@pytest.mark.parametrize("resident", [False, True])
def test_shuffled_batches_hold_every_image_once_in_even_sizes(resident):
    batches = make_batches(n_images=9, resident=resident)
    assert len(batches) == 3
    batches = list(batches.shuffled(generator()))
    assert [len(images) for images, _ in batches] == [3, 3, 3]
    labels = torch.cat([labels for _, (labels, _) in batches])
    assert sorted(labels.tolist()) == list(range(9))
    assert labels.tolist() != list(range(9))
    assert all(torch.equal(images[:, 0, 0, 0].long(), labels) for images, (labels, _) in batches)


def test_the_generator_alone_decides_the_order():
    orders = [torch.cat([y for _, (y, _) in make_batches().shuffled(generator(seed))]).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_weights_are_one_on_average_and_go_with_their_images():
    batches = list(make_batches(sample_weight=np.arange(10.0)).shuffled(generator()))
    labels, weights = (torch.cat(parts) for parts in zip(*(targets for _, targets in batches), strict=True))
    torch.testing.assert_close(weights, labels / 4.5)


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


def test_a_pipeline_of_torchvision_augments_bytes():
    flip = v2.Compose([v2.RandomHorizontalFlip(p=1.0), v2.RandomCrop(4, padding=1)])
    batches = list(make_batches(augment=flip).shuffled(generator()))
    assert {(images.dtype, images.shape[1:]) for images, _ in batches} == {(torch.uint8, (1, 4, 4))}


@pytest.mark.parametrize("augment", [lambda images: images[:, :, :2], lambda images: None, lambda images: images / 255])
def test_augmentation_must_keep_shape_and_dtype(augment):
    with pytest.raises(ValueError, match="augment returned .* for a tensor of shape"):
        list(make_batches(augment=augment).shuffled(generator()))


def test_read_only_arrays_are_fine():
    images = np.zeros((5, 1, 2, 2), dtype=np.float32)
    images.flags.writeable = False
    data = TrainingSet(images, np.zeros(5, dtype=np.int64)).upload(torch.device("cpu"))
    assert len(list(Batches(data, 2).shuffled(generator()))) == 3


@pytest.mark.parametrize("resident", [False, True])
def test_batches_are_copies_in_the_order_of_their_axes(random_images, resident):
    images = random_images[0].transpose(0, 3, 1, 2)  # a view of channels last
    data = TrainingSet(images, random_images[1]).upload(torch.device("cpu"))
    for batch, _ in Batches(data, 7).shuffled(generator()):
        assert batch.is_contiguous()
        batch.zero_()  # an augmentation may write in place
    assert images.any()


def test_the_default_device_does_not_matter():
    expected = torch.cat([labels for _, (labels, _) in make_batches().shuffled(generator())])
    augment = v2.Lambda(lambda images: images + 1)
    try:
        torch.set_default_device("meta")
        batches = list(make_batches(augment=augment).shuffled(generator()))
    finally:
        torch.set_default_device(None)
    assert {tensor.device.type for images, (labels, _) in batches for tensor in (images, labels)} == {"cpu"}
    assert torch.equal(
        torch.cat([images[:, 0, 0, 0] for images, _ in batches]).long() - 1,
        torch.cat([labels for _, (labels, _) in batches]),
    )
    assert not torch.equal(torch.cat([labels for _, (labels, _) in batches]), torch.arange(10))
    assert torch.equal(torch.cat([labels for _, (labels, _) in make_batches().shuffled(generator())]), expected)
