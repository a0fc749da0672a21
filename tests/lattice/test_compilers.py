"""What makes programs of torch modules takes a lattice too: torch.export, ONNX and torch.compile."""

import io

import numpy as np
import onnxruntime
import pytest
import torch

from growlattice.lattice import compact
from growlattice.lattice._input_cut import cut_input

from ..lattices import make_lattice

MASK = torch.tensor([[1, 1, 0], [0, 1, 1], [0, 0, 0]], dtype=torch.bool)
SHAPE = (2, 5, 4)
KINDS = "full", "pruned", "smaller layers"


class LogProbas(torch.nn.Module):
    """A module whose forward pass is that of `Lattice.log_probas`."""

    def __init__(self, lattice):
        super().__init__()
        self.lattice = lattice

    def forward(self, images):
        return self.lattice.log_probas(images)


def lattices(dtype=torch.float32):
    full = make_lattice(shape=SHAPE).to(dtype).eval()
    smaller = make_lattice(shape=SHAPE, downsample=(1, 2, 3)).to(dtype).eval()
    return {"full": full, "pruned": compact(full, MASK, 2, 0.8).eval(), "smaller layers": cut_input(smaller, 2).eval()}


def images(n_images, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n_images, *SHAPE), dtype=torch.uint8, generator=generator)


# Seen to work with these and not with 2.6.
EXPORTS = pytest.mark.skipif(torch.__version__ < "2.8", reason="torch.export fails in torch 2.6")
COMPILES = pytest.mark.skipif(torch.__version__ < "2.8", reason="torch.compile makes no whole graph in torch 2.6")
ANY_NUMBER = ({0: torch.export.Dim("n_images")},)


@EXPORTS
@pytest.mark.parametrize("which", KINDS)
def test_an_exported_program_answers_batches_of_any_size(which):
    lattice = lattices()[which]
    program = torch.export.export(lattice, (images(3),), dynamic_shapes=ANY_NUMBER).module()
    for n_images in (1, 2, 8):
        for found, expected in zip(program(images(n_images)), lattice(images(n_images)), strict=True):
            torch.testing.assert_close(found, expected)


@EXPORTS
@pytest.mark.parametrize("which", KINDS)
def test_an_onnx_model_takes_bytes_in_batches_of_any_size(which):
    lattice, file = lattices()[which], io.BytesIO()
    model = torch.onnx.export(
        LogProbas(lattice).eval(), (images(3),), dynamic_shapes=ANY_NUMBER, dynamo=True, verbose=False
    )
    model.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    assert taken.type == "tensor(uint8)"
    for n_images in (1, 2, 8):
        (found,) = session.run(None, {taken.name: images(n_images).numpy()})
        np.testing.assert_allclose(found, lattice.log_probas(images(n_images)).detach(), atol=1e-5)


@COMPILES
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch 2.9's own
@pytest.mark.parametrize("which", KINDS)
def test_a_compiled_lattice_is_one_graph_and_has_gradients(which):
    lattice = lattices(torch.float64)[which]
    torch._dynamo.reset()
    compiled = torch.compile(lattice.log_probas, fullgraph=True, backend="aot_eager")
    gradients = []
    for function in (lattice.log_probas, compiled):
        lattice.zero_grad()
        log_probas = function(images(3))
        log_probas[:, 0].sum().backward()
        gradients.append([log_probas, *(p.grad.clone() for p in lattice.parameters() if p.grad is not None)])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)
