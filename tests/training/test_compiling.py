"""Most tests compile with `eager`, which traces what is to be compiled and then runs it as it is."""

import copy
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from torch._dynamo.backends.common import aot_autograd

from growlattice._storage import _key
from growlattice._training import _compiling, _net
from growlattice._training._compiling import (
    SETTLED,
    WORTH,
    can_compile,
    compiles_both_passes,
    epoch_work,
    forward,
    is_worth_compiling,
)
from growlattice._training._net import seeded_generator
from growlattice.lattice import compact

from ..lattices import make_lattice

COMPILES = pytest.mark.skipif(
    not compiles_both_passes(), reason="this torch cannot compile the backward pass with the forward pass"
)
SHAPE = (2, 5, 4)
MASK = torch.tensor([[1, 1, 0], [0, 1, 1]], dtype=torch.bool)


@pytest.fixture
def compiled_forms(monkeypatch):
    """The number of forms compiled so far, with a compiler that takes no time."""
    monkeypatch.setattr(_compiling, "BACKEND", "eager")
    monkeypatch.setattr(_compiling, "_FAILED", set())
    _compiling._compiled.cache_clear()
    yield lambda: _compiling._compiled.cache_info().currsize
    _compiling._compiled.cache_clear()


@pytest.fixture
def broken(compiled_forms, monkeypatch):
    def compile_nothing(graph, inputs):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(_compiling, "BACKEND", compile_nothing)


def batch(n_images=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n_images, *SHAPE), dtype=torch.uint8, generator=generator)


def lattice_of(kind, dtype=torch.float64):
    factors = (1, 2) if kind == "smaller layers" else 1
    lattice = make_lattice(shape=SHAPE, n_layers=2, n_steps=2, downsample=factors).to(dtype)
    return compact(lattice, MASK, 1, 0.8) if kind == "pruned" else lattice


def answer(lattice, compiled, n_images=3, **options):
    """Log-probabilities and the gradients of all weights."""
    lattice.zero_grad()
    generator = seeded_generator(1) if options.get("noise") else None
    log_probas = forward(lattice, batch(n_images), generator=generator, compiled=compiled, **options).log_probas
    log_probas[:, 0].sum().backward()
    return [log_probas, *(parameter.grad.clone() for parameter in lattice.parameters() if parameter.grad is not None)]


# --- what it is worth ---


def test_short_work_and_other_devices_are_not_compiled_unless_asked_for(monkeypatch):
    monkeypatch.setattr(_compiling, "can_compile", lambda device_type: True)
    assert is_worth_compiling("auto", "cpu", WORTH) and not is_worth_compiling("auto", "cpu", 0.99 * WORTH)
    assert not is_worth_compiling("auto", "cuda", WORTH) and not is_worth_compiling(False, "cpu", WORTH)
    assert is_worth_compiling(True, "cuda", 1) and not is_worth_compiling(True, "cuda", 0)


def test_auto_needs_a_compiler(monkeypatch):
    monkeypatch.setattr(_compiling, "can_compile", lambda device_type: False)
    assert not is_worth_compiling("auto", "cpu", 10 * WORTH)


def test_a_compiler_is_looked_for_where_torch_does(monkeypatch, tmp_path):
    can_compile.cache_clear()
    monkeypatch.setenv("CXX", str(tmp_path / "no_such_compiler"))
    try:
        assert not can_compile()
    finally:
        can_compile.cache_clear()


def test_work_is_that_of_all_epochs_from_when_a_form_was_due():
    n_epochs, sizes = 10, [9, 9, 4, 4, 4, 4, 4, 4, 4, 4]
    work = [
        epoch_work(sizes[:epoch], sizes[epoch], 100, epoch / n_epochs, (epoch + 1) / n_epochs)
        for epoch in range(n_epochs)
    ]
    first, second = 3 * 9 * 100 * 10, 3 * 4 * 100 * (10 - 2 - SETTLED)
    assert work == [first, first, *[0] * SETTLED, *[second] * (10 - 2 - SETTLED)]


def test_of_training_whose_end_nobody_knows_the_epoch_counts():
    assert epoch_work([], 4, 100, 1.0, 1.0) == 3 * 4 * 100


@pytest.mark.parametrize("price, expected", [(0.0, [1.0] * 5), (0.1, [0.4] * 2 + [1.0] * 3)])
def test_under_prices_a_form_is_not_expected_to_outlast_the_middle_of_their_rise(
    small, make_tiny, monkeypatch, price, expected
):
    lasts = []

    def note(*args):
        lasts.append(args[-1])
        return epoch_work(*args)

    monkeypatch.setattr(_net, "epoch_work", note)
    make_tiny(max_epochs=5, breadth_pressure=price, annealing=(0.2, 0.6)).fit(*small)
    assert lasts == pytest.approx(expected)
    assert epoch_work([], 10, 10, 0.0, 0.1, last=0.3) == 3 * 10 * 10 * 3


# --- equal to rounding ---


@COMPILES
@pytest.mark.parametrize("kind, noise", [("pruned", 0.0), ("smaller layers", 0.3)])
def test_answers_and_gradients_are_those_of_the_lattice(compiled_forms, kind, noise, monkeypatch):
    monkeypatch.setattr(_compiling, "BACKEND", "aot_eager")  # traces the backward pass too
    lattice = lattice_of(kind)
    for found, expected in zip(*(answer(lattice, way, noise=noise) for way in (True, False)), strict=True):
        torch.testing.assert_close(found, expected)
    assert compiled_forms() == 1 and not _compiling._FAILED


@COMPILES
def test_batches_of_any_size_and_noise_of_any_size_run_through_one_graph(compiled_forms, monkeypatch):
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(_compiling, "BACKEND", count)
    for lattice in (lattice_of("full"), copy.deepcopy(lattice_of("full"))):  # one form
        for n_images, noise in ((3, 0.0), (4, 0.1), (7, 0.2), (1, 0.2)):
            found, expected = (answer(lattice, way, n_images, noise=noise, noisy=True) for way in (True, False))
            torch.testing.assert_close(found[0], expected[0])
    assert len(graphs) == 1


@COMPILES
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_one_convolution_computes_all_that_a_layer_drives(compiled_forms, monkeypatch, dtype):
    convolutions = []

    def count(graph, inputs):
        convolutions.extend(node for node in graph.graph.nodes if "conv2d" in str(node.target))
        return graph.forward

    monkeypatch.setattr(_compiling, "BACKEND", count)
    lattice = lattice_of("full", torch.float32)
    found, wanted = (answer(lattice, way, conv_dtype=dtype) for way in (True, False))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0.02 if dtype else 1e-5, atol=0.02 if dtype else 1e-6)
    assert len(convolutions) == 5 and not _compiling._FAILED


@torch._dynamo.config.patch(recompile_limit=2)
@COMPILES
def test_more_forms_than_torch_recompiles_are_each_compiled(compiled_forms):
    for n_channels in range(1, 5):
        lattice = make_lattice(shape=SHAPE, n_channels=n_channels, n_layers=1, n_steps=1)
        torch.testing.assert_close(forward(lattice, batch(), compiled=True), lattice(batch()))
    assert compiled_forms() == 4 and not _compiling._FAILED


def test_a_torch_that_cannot_compile_both_passes_at_once_compiles_nothing(compiled_forms, monkeypatch):
    """If it did, a backward pass that cannot be compiled would end a fit."""
    monkeypatch.setattr(_compiling, "BOTH_PASSES", "what torch does not know")
    can_compile.cache_clear()
    lattice = lattice_of("full")
    with pytest.warns(UserWarning, match="Not compiled.*what torch does not know"):
        found = answer(lattice, True)
    for one, other in zip(found, answer(lattice, False), strict=True):
        assert torch.equal(one, other)
    assert not can_compile() and compiled_forms() == 0
    can_compile.cache_clear()


def test_hooks_of_callbacks_are_called(compiled_forms):
    lattice, calls = lattice_of("full"), []
    lattice.register_forward_hook(lambda *_: calls.append(1))
    answer(lattice, True)
    assert calls == [1] and compiled_forms() == 0


@pytest.mark.skipif(not can_compile(), reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore::DeprecationWarning")
def test_the_real_compiler_gives_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    _compiling._compiled.cache_clear()
    for n, options, close in ((1, {}, {}), (2, dict(conv_dtype=torch.bfloat16), dict(rtol=0.02, atol=0.02))):
        lattice = make_lattice(shape=SHAPE, n_layers=n, n_steps=n)
        for found, expected in zip(*(answer(lattice, way, noise=0.1, **options) for way in (True, False)), strict=True):
            torch.testing.assert_close(found, expected, **close)
    assert not _compiling._FAILED


@pytest.mark.parametrize(
    "platform, device, in_cpp", [("linux", "cpu", True), ("linux", "cuda", False), ("win32", "cpu", False)]
)
def test_code_is_called_from_cpp_where_that_was_measured(monkeypatch, platform, device, in_cpp):
    given = {}
    monkeypatch.setattr(_compiling.sys, "platform", platform)
    monkeypatch.setattr(torch, "compile", lambda function, **options: given.update(options))
    _compiling._compiled.__wrapped__("a form", device)
    assert given["options"].get("cpp_wrapper", False) == in_cpp and given["options"]["compile_threads"] == 1


# --- in fits ---


@pytest.fixture
def make_tiny(make_small):
    return partial(make_small, max_channels=2, max_layers=1, max_steps=2)


@COMPILES
def test_a_compiled_fit_is_the_eager_one_to_rounding(compiled_forms, small, make_tiny):
    one, other = (make_tiny(precision="float64", compile=way).fit(*small) for way in (True, False))
    assert compiled_forms() == 1
    np.testing.assert_allclose(one.predict_proba(small[0]), other.predict_proba(small[0]), atol=1e-8)
    again = make_tiny(precision="float64", compile=True).fit(*small)
    assert np.array_equal(one.predict_proba(small[0]), again.predict_proba(small[0]))


def test_auto_leaves_small_fits_alone(compiled_forms, small, make_tiny):
    clf = make_tiny().fit(*small)
    clf.predict(small[0])
    assert compiled_forms() == 0 and not clf.history_["compiled"].any()


@COMPILES
def test_verbose_and_the_history_say_that_code_is_compiled(compiled_forms, small, make_tiny, capsys):
    clf = make_tiny(compile=True, verbose=1).fit(*small)
    assert capsys.readouterr().out.count("compiling") == 1 and clf.history_["compiled"].all()
    make_tiny(compile=False, verbose=1).fit(*small)
    assert "compil" not in capsys.readouterr().out


@COMPILES
def test_a_fit_compiles_what_lasts(compiled_forms, small, make_small, compacting, monkeypatch):
    """And a resumed one does in the same epochs: those before are all that decides."""
    ways, decide = [], _net.LatticeNet.is_compiled

    def note(net, *args):
        ways.append((decide(net, *args), net.module_.macs()))
        return ways[-1][0]

    monkeypatch.setattr(_net.LatticeNet, "is_compiled", note)
    monkeypatch.setattr(_compiling, "can_compile", lambda device_type: True)
    monkeypatch.setattr(_compiling, "WORTH", 1e6)
    make_small(max_epochs=9, compile="auto", **compacting).fit(*small)
    compiled, forms = zip(*ways, strict=True)
    begun = [max((e for e in range(1, epoch + 1) if forms[e] != forms[e - 1]), default=0) for epoch in range(9)]
    expected = [since == 0 or epoch - since >= SETTLED for epoch, since in enumerate(begun)]
    assert list(compiled) == expected and compiled[0] and compiled[-1] and not all(compiled)


@COMPILES
def test_an_interrupted_fit_goes_on_to_the_same_result(compiled_forms, small, make_tiny, tmp_path):
    class Stop(RuntimeError):
        pass

    train = _net.LatticeNet.train_batches

    def stop(net, *args):
        if len(net.history) == 3:
            raise Stop
        train(net, *args)

    options = dict(compile=True, memory=tmp_path, checkpoint_seconds=0.0)
    complete = make_tiny(compile=True).fit(*small)
    interrupted = make_tiny(**options)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(_net.LatticeNet, "train_batches", stop)
        interrupted.fit(*small)
    resumed = make_tiny(**options).fit(*small)
    assert np.array_equal(complete.predict_proba(small[0]), resumed.predict_proba(small[0]))


@COMPILES
def test_pickles_and_copies_hold_nothing_compiled(compiled_forms, small, make_tiny):
    clf = make_tiny(compile=True, max_epochs=6).fit(*small)
    for again in (pickle.loads(pickle.dumps(clf)), copy.deepcopy(clf), pickle.loads(pickle.dumps(clf.net_))):
        assert again is not None
    assert np.array_equal(pickle.loads(pickle.dumps(clf)).predict_proba(small[0]), clf.predict_proba(small[0]))
    clf.prune(*small).predict(small[0])


def test_where_the_compiler_fails_a_fit_is_eager_and_says_so_once(broken, small, make_tiny):
    with pytest.warns(UserWarning, match="Not compiled.*compile=False") as caught:
        one = make_tiny(compile=True).fit(*small)
    assert len(caught) == 1 and not one.history_["compiled"].any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.predict_proba(small[0])
    other = make_tiny(compile=False).fit(*small)
    assert np.array_equal(one.predict_proba(small[0]), other.predict_proba(small[0]))


@COMPILES
def test_where_only_the_backward_pass_cannot_be_compiled_a_fit_is_eager(compiled_forms, small, make_tiny, monkeypatch):
    def fail(graph, inputs):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(_compiling, "BACKEND", aot_autograd(fw_compiler=lambda graph, _: graph, bw_compiler=fail))
    with pytest.warns(UserWarning, match="Not compiled.*no such luck"):
        one = make_tiny(compile=True).fit(*small)
    other = make_tiny(compile=False).fit(*small)
    assert np.array_equal(one.predict_proba(small[0]), other.predict_proba(small[0]))


def test_an_error_of_the_lattice_itself_is_its_own(compiled_forms):
    with pytest.raises(ValueError, match="but the lattice is for"):
        forward(lattice_of("full"), torch.zeros(3, 5, 5, 4, dtype=torch.float64), compiled=True)
    assert not _compiling._FAILED


def test_the_key_says_what_runs(monkeypatch, small, make_tiny):
    def key(**parameters):
        clf = make_tiny(**parameters)
        data = clf._training_set(*small, None, learn=True)
        return _key.fit_key(clf, clf.input_form_, data, None, 0)

    monkeypatch.setattr(_key, "can_compile", lambda device_type: True)
    assert len({key(compile=way) for way in ("auto", True, False)}) == 3
    monkeypatch.setattr(_key, "can_compile", lambda device_type: False)
    assert len({key(compile=way) for way in ("auto", True, False)}) == 1
