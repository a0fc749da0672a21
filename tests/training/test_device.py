import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from skorch.callbacks import Callback

from growlattice import LatticeClassifier
from growlattice._training import _device
from growlattice._training._device import choose_device, choose_precision, upload, worker_number
from growlattice._training._net import LatticeNet
from growlattice.lattice import Lattice


@pytest.mark.parametrize(
    "process, thread, number",
    [
        ("MainProcess", "MainThread", 0),
        ("MainProcess", "Thread-3 (worker)", 3),
        ("MainProcess", "ThreadPoolExecutor-0_1", 1),
        ("LokyProcess-1", "MainThread", 1),
        ("LokyProcess-12", "Thread-1", 12),
        ("ForkPoolWorker-2", "MainThread", 2),
    ],
)
def test_workers_are_numbered_by_their_names(process, thread, number):
    assert worker_number(process, thread) == number


def test_a_worker_without_a_number_counts_by_its_process_id(monkeypatch):
    monkeypatch.setattr(_device.os, "getpid", lambda: 4242)
    assert worker_number("Dask Worker process (from Nanny)", "MainThread") == 4242


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_take_the_gpus_in_turn(backend):
    workers = Parallel(n_jobs=2, backend=backend)(delayed(_wait_and_number)() for _ in range(8))
    taken = {str(choose_device("auto", n_gpus=2, worker=worker)) for worker in workers}
    assert taken == {"cuda:0", "cuda:1"}


def _wait_and_number():
    import time

    time.sleep(0.2)
    return worker_number()


def test_without_a_gpu_auto_is_the_cpu():
    assert choose_device("auto", n_gpus=0, worker=3) == torch.device("cpu")


@pytest.mark.parametrize("units, n_warnings", [([], 1), (["AMX"], 0), (None, 0)])
def test_bfloat16_on_a_cpu_that_lacks_it_warns(small, make_small, monkeypatch, units, n_warnings):
    monkeypatch.setattr(_device, "bfloat16_units", lambda: units)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make_small(precision="bfloat16", max_epochs=1).fit(*small)
        make_small(max_epochs=1).fit(*small)
    assert sum("neither AMX" in str(warning.message) for warning in caught) == n_warnings


def test_a_device_that_is_named_is_taken_whatever_the_worker():
    assert choose_device("cpu", n_gpus=4, worker=3) == torch.device("cpu")


class SeeThreads(Callback):
    def __init__(self):
        self.seen = set()

    def on_batch_end(self, net, **kwargs):
        self.seen.add(torch.get_num_threads())


@pytest.fixture
def torch_threads():
    """Sets torch's number of threads, and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("n_threads, seen", [(1, 1), (2, 2), (None, 3)])
def test_training_computes_with_so_many_threads(small, make_small, torch_threads, method, n_threads, seen):
    torch_threads(3)
    threads = SeeThreads()
    getattr(make_small(max_epochs=1, n_threads=n_threads, callbacks=[threads]), method)(*small)
    assert threads.seen == {seen}
    assert torch.get_num_threads() == 3


def test_predictions_are_the_same_whatever_threads_there_are(make_small, torch_threads):
    X = np.random.RandomState(0).rand(256, 30)  # of the cases tried, the one that three threads round otherwise
    clf = make_small(max_channels=100, max_layers=6, max_epochs=1).fit(X, np.arange(256) % 37)
    probas = []
    for n_threads in (1, 3):
        torch_threads(n_threads)
        probas.append(clf.predict_proba(X))
    assert np.array_equal(*probas)


def test_training_comes_to_the_same_whatever_threads_there_are(digits, torch_threads):
    X, _, y, _ = digits

    def weights(n_threads=1):
        clf = LatticeClassifier(max_epochs=1, n_threads=n_threads, random_state=0).fit(X[:128], y[:128])
        return np.concatenate([value.detach().numpy().ravel() for value in clf.lattice_.parameters()])

    torch_threads(1)
    alone = {n_threads: weights(n_threads) for n_threads in (1, 2)}
    torch_threads(2)
    assert np.array_equal(weights(), alone[1])
    beside = Parallel(n_jobs=2, backend="threading")(delayed(weights)(n_threads) for n_threads in (1, 2, 2, 1))
    assert all(np.array_equal(found, alone[n]) for found, n in zip(beside, (1, 2, 2, 1), strict=True))


@pytest.mark.parametrize("initialized", [False, True])
def test_memory_is_given_back_where_there_is_a_gpu(small, make_small, monkeypatch, initialized):
    calls = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: initialized)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(1))
    make_small(max_epochs=1).fit(*small)
    assert len(calls) == initialized


@pytest.mark.parametrize("where", ["train_step", "initialize"])
def test_a_gpu_that_is_out_of_memory_is_an_error_that_helps(small, make_small, monkeypatch, where):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nGPU 0 has ...")

    monkeypatch.setattr(LatticeNet, where, full)
    clf = make_small(batch_size=24)
    with pytest.raises(torch.OutOfMemoryError, match=r"with batch_size=24: .* 2 GiB. Lower batch_size, max_channels"):
        clf.fit(*small)
    assert not hasattr(clf, "net_")


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_a_precision_that_is_named_is_taken(precision):
    for device in ("cpu", "cuda"):
        assert choose_precision(precision, torch.device(device), capability=(7, 0)) == precision


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("out of memory"), MemoryError("no memory")])
def test_a_fit_that_cannot_be_measured_is_kept(small, make_small, monkeypatch, error):
    forward = Lattice.forward

    def full(self, *args, **kwargs):
        if not torch.is_grad_enabled():
            raise error
        return forward(self, *args, **kwargs)

    expected = make_small(max_epochs=2).fit(*small)
    with monkeypatch.context() as patch:
        patch.setattr(Lattice, "forward", full)
        with pytest.warns(UserWarning, match="could not be measured on the training images: .*memory"):
            clf = make_small(max_epochs=2).fit(*small)
    assert np.array_equal(clf.predict_proba(small[0]), expected.predict_proba(small[0]))
    assert clf.time_used_ == clf.history_["time_used"].iloc[-1]
    assert clf.costs_["error"] == clf.history_["error"].iloc[-1]


def run_with_threads(n_threads, code):
    """Run Python code in a process of its own in which torch is set to a number of threads."""
    setup = f"import threading, torch\ntorch.set_num_threads({n_threads})\n"
    subprocess.run([sys.executable, "-c", setup + textwrap.dedent(code)], check=True, timeout=120)


def test_computations_in_threads_leave_the_number_of_threads():
    """A new thread begins with the number set last in any thread, so the order of beginning and ending counts."""
    run_with_threads(
        3,
        """
        from growlattice._training._device import cpu_threads

        found = []

        def compute(n_threads, begin, begun, end):
            begin.wait()
            with cpu_threads(n_threads):
                found.append(torch.get_num_threads() - n_threads + 3)
                begun.set()
                end.wait()
            found.append(torch.get_num_threads())

        for n_threads in (1, 2, 5):
            for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
                begun, end, first = *([threading.Event() for _ in range(3)] for _ in range(2)), threading.Event()
                events = zip([first, *begun[:2]], begun, end)
                threads = [threading.Thread(target=compute, args=(n_threads, *three)) for three in events]
                for thread in threads:
                    thread.start()
                first.set()
                begun[2].wait()
                for index in order:
                    end[index].set()
                    threads[index].join()
                fresh = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
                fresh.start()
                fresh.join()
                found.append(torch.get_num_threads())
        assert found == [3] * 72, found

        # computations within computations
        with cpu_threads(1):
            with cpu_threads(None):
                assert torch.get_num_threads() == 1
            with cpu_threads(2):
                assert torch.get_num_threads() == 2
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
        torch.set_num_threads(2)  # by the user, outside of any computation
        with cpu_threads(1):
            pass
        assert torch.get_num_threads() == 2
        """,
    )


def test_fits_in_new_threads_leave_the_number_of_threads():
    run_with_threads(
        2,
        """
        import numpy as np
        from joblib import Parallel, delayed
        from sklearn.base import clone
        from growlattice import LatticeClassifier

        X = np.random.RandomState(0).randint(0, 9, (20, 64))
        clf = LatticeClassifier(max_channels=2, max_layers=1, max_steps=1, max_epochs=1, random_state=0)
        for n_jobs in (2, 3):
            Parallel(n_jobs=n_jobs, backend="threading")(delayed(clone(clf).fit)(X, X[:, 0] > 4) for _ in range(4))
            found = [torch.get_num_threads()]
            fresh = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
            fresh.start()
            fresh.join()
            assert found == [2, 2], found
        """,
    )


def test_a_huge_number_of_threads_is_none():
    with _device.cpu_threads(2**31 - 1):
        assert torch.get_num_threads() == _device.MOST_THREADS


def test_an_array_on_the_cpu_is_copied_in_the_order_of_its_axes(random_images):
    images = random_images[0].transpose(0, 3, 1, 2)
    images.flags.writeable = False
    tensor = upload(images, torch.device("cpu"))
    assert tensor.dtype == torch.uint8 and tensor.is_contiguous()
    assert np.array_equal(tensor, images)
    assert not np.shares_memory(tensor.numpy(), images)
