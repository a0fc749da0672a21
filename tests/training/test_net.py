import copy
import math
import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import LRScheduler
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from growlattice._training import _inference, _net
from growlattice._training._batches import Batches
from growlattice._training._history import history_rows
from growlattice._training._inference import measure
from growlattice._training._net import LatticeNet, seeded_generator
from growlattice._training._schedule import cosine_decay, full_rate, ramp, rate_share
from growlattice._training._training_set import TrainingSet
from growlattice.lattice import Lattice, breadth_cost, compact, depth_cost, error_cost, time_cost
from growlattice.lattice._surgery import score_norms

from ..lattices import fresh_lattice

RECENT_TORCH = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 8)


def make_lattice(time_selection="adaptive", seed=0):
    return Lattice(
        (1, 4, 4),
        3,
        n_channels=3,
        n_layers=2,
        n_steps=2,
        kernel_size=3,
        time_selection=time_selection,
        temperature=5.0,
        generator=seeded_generator(seed),
    )


def make_net(pressures=(0.0, 0.0, 0.0), extra=None, lattice=None, **parameters):
    lattice = make_lattice() if lattice is None else lattice
    names = ("breadth", "depth", "time")
    defaults = dict(position_power=4.0, noise=0.1, annealing=(0.1, 0.5), seed=0, precision="float32")
    defaults |= dict(lr=0.1, verbose=0)
    return LatticeNet(
        lattice,
        pressures=dict(zip(names, pressures, strict=True))
        | {name: price for name, (_, price) in (extra or {}).items()},
        extra_costs={name: cost for name, (cost, _) in (extra or {}).items()},
        **{**defaults, **parameters},
    ).initialize()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 1, 4, 4, generator=generator), torch.tensor([0, 1, 2, 1, 0])


@pytest.mark.parametrize("progress, expected", [(0.0, 0.0), (0.1, 0.0), (0.2, 0.25), (0.5, 1.0), (1.0, 1.0)])
def test_ramp_is_flat_then_linear_then_flat(progress, expected):
    assert ramp(progress, 0.1, 0.5) == pytest.approx(expected)


def test_ramp_without_length_is_a_step():
    assert [ramp(progress, 0.3, 0.3) for progress in (0.2, 0.3, 0.4)] == [0.0, 1.0, 1.0]
    assert ramp(0.0, 0.0, 0.0) == 1.0


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_cosine_decay_equals_that_of_torch(progress):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    for _ in range(round(100 * progress)):
        optimizer.step()
        schedule.step()
    assert cosine_decay(progress) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)


def test_streams_differ_and_repeat():
    draws = {
        stream: torch.rand(4, generator=seeded_generator(*stream)) for stream in [(0,), (0, 1), (0, 2), (1,), (0, 0, 0)]
    }
    assert len({tuple(draw.tolist()) for draw in draws.values()}) == 5
    assert torch.equal(draws[0, 1], torch.rand(4, generator=seeded_generator(0, 1)))


def test_loss_in_training_is_the_error_and_every_annealed_price(batch):
    images, labels = batch
    net = make_net((0.3, 0.5, 0.7), extra={"energy": (lambda lattice, output: output.activity.mean(), 0.9)})
    net.ramp_, net.sums_, net.unit_ = 0.25, {}, None
    net.tail_weights_ = net.score_norms_ = torch.zeros(())
    output = net.module_(images)
    magnitude = net.module_.channel_magnitude()
    prices = (
        0.3 * breadth_cost(magnitude, 4.0)
        + 0.5 * depth_cost(magnitude, 4.0)
        + 0.7 * time_cost(output.weights)
        + 0.9 * output.activity.mean()
    )
    expected = error_cost(output.log_probas, labels) + 0.25 * prices
    loss = net.get_loss(output, (labels, None), training=True)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_prices_are_charged_in_training_only(batch):
    images, labels = batch
    net = make_net((1.0, 1.0, 1.0))
    output = net.module_(images)
    assert net.get_loss(output, (labels, None), training=False).item() == pytest.approx(
        error_cost(output.log_probas, labels).item()
    )


def test_schedule_moves_learning_rate_noise_and_pressures():
    net = make_net()
    net._set_progress(0.3, decay=True)
    assert net.ramp_ == pytest.approx(0.5)
    full = 0.1 * net.rate_share_
    assert net.optimizer_.param_groups[0]["lr"] == pytest.approx(full * (1 + math.cos(0.3 * math.pi)) / 2)
    net._set_progress(0.3, decay=False)
    assert net.optimizer_.param_groups[0]["lr"] == pytest.approx(full) and net.rate_share_ > 1


@pytest.mark.parametrize("value", [torch.zeros(3), 0.5, None])
def test_an_extra_cost_must_be_a_scalar_tensor(batch, value):
    images, labels = batch
    net = make_net(extra={"energy": (lambda lattice, output: value, 1.0)})
    net.ramp_, net.sums_ = 1.0, {}
    with pytest.raises(ValueError, match="The extra cost 'energy' returned .* Return a scalar tensor"):
        net.get_loss(net.module_(images), (labels, None), training=True)


def make_data(n_images=9, device="cpu", weighted=True):
    rng = np.random.RandomState(0)
    images, labels = rng.randint(0, 256, (n_images, 1, 4, 4), dtype=np.uint8), rng.randint(0, 3, n_images)
    return TrainingSet(images, labels, rng.rand(n_images) + 0.1 if weighted else None).upload(torch.device("cpu"))


# --- an epoch ---


def test_the_history_of_an_epoch_holds_means_over_images():
    net = make_net((0.0, 0.0, 0.5), lr=0.0, noise=0.0, annealing=(0.0, 0.0), lattice=make_lattice("fixed"))
    data = make_data(10, weighted=False)
    net.train_epoch(Batches(data, 4), 0.0, 1.0)
    row, measured = net.history[-1], measure(net.module_, data)
    for name in ("error", "accuracy", "time_used"):
        assert row[name] == pytest.approx(measured[name], rel=1e-5)
    assert row["time"] == pytest.approx(measured["time_used"] / 4, rel=1e-5)
    assert row["train_loss"] == pytest.approx(row["error"] + 0.5 * row["time"], rel=1e-5)
    space = net.space_costs()
    assert (row["breadth"], row["depth"]) == pytest.approx((space["breadth"].item(), space["depth"].item()))
    assert "valid_error" not in row


def test_validation_is_measured_after_each_epoch_and_changes_nothing():
    alone, validated, data, others = make_net(), make_net(), make_data(), make_data(5)
    for epoch in range(2):
        alone.train_epoch(Batches(data, 4), epoch / 2, (epoch + 1) / 2)
        validated.train_epoch(Batches(data, 4), epoch / 2, (epoch + 1) / 2, validation=others)
        measured = measure(validated.module_, others)
        assert validated.history[-1]["valid_error"] == measured["error"]
        assert validated.history[-1]["valid_accuracy"] == measured["accuracy"]
    for one, other in zip(alone.module_.parameters(), validated.module_.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_epoch_keeps_what_decides_which_steps_can_go():
    net, data = make_net((0.0, 0.0, 0.5), lr=0.0, noise=0.0), make_data()
    net.train_epoch(Batches(data, 4), 0.0, 0.0)
    with torch.no_grad():
        output = net.module_(torch.from_numpy(data.images))
    torch.testing.assert_close(net.tail_weights_, output.weights.flip(1).cumsum(1).flip(1).amax(0))
    torch.testing.assert_close(net.score_norms_, score_norms(output).mean(dim=0))
    assert net.tail_weights_.shape == net.score_norms_.shape == (2,)


@pytest.mark.skipif(not RECENT_TORCH, reason="AdamW of this torch reads its steps on the default device")
def test_the_default_device_does_not_matter():
    def trained():
        net, data = make_net((0.1, 0.1, 0.1)), make_data()
        net.train_epoch(Batches(data, 4), 0.0, 1.0, validation=data)
        return [parameter.detach() for parameter in net.module_.parameters()], history_rows(net)[0]

    weights, row = trained()
    try:
        torch.set_default_device("meta")
        others, other_row = trained()
    finally:
        torch.set_default_device(None)
    assert all(torch.equal(one, other) for one, other in zip(weights, others, strict=True))
    assert {**row, "dur": 0} == {**other_row, "dur": 0}


@pytest.mark.parametrize("share, expected", [(0.5, 0.5), (1.0, 1.0), (25.0, 1.0)])
def test_a_learning_rate_above_that_at_the_start_counts_as_that(share, expected):
    """OneCycleLR goes far above lr, and the bar below which channels go must not follow it."""
    net = make_net(lr=0.01, callbacks=[LRScheduler(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.25, total_steps=100)])
    net.optimizer_.param_groups[0]["lr"] = share * 0.01 * net.rate_share_
    net._set_progress(0.9, decay=True)  # the scheduler's rate stays
    assert net.lr_share == pytest.approx(expected)


def test_precision_is_that_of_where_the_net_is():
    assert make_net(precision="float32").conv_dtype is None
    assert make_net(precision="auto").conv_dtype is None
    net = make_net(precision="bfloat16")
    assert net.conv_dtype == torch.bfloat16
    images = torch.rand(3, 1, 4, 4, generator=seeded_generator(1))
    expected = net.module_(images, conv_dtype=torch.bfloat16).log_probas
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(net.infer(images).log_probas, expected)
    assert not torch.equal(net.module_(images).log_probas, expected)


# --- weights and moments of another form ---

MASK = torch.tensor([[1, 0, 1], [0, 1, 0]], dtype=torch.bool)


def trained_net(**parameters):
    net = make_net((0.1, 0.1, 0.1), lattice=make_lattice("fixed"), **parameters)
    net.train_epoch(Batches(make_data(), 4), 0.0, 0.5)
    return net


@pytest.mark.parametrize("direction", ["smaller", "larger"])
def test_the_optimizer_follows_a_state_of_another_form(direction):
    """As EarlyStopping and Checkpoint with load_best put back the weights of an epoch before or after a compaction."""
    full, net = trained_net(), trained_net()
    net.compact(MASK, 1)
    source, target = (net, full) if direction == "smaller" else (full, net)
    optimizer, lattice = target.optimizer_, target.module_
    weights, moments = copy.deepcopy(source.module_.state_dict()), copy.deepcopy(source.optimizer_.state_dict())
    lattice.load_state_dict(weights)
    optimizer.load_state_dict(moments)
    assert target.module_ is lattice and target.optimizer_ is optimizer
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(p) for p in lattice.parameters()]
    for name, moment in source.moments().items():
        assert torch.equal(target.moments()[name], moment)
    for end in (source, target):  # and both go on alike
        end.train_epoch(Batches(make_data(), 4), 0.5, 1.0)
    for one, other in zip(source.module_.parameters(), target.module_.parameters(), strict=True):
        assert torch.equal(one, other)


def test_weights_of_another_form_go_on_without_moments():
    net = trained_net()
    net.module_.load_state_dict(compact(net.module_, MASK, 1).state_dict())
    net.update_parameters()
    assert net.moments() == {}
    before = [parameter.detach().clone() for parameter in net.module_.parameters()]
    net.train_epoch(Batches(make_data(), 4), 0.5, 1.0)
    assert not all(torch.equal(one, two) for one, two in zip(before, net.module_.parameters(), strict=True))


def test_the_same_parameters_keep_their_moments():
    net = trained_net()
    before = net.moments()
    net.module_.load_state_dict(copy.deepcopy(net.module_.state_dict()))
    net.update_parameters()
    assert net.moments().keys() == before.keys() and len(before) > 0
    assert all(torch.equal(net.moments()[name], moment) for name, moment in before.items())


def test_moments_can_be_put_back():
    net = trained_net()
    other = make_net((0.1, 0.1, 0.1), lattice=pickle.loads(pickle.dumps(net.module_)))
    other.set_moments(copy.deepcopy(net.moments()))
    other.history = copy.deepcopy(net.history)
    for end in (net, other):
        end.train_epoch(Batches(make_data(), 4), 0.5, 1.0)
    for one, two in zip(net.module_.parameters(), other.module_.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_rate_of_a_small_lattice_is_higher_and_comes_slowly():
    net = make_net()
    (channels,) = set(net.module_.channels_left)
    expected = (16 / channels) * (16 / (len(net.module_.channels_left) * net.module_.n_steps)) ** 0.75
    assert net.rate_share_ == pytest.approx(min(expected, 16))
    rates = []
    for progress in (0.0, 0.05, 0.1, 0.5):
        net._set_progress(progress, decay=False)
        rates.append(net.optimizer_.param_groups[0]["lr"])
    full = 0.1 * net.rate_share_
    assert rates == pytest.approx([0.1, (0.1 * full) ** 0.5, full, full])


def test_a_lattice_of_the_reference_size_has_the_rate_it_is_given():
    assert rate_share([16] * 4, 4) == 1 and full_rate(1.0, 0.0) == 1 and rate_share([32] * 4, 4) == 0.5


@pytest.mark.parametrize(
    "prices, relaxing, expected", [((0.1, 0, 0), False, 1), ((0, 0, 1), False, 0), ((1, 1, 1), True, 0)]
)
def test_how_far_a_lattice_reaches_does_not_slow_its_shrinking(prices, relaxing, expected):
    """The rate of a large lattice is lower, and prices remove channels as fast as the rate lets them."""
    lattice = fresh_lattice(n_channels=32, n_layers=2, n_steps=8)
    net = make_net(prices, lattice=lattice)
    net._set_prices(relaxing)
    assert net.rate_share_ == 0.5
    rates = []
    for progress in (0.05, 0.3, 0.5, 0.9):  # of which prices rise from 0.1 to 0.5
        net._set_progress(progress, decay=False)
        rates.append(net.optimizer_.param_groups[0]["lr"] / 0.1)
    assert rates == pytest.approx([0.5, 0.5 ** (1 - expected / 2), 0.5 ** (1 - expected), 0.5 ** (1 - expected)])


def test_the_rate_counts_the_pixels_of_smaller_kernels():
    assert rate_share([16] * 4, 4, 1) == 9 and rate_share([32] * 4, 4, 1) == 4.5 and rate_share([16], 1, 1) == 16
    assert rate_share([16] * 4, 4, 3) == rate_share([16] * 4, 4, 7) == 1
    rows = make_net(lattice=fresh_lattice(n_channels=16, n_layers=4, n_steps=4, shape=(5, 1, 1)))
    assert rows.rate_share_ == 9


def test_the_rate_follows_the_size_and_does_not_count_what_is_silent():
    net, silent = trained_net(), trained_net()
    net.compact(MASK, 2)
    with torch.no_grad():
        for layer, row in enumerate(MASK):
            for kernels in (silent.module_.bottom_up, silent.module_.lateral, silent.module_.top_down):
                if layer < len(kernels):
                    kernels[layer].weight[~row] = 0
    before = net.rate_share_
    for end in (net, silent):
        end._set_rate_share()
    assert net.rate_share_ == silent.rate_share_ > before


def test_a_pickled_net_is_small_and_goes_on():
    net = trained_net()
    net.compact(MASK, 1)
    content = pickle.dumps(net)
    assert not any(name in content for name in (b"tail_weights_", b"score_norms_", b"sums_", b"unit_"))
    again = pickle.loads(content)
    assert again.module is again.module_
    for end in (net, again):
        end.train_epoch(Batches(make_data(), 4), 0.5, 1.0)
    for one, two in zip(net.module_.parameters(), again.module_.parameters(), strict=True):
        assert torch.equal(one, two)


# --- no batch waits for the device: held without a GPU, on tensors without values ---


# What waits on a GPU for the number of its results, although it has a shape on tensors without values.
WAITING = {"masked_scatter_backward", "masked_select", "nonzero", "_local_scalar_dense", "equal", "_unique2"}


class Waits(TorchDispatchMode):
    """Notes every copy from one type of device to another, and every operation that waits."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in WAITING and args[0].device.type != "cpu":
            self.seen.append(name)
        result = function(*args, **kwargs or {})
        if name in ("_to_copy", "copy_"):
            source = args[1] if name == "copy_" else args[0]
            if source.device.type != result.device.type:
                self.seen.append(f"{source.dtype} to {result.device.type}")
        return result


def place(module, device):
    """Put a module's tensors on a device that need not be there, without their values."""
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                placed = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
                tensors[name] = torch.nn.Parameter(placed) if tensors is part._parameters else placed


def placed_data(device):
    sizes = dict(images=(9, 1, 4, 4), targets=(9,), sample_weight=(9,))
    dtypes = dict(images=torch.uint8, targets=torch.int64, sample_weight=torch.float32)
    return TrainingSet(**{name: torch.zeros(sizes[name], dtype=dtypes[name], device=device) for name in sizes})


LATTICES = {
    "adaptive": lambda: make_lattice("adaptive"),
    "fixed": lambda: make_lattice("fixed"),
    "compacted": lambda: compact(make_lattice("adaptive"), MASK, 1, 0.8),
    "compacted, fixed": lambda: compact(make_lattice("fixed"), MASK, 1, 0.8),
}


def feedback(lattice, output):
    return lattice.channel_magnitude(["top_down"]).mean() + output.activity.mean()


@pytest.fixture
def no_cuda_generators(monkeypatch):
    def generator(seed, *stream, device="cpu"):
        return seeded_generator(seed, *stream) if torch.device(device).type == "cpu" else None

    monkeypatch.setattr(_net, "seeded_generator", generator)


def placed_net(kind, precision, fused):
    """A net on the CPU; `run_epoch` places it, since skorch cannot."""
    extra = {"feedback": (feedback, 0.1)}
    return make_net((1.0, 1.0, 1.0), extra=extra, lattice=LATTICES[kind](), precision=precision, optimizer__fused=fused)


def run_epoch(net, device):
    place(net.module_, device)
    net.device = device
    net.update_parameters()
    batches = Batches(placed_data(device), 4)
    net.history.new_epoch()
    with Waits() as waits:
        net.train_batches(batches, 0.3, 1.0, True)
    assert waits.seen == [f"torch.int64 to {torch.device(device).type}"]  # the order of the images
    assert {value.device.type for value in net.sums_.values()} == {torch.device(device).type}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", LATTICES)
def test_no_batch_of_an_epoch_waits_for_the_device(kind, precision, no_cuda_generators):
    """On `meta`, where whatever needs a value raises, and so does what is on two devices."""
    net = placed_net(kind, precision, fused=False)
    before = [parameter.shape for parameter in net.module_.parameters()]
    run_epoch(net, "meta")
    assert all(parameter.grad is not None for name, parameter in net.module_.named_parameters() if "readout" in name)
    assert [parameter.shape for parameter in net.module_.parameters()] == before


@pytest.mark.skipif(not RECENT_TORCH or not torch.backends.cuda.is_built(), reason="this torch can pretend no GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", LATTICES)
def test_no_batch_of_an_epoch_waits_for_a_gpu(kind, precision, no_cuda_generators, monkeypatch):
    """On a GPU that is not there. torch's backward pass asks the driver, so gradients are given; it runs on `meta`."""
    net = placed_net(kind, precision, fused=True)

    def backward(loss):
        assert loss.requires_grad
        for parameter in net.module_.parameters():
            parameter.grad = torch.zeros_like(parameter)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    with FakeTensorMode():
        run_epoch(net, "cuda:0")


@pytest.mark.skipif(not RECENT_TORCH or not torch.backends.cuda.is_built(), reason="this torch can pretend no GPU")
@pytest.mark.parametrize("conv_dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("kind", LATTICES)
def test_measuring_waits_for_a_gpu_once_at_its_end(kind, conv_dtype, monkeypatch):
    lattice, batches = LATTICES[kind](), []
    monkeypatch.setitem(_inference.BUDGETS, "cuda", 4 * _inference.bytes_per_image(lattice, conv_dtype))
    lattice.register_forward_hook(lambda *_: batches.append(1))
    with FakeTensorMode():
        place(lattice, "cuda:0")
        with Waits() as waits, pytest.raises(DataDependentOutputException):
            measure(lattice, placed_data("cuda:0"), conv_dtype)
    assert len(batches) == 3 and waits.seen == ["_local_scalar_dense"]
