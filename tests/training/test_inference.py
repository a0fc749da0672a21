import weakref

import numpy as np
import pytest
import torch
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from growlattice._training import _inference
from growlattice._training._inference import batch_size, bytes_per_image, collect, input_moment, measure, outputs
from growlattice._training._training_set import TrainingSet
from growlattice.lattice import Lattice, compact, error_cost
from growlattice.lattice._input_cut import cut_input, input_products

from ..lattices import make_lattice

SHAPE = (2, 4, 3)


def make_images(n_images, shape=SHAPE, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (n_images, *shape), dtype=np.uint8)


@pytest.fixture
def sizes(monkeypatch):
    """Notes the size of every batch that a lattice gets."""
    seen, forward = [], Lattice.forward

    def noting(self, images, **kwargs):
        seen.append(len(images))
        return forward(self, images, **kwargs)

    monkeypatch.setattr(Lattice, "forward", noting)
    return seen


def hold(monkeypatch, lattice, n_images, device="cpu"):
    """Let the memory of a device hold so many images."""
    monkeypatch.setitem(_inference.BUDGETS, device, n_images * bytes_per_image(lattice) + 1)


# --- batches ---


@pytest.mark.parametrize("n_images", [1, 2, 7, 8, 9, 30])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_all_batches_have_one_size_and_results_the_order_given(sizes, monkeypatch, n_images, as_tensor):
    lattice, images = make_lattice(), make_images(n_images)
    hold(monkeypatch, lattice, 8)
    given = torch.from_numpy(images) if as_tensor else images
    found = collect(lattice, given, lambda output: output.log_probas)
    assert set(sizes) == {batch_size(n_images, 8)} and sum(sizes) < 2 * n_images + 8
    sizes.clear()
    alone = np.concatenate([collect(lattice, image[None], lambda output: output.log_probas) for image in images])
    assert set(sizes) == {1}
    np.testing.assert_allclose(found, alone, rtol=1e-12)


def test_images_of_one_call_do_not_depend_on_their_company(monkeypatch):
    lattice, images = make_lattice().float(), make_images(40)
    hold(monkeypatch, lattice, 8)
    together = collect(lattice, images, lambda output: output.log_probas)
    order = np.random.RandomState(1).permutation(40)
    assert np.array_equal(collect(lattice, images[order], lambda output: output.log_probas), together[order])


def test_views_of_any_order_give_the_same():
    lattice, images = make_lattice().float(), make_images(5)
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    last.flags.writeable = False
    found = [collect(lattice, given, lambda output: output.log_probas) for given in (images, last)]
    assert np.array_equal(*found)


def test_outputs_are_without_gradients_and_without_what_fills_the_last_batch(monkeypatch):
    lattice = make_lattice().train()
    hold(monkeypatch, lattice, 4)
    rows = []
    for part, output in outputs(lattice, make_images(10)):
        rows.append(part)
        assert {len(tensor) for tensor in output} == {part.stop - part.start}
        assert not output.log_probas.requires_grad
    assert rows == [slice(0, 4), slice(4, 8), slice(8, 10)]


@pytest.mark.parametrize("kind", ["long", "of bools", "of vectors"])
def test_what_is_collected_keeps_its_dtype_and_shape(monkeypatch, kind):
    lattice = make_lattice()
    hold(monkeypatch, lattice, 4)
    read, dtype, shape = {
        "long": (lambda output: output.log_probas.argmax(dim=1), np.int64, (10,)),
        "of bools": (lambda output: output.weights[:, 0] > 0.3, np.bool_, (10,)),
        "of vectors": (lambda output: output.activity.float(), np.float32, (10, 3, 3, 3)),
    }[kind]
    found = collect(lattice, make_images(10), read)
    assert (found.dtype, found.shape) == (dtype, shape)


# --- memory ---


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that live at once."""

    def __init__(self):
        super().__init__()
        self.live, self.now, self.peak = {}, 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        for tensor in _pytree.tree_leaves(result):
            storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
            if storage is not None and storage._cdata not in self.live:
                self.live[storage._cdata] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, storage._cdata)
        return result

    def _free(self, key):
        self.now -= self.live.pop(key)


def make(shape, n_channels, n_layers, n_steps, **options):
    sizes = dict(n_channels=n_channels, n_layers=n_layers, n_steps=n_steps)
    return make_lattice(shape=shape, **sizes, **options).float()


def pruned(n_kept):
    lattice = make((3, 16, 16), 16, 4, 4)
    return compact(lattice, torch.arange(16) < torch.tensor(n_kept)[:, None])


LATTICES = {
    "usual": lambda: make((3, 16, 16), 16, 4, 4),
    "one layer": lambda: make((1, 16, 16), 16, 1, 4),
    "one step": lambda: make((1, 16, 16), 16, 4, 1),
    "one layer, one step": lambda: make((1, 16, 16), 16, 1, 1),
    "two steps": lambda: make((1, 16, 16), 16, 4, 2, time_selection="fixed"),
    "deep": lambda: make((3, 16, 16), 8, 8, 3),
    "one channel": lambda: make((1, 16, 16), 1, 1, 2),
    "many inputs": lambda: make((64, 16, 16), 4, 2, 3),
    "one pixel": lambda: make((64, 1, 1), 16, 4, 4),
    "float64": lambda: make((3, 16, 16), 16, 2, 3).double(),
    "pruned": lambda: pruned([13, 9, 7, 1]),
    "pruned, one layer": lambda: pruned([3, 0, 0, 0]),
    "few inputs": lambda: cut_input(make((3, 16, 16), 16, 1, 1), 2),
    "smaller layers": lambda: make((3, 16, 16), 16, 4, 4, downsample=(1, 2, 2, 1)),
    "a smaller first layer": lambda: make((1, 15, 15), 16, 3, 3, downsample=(2, 2, 2)),
    "a small first layer, one step": lambda: make((1, 16, 16), 16, 2, 1, downsample=(4, 1)),
    "a small top layer": lambda: make((1, 17, 17), 16, 2, 2, downsample=(1, 16)),
}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
@pytest.mark.parametrize("conv_dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("kind", LATTICES)
def test_the_bytes_of_an_image_are_a_bound_and_a_near_one(kind, conv_dtype, dtype):
    lattice = LATTICES[kind]()
    n_images = 256 if kind == "one pixel" else 16  # so many that weights do not count
    images = torch.from_numpy(make_images(n_images, lattice.config["image_shape"])).to(dtype)
    with LiveBytes() as memory, torch.no_grad():
        lattice(images.clone(), conv_dtype=conv_dtype)
    bound = n_images * bytes_per_image(lattice, conv_dtype)
    assert bound / 2 <= memory.peak <= bound, memory.peak / bound


@pytest.mark.parametrize("conv_dtype", [None, torch.bfloat16])
def test_batches_stay_within_the_budget(monkeypatch, conv_dtype):
    lattice = LATTICES["usual"]()
    budget = 20 * bytes_per_image(lattice, conv_dtype)
    monkeypatch.setitem(_inference.BUDGETS, "cpu", budget)
    images = torch.from_numpy(make_images(70, (3, 16, 16)))
    with LiveBytes() as memory:
        collect(lattice, images, lambda output: output.log_probas, conv_dtype)
    assert budget / 4 < memory.peak <= budget


def test_few_rows_of_a_table_are_answered_as_one_alone(sizes):
    lattice, rows = make_lattice(shape=(5, 1, 1)).float(), make_images(20, (5, 1, 1)).astype(np.float32)
    together = collect(lattice, rows, lambda output: output.log_probas)
    alone = np.concatenate([collect(lattice, row[None], lambda output: output.log_probas) for row in rows])
    assert np.array_equal(alone, together)
    assert set(sizes) == {32}


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
@pytest.mark.parametrize("fitting, sizes_tried", [(8, [8] * 3), (3, [8, 4, 2, *[2] * 9]), (1, [8, 4, 2, *[1] * 20])])
def test_a_batch_that_memory_cannot_hold_is_halved(monkeypatch, sizes, error, fitting, sizes_tried):
    lattice, images = make_lattice(), make_images(20)
    hold(monkeypatch, lattice, 8)
    expected = collect(lattice, images, lambda output: output.log_probas)
    sizes.clear()
    forward = Lattice.forward

    def limited(self, images, **kwargs):
        output = forward(self, images, **kwargs)
        if len(images) > fitting:
            raise error("out of memory")
        return output

    monkeypatch.setattr(Lattice, "forward", limited)
    found = collect(lattice, images, lambda output: output.log_probas)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert sizes == sizes_tried


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_memory_that_cannot_hold_one_image_is_an_error(monkeypatch, sizes, error):
    def full(self, images, **kwargs):
        sizes.append(len(images))
        raise error("out of memory")

    lattice = make_lattice()
    hold(monkeypatch, lattice, 8)
    monkeypatch.setattr(Lattice, "forward", full)
    with pytest.raises(error, match="out of memory"):
        collect(lattice, make_images(20), lambda output: output.log_probas)
    assert sizes == [8, 4, 2, 1]


def test_what_filled_the_memory_is_let_go_before_the_next_try(monkeypatch):
    lattice, tensors, forward = make_lattice(), [], Lattice.forward
    hold(monkeypatch, lattice, 8)

    def limited(self, images, **kwargs):
        assert not any(tensor() is not None for tensor in tensors)
        if len(images) > 2:
            large = torch.zeros(1000)
            tensors.append(weakref.ref(large))
            raise torch.OutOfMemoryError("out of memory")
        return forward(self, images, **kwargs)

    monkeypatch.setattr(Lattice, "forward", limited)
    assert len(collect(lattice, make_images(8), lambda output: output.log_probas)) == 8
    assert len(tensors) == 2


# --- measuring ---


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_measures_are_weighted_means_over_all_images(monkeypatch, weighted, as_tensor):
    full = make_lattice()
    images, labels = make_images(21), np.random.RandomState(1).randint(0, 4, 21)
    weight = np.random.RandomState(2).rand(21) if weighted else None
    data = TrainingSet(images, labels, weight).upload(torch.device("cpu"))
    if as_tensor:
        data = TrainingSet(torch.from_numpy(images), data.targets, data.sample_weight)
    for lattice in (full, compact(full, full.mask, 2, 0.8)):
        hold(monkeypatch, lattice, 8)
        found = measure(lattice, data)
        with torch.no_grad():
            output = lattice(torch.from_numpy(images))
        share = np.ones(21) / 21 if weight is None else weight / weight.sum()
        truth = output.log_probas[range(21), labels].numpy()
        assert found["error"] == pytest.approx(-(share @ truth) / np.log(4), rel=1e-6)
        if not weighted:
            assert found["error"] == pytest.approx(error_cost(output.log_probas, data.targets).item(), rel=1e-9)
        assert found["accuracy"] == pytest.approx(share @ (output.log_probas.argmax(dim=1).numpy() == labels), rel=1e-6)
        assert found["time_used"] == pytest.approx(share @ (output.weights.numpy() @ [1, 2, 3]), rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_moment_of_the_input_is_a_weighted_mean_over_all_images(monkeypatch, weighted):
    lattice, images = make_lattice(), make_images(21)
    weight = np.random.RandomState(2).rand(21) if weighted else None
    hold(monkeypatch, lattice, 8)
    data = TrainingSet(images, np.zeros(21, dtype=np.int64), weight).upload(torch.device("cpu"))
    products = input_products(lattice, torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(input_moment(lattice, data), np.average(products, axis=0, weights=weight), rtol=1e-6)


def test_the_default_device_does_not_matter():
    lattice, images = make_lattice(), make_images(5)
    data = TrainingSet(images, np.array([0, 1, 2, 3, 0]), np.arange(1.0, 6))
    expected = (
        collect(lattice, images, lambda output: output.log_probas),
        measure(lattice, data.upload(lattice.mask.device)),
    )
    try:
        torch.set_default_device("meta")
        found = collect(lattice, images, lambda output: output.log_probas)
        measured = measure(lattice, data.upload(lattice.mask.device))
    finally:
        torch.set_default_device(None)
    assert np.array_equal(found, expected[0]) and measured == expected[1]


def test_answers_do_not_depend_on_a_callers_autocast():
    lattice, images = make_lattice(n_channels=8).float(), make_images(5)
    expected = collect(lattice, images, lambda output: output.log_probas, torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = collect(lattice, images, lambda output: output.log_probas, torch.bfloat16)
    assert found.dtype == np.float32 and np.array_equal(found, expected)
