"""Ways to train many lattices of one shape at once on one device, by the time of a training step of all of them.

    python -m benchmarks.many_lattices [--channels 16 32] [--lattices 1 8 32] [--batch-size 32] [--size 32]

One after the other (what fits in one process do), stacked by torch.vmap, stacked by grouped convolutions, in several
processes; on a GPU also on several CUDA streams and as CUDA graphs. A step is forward, error cost, backward and
AdamW, in bfloat16 where the library would choose it, without noise, on images that are already there. Each way first
takes three steps from the same weights, and `difference` is the largest between its losses and those of one after the
other, relative to them.
"""

import argparse
import multiprocessing
import statistics
from contextlib import nullcontext
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch.func import functional_call, stack_module_state
from torch.nn import functional

from growlattice._training._device import PRECISIONS, choose_precision
from growlattice.lattice import Lattice, LatticeOutput, add_normalized, error_cost, time_selection_weights

from .scaling import seconds

N_CLASSES, TEMPERATURE, N_STREAMS = 10, 5.0, 8


@dataclass(frozen=True)
class Problem:
    """The shape of the lattices and of what they are trained on; the number of a lattice is the seed of both."""

    n_channels: int = 16
    n_layers: int = 6
    n_steps: int = 6
    size: int = 32
    batch_size: int = 32
    noise: float = 0.0
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    autocast: torch.dtype | None = None
    memory_format: torch.memory_format = torch.channels_last
    fused: bool = True

    def lattice(self, number):
        lattice = Lattice(
            (3, self.size, self.size),
            N_CLASSES,
            n_channels=self.n_channels,
            n_layers=self.n_layers,
            n_steps=self.n_steps,
            kernel_size=3,
            time_selection="adaptive",
            temperature=TEMPERATURE,
            generator=torch.Generator().manual_seed(number),
        )
        return lattice.to(self.device, self.dtype).to(memory_format=self.memory_format)

    def batch(self, number):
        generator = torch.Generator().manual_seed(number)
        images = torch.randn(self.batch_size, 3, self.size, self.size, generator=generator)
        labels = torch.randint(N_CLASSES, (self.batch_size,), generator=generator)
        return images.to(self.device, self.dtype), labels.to(self.device)

    def batches(self, numbers):
        """Images of shape (n_lattices, n_images, 3, height, width), and their labels."""
        return [torch.stack(tensors) for tensors in zip(*map(self.batch, numbers), strict=True)]

    def precision(self):
        return torch.autocast(self.device, self.autocast) if self.autocast else nullcontext()

    def optimizer(self, parameters):
        return torch.optim.AdamW(parameters, lr=1e-2, fused=self.fused, capturable=self.device == "cuda")


# Each way takes a problem and the numbers of its lattices, and returns a function that trains all of them for one step
# and returns their losses before it, of shape (n_lattices,).


def one_after_the_other(problem, numbers):
    steps = [single(problem, number)[0] for number in numbers]
    return lambda: torch.stack([step() for step in steps])


def single(problem, number, compiled=False):
    """The training step of one lattice, and its optimizer."""
    lattice, (images, labels) = problem.lattice(number), problem.batch(number)
    forward = torch.compile(lattice) if compiled else lattice
    optimizer = problem.optimizer(lattice.parameters())

    def losses():
        return error_cost(forward(images, problem.noise, conv_dtype=problem.autocast).log_probas, labels)

    return training_step(problem, losses, optimizer), optimizer


def training_step(problem, losses, optimizer):
    def step():
        optimizer.zero_grad()
        with problem.precision():
            values = losses()
        values.sum().backward()
        optimizer.step()
        return values.detach()

    return step


def stacked_by_vmap(problem, numbers):
    lattices = [problem.lattice(number) for number in numbers]
    parameters, buffers = stack_module_state(lattices)
    images, labels = problem.batches(numbers)

    def loss(parameters, buffers, images, labels):
        precision = {"conv_dtype": problem.autocast}
        return error_cost(functional_call(lattices[0], (parameters, buffers), images, precision).log_probas, labels)

    def losses():
        return torch.vmap(loss)(parameters, buffers, images, labels)

    return training_step(problem, losses, problem.optimizer(parameters.values()))


def grouped(problem, numbers):
    """The step of lattices whose channels lie side by side, and its optimizer."""
    n_lattices, (images, labels) = len(numbers), problem.batches(numbers)
    weights = stack_module_state([problem.lattice(number) for number in numbers])[0]
    for name, weight in weights.items():
        if not name.startswith(("readout", "selector")):
            flat = weight.detach().flatten(0, 1)  # (n_lattices * n_out, ...)
            flat = flat.contiguous(memory_format=problem.memory_format) if flat.dim() == 4 else flat
            weights[name] = flat.requires_grad_()
    beside = images.transpose(0, 1).flatten(1, 2)  # (n_images, n_lattices * 3, height, width)

    def losses():
        output = grouped_forward(weights, problem, n_lattices, beside)
        return torch.vmap(error_cost)(output.log_probas.unflatten(0, (n_lattices, -1)), labels)

    optimizer = problem.optimizer(weights.values())
    return training_step(problem, losses, optimizer), optimizer


def grouped_forward(weights, problem, n_lattices, images):
    """What `Lattice.forward` computes, of all lattices at once; their images follow one another in the output.

    The images are standardized already, as those of a fresh lattice are.
    """

    def convolve(name, maps):
        bias = weights.get(f"{name}.bias")
        return functional.conv2d(maps, weights[f"{name}.weight"], bias, padding="same", groups=n_lattices)

    def linear(name, rows):
        return torch.baddbmm(weights[f"{name}.bias"].unsqueeze(1), rows, weights[f"{name}.weight"].mT)

    def apart(maps):
        return maps.unflatten(1, (n_lattices, -1))  # (n_images, n_lattices, n_channels, height, width)

    def plus_normalized(state, drive):
        return add_normalized(apart(state), apart(drive)).flatten(1, 2)

    def recurrent(layer, before):
        lateral = convolve(f"lateral.{layer}", before[layer])
        if layer == problem.n_layers - 1:
            return lateral
        return lateral + convolve(f"top_down.{layer}", before[layer + 1])

    drive = convolve("bottom_up.0", convolve("input", images))
    nothing = torch.zeros_like(drive[:, :n_lattices], dtype=problem.dtype)
    first_drive = plus_normalized(nothing, drive)
    hidden, before, activity = [nothing] * problem.n_layers, None, []
    for _ in range(problem.n_steps):
        active = []
        for layer in range(problem.n_layers):
            state = hidden[layer]
            if layer:
                state = plus_normalized(state, convolve(f"bottom_up.{layer}", active[-1]))
            else:
                state = first_drive if before is None else state + first_drive
            if before is not None:
                state = plus_normalized(state, recurrent(layer, before))
            hidden[layer] = state
            active.append(torch.relu(state))
        activity.append(torch.cat([apart(layer).mean(dim=(3, 4)) for layer in active], dim=2))
        before = active
    activity = torch.stack(activity, dim=1)  # (n_images, n_steps, n_lattices, channels of all layers)
    rows = activity.permute(2, 0, 1, 3).flatten(1, 2).to(problem.dtype)
    with torch.autocast(problem.device, enabled=False):
        logits = linear("readout", rows)
        scores = linear("selector.2", torch.relu(linear("selector.0", rows)))
    per_image = (-1, problem.n_steps)  # of all lattices, one after the other
    return LatticeOutput(
        step_log_probas=functional.log_softmax(logits.reshape(*per_image, N_CLASSES), dim=2),
        log_weights=time_selection_weights(scores.reshape(per_image), TEMPERATURE),
        activity=rows,
        scores=scores,
    )


def grouped_channels_first(problem, numbers):
    return grouped(replace(problem, memory_format=torch.contiguous_format), numbers)[0]


def grouped_channels_last(problem, numbers):
    return grouped(problem, numbers)[0]


def in_processes(problem, numbers, n_processes=4):
    """So many processes, each with its share of the lattices, one after the other."""
    context, pipes = multiprocessing.get_context("spawn"), []
    n_threads = max(1, torch.get_num_threads() // n_processes)
    for first in range(min(n_processes, len(numbers))):
        pipe, other = context.Pipe()
        share = numbers[first::n_processes]
        context.Process(target=_worker, args=(other, problem, share, n_threads), daemon=True).start()
        other.close()  # so that the worker ends when `pipe` is gone
        pipes.append(pipe)

    def step():
        for pipe in pipes:
            pipe.send("step")
        losses = torch.empty(len(numbers), dtype=problem.dtype)
        for first, pipe in enumerate(pipes):
            losses[first::n_processes] = torch.tensor(pipe.recv(), dtype=problem.dtype)
        return losses

    return step


def _worker(pipe, problem, numbers, n_threads):
    torch.set_num_threads(n_threads)
    step = one_after_the_other(problem, numbers)
    try:
        while pipe.recv():
            pipe.send(step().tolist())
    except EOFError:
        pass


def on_streams(problem, numbers):
    return _over_streams([single(problem, number)[0] for number in numbers])


def graphs(problem, numbers):
    steps = [captured(*single(problem, number)) for number in numbers]
    return lambda: torch.stack([step() for step in steps])


def graphs_on_streams(problem, numbers):
    return _over_streams([captured(*single(problem, number)) for number in numbers])


def grouped_graph(problem, numbers):
    return captured(*grouped(problem, numbers))


def captured(step, optimizer):
    """A step as a CUDA graph, with weights and moments put back to what they were before it was recorded."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    initial = [parameter.detach().clone() for parameter in parameters]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    with torch.no_grad():
        for parameter, value in zip(parameters, initial, strict=True):
            parameter.copy_(value)
        for moments in optimizer.state.values():
            for moment in moments.values():
                moment.zero_()

    def replay():
        graph.replay()
        return loss

    return replay


def _over_streams(steps):
    streams = [torch.cuda.Stream() for _ in steps[:N_STREAMS]]

    def step():
        current, losses = torch.cuda.current_stream(), []
        for stream in streams:
            stream.wait_stream(current)
        for index, one in enumerate(steps):
            with torch.cuda.stream(streams[index % N_STREAMS]):
                losses.append(one())
        for stream in streams:
            current.wait_stream(stream)
        return torch.stack(losses)

    return step


WAYS = {
    "one after the other": one_after_the_other,
    "torch.vmap": stacked_by_vmap,
    "grouped, channels first": grouped_channels_first,
    "grouped, channels last": grouped_channels_last,
    "processes": in_processes,
}
GPU_WAYS = {
    "CUDA streams": on_streams,
    "CUDA graphs": graphs,
    "CUDA graphs on streams": graphs_on_streams,
    "grouped, channels last, CUDA graph": grouped_graph,
}


def default_problem():
    """The device and precision that the library would choose here."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype, autocast = PRECISIONS[choose_precision("auto", torch.device(device))]
    return Problem(device=device, dtype=dtype, autocast=autocast)


def measure(n_channels=(16, 32), n_lattices=(1, 8, 32), repeats=10, n_processes=4, **shape):
    """A row for each breadth, number of lattices and way."""
    problem, ways, rows = replace(default_problem(), **shape), dict(WAYS), []
    if problem.device == "cuda":
        ways |= GPU_WAYS
    else:
        print(f"left out, need a GPU: {'; '.join(GPU_WAYS)}")
    ways["processes"] = lambda problem, numbers: in_processes(problem, numbers, n_processes)
    for breadth in n_channels:
        for number in n_lattices:
            rows += compare(ways, replace(problem, n_channels=breadth), range(number), repeats)
    return rows


def compare(ways, problem, numbers, repeats):
    """Rows of all ways; the first is what the others are compared with."""
    rows, expected = [], None
    for name, way in ways.items():
        step = way(problem, numbers)
        losses = torch.stack([step().cpu().double().clone() for _ in range(3)])
        expected = losses if expected is None else expected
        taken = statistics.median(seconds(step) for _ in range(repeats))
        rows.append(
            {
                "channels": problem.n_channels,
                "lattices": len(numbers),
                "way": name,
                "ms a lattice": 1000 * taken / len(numbers),
                "times faster": rows[0]["ms a lattice"] * len(numbers) / (1000 * taken) if rows else 1.0,
                "difference": float(((losses - expected) / expected).abs().max()),
            }
        )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--lattices", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args()
    shape = dict(n_layers=args.layers, n_steps=args.steps, size=args.size, batch_size=args.batch_size)
    rows = measure(args.channels, args.lattices, args.repeats, args.processes, **shape)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {default_problem()}, {shape}")
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
