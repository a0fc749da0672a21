"""The regressor."""

from dataclasses import replace
from numbers import Real

import numpy as np
import torch
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.dummy import DummyRegressor
from sklearn.utils import check_array

from .._training._target_form import NumberTargets
from .._training._training_set import make_training_set
from ..lattice._halting import HaltedOutput
from ._base import BaseLatticeEstimator
from ._halting import HaltingMixin
from ._pruning import PruningMixin
from ._thresholds import movement_thresholds

MOST_ERROR = 4.0  # that counts of an image, squared, in variances, where halting guarantees a share of R2


class LatticeRegressor(MultiOutputMixin, RegressorMixin, PruningMixin, HaltingMixin, BaseLatticeEstimator):
    """Recurrent convolutional regressor that grows in breadth, depth and time as far as it pays.

    The network is a lattice of channels (breadth), layers (depth) and recurrent steps (time). Training pays for
    errors and, at the prices given here, for each of the three resources, so what is left of the lattice is as large
    as the task and the prices make it.

    Parameters
    ----------
    breadth_pressure : float, default=0.0
        Price of channels. At a price of 1, a fresh lattice of the default size pays about 1. What a channel costs does
        not depend on `max_channels`; see :doc:`/concepts/pressures`.
    depth_pressure : float, default=0.0
        Price of layers.
    time_pressure : float, default=0.0
        Price of recurrent steps.
    max_channels : int, default=16
        Channels of each layer: how broad the lattice may grow.
    max_layers : int, default=4
        Layers: how deep the lattice may grow.
    max_steps : int, default=4
        Recurrent steps: how long the lattice may compute.
    kernel_size : int, default=3
        Odd side of the convolutions' square kernels, in pixels. Data without space (images of one pixel) always have
        kernels of one.
    downsample : int or sequence of int, default=1
        Factor by which the maps of each layer are smaller than those below: one for all layers, or one for each of
        `max_layers`, from the first up. The paper has 1. See :ref:`resolution`.
    grow_from : tuple of int, default=None
        (channels, layers, steps) to start with. Training then extends the lattice where its edge is in use, up to
        `max_channels`, `max_layers` and `max_steps`. None starts at full size. Experimental; see
        :doc:`/concepts/growing`.
    growth : {"fresh", "tiny"}, default="fresh"
        How the weights of new channels are drawn: as those of a fresh lattice, or so that they lower the error cost of
        some training images most, to first order, as in "Growing Tiny Networks".
    time_selection : {"adaptive", "fixed"}, default="adaptive"
        Whether each image gets its own weights for the steps, or all images share them.
    temperature : float, default=5.0
        How near the time-selection weights may come to choosing a single step.
    position_power : float, default=4.0
        How sharply the prices of channels and layers rise with rank and height.
    noise : float, default=0.1
        Standard deviation of the noise added to hidden states in training.
    annealing : tuple of float, default=(0.1, 0.5)
        Shares of training at which pressures and noise begin to rise from 0, and at which they are full.
    extra_costs : sequence of (callable, float), default=()
        Costs of your own and their pressures. Each callable takes the lattice (a torch module) and its
        output on a batch (:class:`~growlattice.lattice.RegressionOutput`) and returns a scalar tensor.
    compact_every : int, default=1
        After every so many epochs, training drops the channels, layers and trailing steps that are no longer used
        under the pressures, which makes it faster. None keeps everything until `prune`. See :doc:`/concepts/resources`.
    max_epochs : int, default=30
        Passes over the training images. 0 leaves only `keep` and `relax_epochs` to be done, such as after `warm_start`.
    keep : float, default=None
        Share of the R2, on the training images, that a cut after these epochs keeps; as in `prune`. A low share gives a
        far smaller lattice, to be trained for `relax_epochs`. None cuts nothing.
    relax_epochs : int, default=0
        Passes over the training images after the cut, without prices. Nothing is removed in them. See `relax`.
    batch_size : int, default=32
        Most images in a training batch.
    lr : float, default=1e-2
        Learning rate of AdamW at the start, for a lattice of the default size; it falls to 0 along a cosine. A lattice
        of fewer channels, layers or steps gets a higher one, also where it has become smaller in training, and so does
        one with smaller kernels, as for tables; see :doc:`/choices`.
    weight_decay : float, default=1e-4
        Weight decay of AdamW.
    image_shape : tuple of int, default=None
        (channels, height, width) of the image in each row of a two-dimensional X. Without it, rows are square grey
        images if their length is the square of 8 or more and all their numbers are whole and not negative; any other
        row is one pixel with a channel for each feature. `image_shape_` says what was taken.
    image_size : int or tuple of int, default=None
        Side, or (height, width), that images are resized to, with antialiasing, before anything else.
    augment : callable, default=None
        Takes and returns a batch of training images, a tensor of shape (n_images, channels, height, width) in the
        units and dtype of X. A transform of `torchvision.transforms.v2` works; what it draws from torch's generator is
        seeded by `random_state`.
    device : str or torch.device, default="auto"
        "auto" takes a GPU where there is one.
    precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        "bfloat16" gives convolutions operands and results of that type, on any device, and leaves hidden states,
        weights, readout and costs in float32; "auto" is that on a GPU which has it, and else float32. On a CPU with AMX
        or AVX512-BF16 it is faster too, above all with `compile`; see :ref:`speed`.
    compile : {"auto"} or bool, default="auto"
        Whether training, and predictions of many images, run through code that torch compiles for the lattice's form.
        "auto" does so on a CPU where the work ahead is long enough for it to pay and there are torch 2.10 or later and
        a C++ compiler. Results are equal to rounding. See :ref:`speed`.
    n_threads : int, default=1
        Threads to compute with on the CPU. Another number rounds sums differently. So the result of a fit depends on
        this number, and not on the machine or on `n_jobs` of a search. Small lattices gain little from a second
        thread, and searches more from workers. None takes as many as torch is set to.
    memory : str or os.PathLike, default=None
        Folder of finished fits. `fit` reads a fit of equal parameters, data, seed and code from there, and resumes one
        that was interrupted from its last checkpoint. Needs a `random_state`. `partial_fit` does not use it. See
        :doc:`/sweeps`.
    checkpoint_seconds : float, default=1.0
        Seconds of training after which, at the end of an epoch, an unfinished fit leaves a checkpoint in `memory`.
    callbacks : list of skorch callbacks, default=None
        Called in training with the skorch net, as in skorch; those of scikit-learn are set with `set_callbacks`. They
        can monitor the columns of `history_`, of which `valid_error` and `valid_r2` need `X_val` and `y_val` in
        `fit`. An `LRScheduler` takes the place of the cosine, an `EarlyStopping` ends training, and a `PrintLog` takes
        the place of the built-in one; any other KeyboardInterrupt undoes the fit.
    warm_start : bool, default=False
        Whether `fit` continues from the lattice of the last fit, whose sizes, resolutions, temperature, time selection
        and number of outputs have to stay as they are, and with them the scale of y; the schedule and the history start
        anew.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, shuffling, noise and augmentation. The same integer gives, on the same CPU, the same
        result bit for bit, and no global generator is touched. `partial_fit` and `relax` go on with the seed of `fit`.
    verbose : int, default=0
        1 prints a line for each epoch: R2, costs and time used; and one for each step of `prune`.

    Attributes
    ----------
    target_mean_, target_std_ : float or ndarray of shape (n_outputs,)
        Mean and standard deviation of y over the training images, by which the lattice's numbers are scaled.
    n_features_in_ : int
        Numbers in each row, or in each image of an array before it is resized.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X is a data frame whose columns all have strings for names.
    image_shape_ : tuple of int
        (channels, height, width) of the images as the lattice sees them.
    input_form_ : InputForm
        The form of X that `fit` learned.
    net_ : LatticeNet
        The fitted skorch net.
    lattice_ : Lattice
        The fitted torch module.
    history_ : DataFrame
        A row for each `epoch`. Its form when it began: `channels` of all layers together, `layers`, `steps`, and
        `macs_per_image`, the multiply-accumulates of one image, forward. Weighted means over the training images,
        while training, of `r2`, `train_loss`, the costs `error`, `time` and `extra_costs`, and `time_used` in steps;
        the costs `breadth` and `depth` at its end. `train_macs`, the multiply-accumulates of all images, forward and
        backward; whether it was without prices, `relaxing`, and ran through compiled code, `compiled`; `valid_error`
        and `valid_r2` after it, if `fit` was given images for that; and seconds, `dur`. `train_loss` holds the
        annealed prices, so it may rise while they do.
    growth_ : DataFrame
        A row for each thing that was added after an `epoch`, if `grow_from` is given: the `resource`, "channels" (then
        of a `layer`, counted from 1), "layers" or "steps"; its size `before` and `after`; the `statistic` that decided
        and the `bar` that it reached; and `macs_before` and `macs_after`, multiply-accumulates of one image. For
        channels, the statistic is the magnitude of the weakest of the layer, and for layers that of the top layer's
        channels on average, in units of what they are drawn with; for steps, the mean weight of the last one.
    time_used_ : float
        Steps used, averaged over the training images, after the last epoch, without noise; after `prune`, over the
        images it was given.
    costs_ : dict
        The costs "error", "breadth", "depth" and "time" of the fitted lattice on the same images, before pressures are
        applied.
    channel_magnitude_ : ndarray of shape (max_layers, max_channels)
        Summed absolute weight that writes each channel, in units of its expectation in a fresh lattice of the default
        size; 0 where the channel was removed.
    channel_mask_ : ndarray of bool of shape (max_layers, max_channels)
        Channels that are left: all of them until training comes to remove some, or `prune`.
    channels_used_ : float
        Channels left in each layer that has any, on average.
    layers_used_ : int
        Layers with a channel left.
    n_parameters_ : int
        Trained numbers.
    macs_per_image_ : int
        Multiply-accumulates of one image, over all steps: convolutions, readout and time selection.
    train_macs_ : int
        Multiply-accumulates of all training that `history_` tells of, three times those of the forward passes.
    resources_ : DataFrame
        Written by `prune`, and by `fit` with `keep`: input channels, layers, channels of each layer, steps, parameters,
        multiply-accumulates per image and R2 (or the score asked for) on the images given, in the rows "before" and
        "after" the cut, which `relax` leaves as they are. `halt` adds the row "halted", with the means of steps and
        multiply-accumulates over its own images.
    halting_ : dict
        Written by `halt`: the "threshold" that an answer has to move less than, in standard deviations of y; "keep",
        "confidence" (None where there is no guarantee) and "n_images" that it was chosen with; and, on these images,
        "mean_steps" and "macs" per image, "r2", and "r2_all_steps" without halting.
    device_ : str
        Where the lattice is.

    References
    ----------
    Butkus, Garzón Gupta, Kriegeskorte (2026). Growing a Neural Network in Breadth, Depth, and Time. arXiv 2605.25174.
    They classify; what a lattice for numbers answers, and what its errors cost, is this project's own.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from growlattice import LatticeRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> reg = LatticeRegressor(
    ...     time_pressure=0.1, max_channels=8, max_layers=2, max_epochs=15, random_state=0
    ... )
    >>> reg.fit(X[:340], y[:340]).score(X[340:], y[340:]) > 0.3  # R2
    True
    >>> reg.time_used(X[340:]).shape  # steps, for each row
    (102,)
    """

    __module__ = "growlattice"  # where users find it: skops, mlflow and pickle write this name
    _task = "regression"
    _baseline = DummyRegressor

    def __init__(
        self,
        *,
        breadth_pressure=0.0,
        depth_pressure=0.0,
        time_pressure=0.0,
        max_channels=16,
        max_layers=4,
        max_steps=4,
        kernel_size=3,
        downsample=1,
        grow_from=None,
        growth="fresh",
        time_selection="adaptive",
        temperature=5.0,
        position_power=4.0,
        noise=0.1,
        annealing=(0.1, 0.5),
        extra_costs=(),
        compact_every=1,
        max_epochs=30,
        keep=None,
        relax_epochs=0,
        batch_size=32,
        lr=1e-2,
        weight_decay=1e-4,
        image_shape=None,
        image_size=None,
        augment=None,
        device="auto",
        precision="auto",
        compile="auto",
        n_threads=1,
        memory=None,
        checkpoint_seconds=1.0,
        callbacks=None,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.breadth_pressure = breadth_pressure
        self.depth_pressure = depth_pressure
        self.time_pressure = time_pressure
        self.max_channels = max_channels
        self.max_layers = max_layers
        self.max_steps = max_steps
        self.kernel_size = kernel_size
        self.downsample = downsample
        self.grow_from = grow_from
        self.growth = growth
        self.time_selection = time_selection
        self.temperature = temperature
        self.position_power = position_power
        self.noise = noise
        self.annealing = annealing
        self.extra_costs = extra_costs
        self.compact_every = compact_every
        self.max_epochs = max_epochs
        self.keep = keep
        self.relax_epochs = relax_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.image_shape = image_shape
        self.image_size = image_size
        self.augment = augment
        self.device = device
        self.precision = precision
        self.compile = compile
        self.n_threads = n_threads
        self.memory = memory
        self.checkpoint_seconds = checkpoint_seconds
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch on what may be a part of the data.

        The learning rate does not fall, for nobody knows how many calls there will be. Pressures and noise rise over
        the first `max_epochs` epochs as they do in `fit`. A fitted lattice is trained further, and pixels and y are
        scaled as in the first call, which should hold a fair part of the data. All steps stay, since a part of the data
        cannot show that none needs them.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`. Weights are relative to others of the same call.

        Returns
        -------
        self : LatticeRegressor
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X):
        """Numbers for each image: the mean, over steps or, after `halt`, each step run, of the answers after each, by
        their time-selection weights.

        Parameters
        ----------
        X
            As in `fit`.

        Returns
        -------
        ndarray of float64 of shape (n,) or (n, n_outputs)
            In the units of y, and with as many axes.
        """
        values = self._collect(X, lambda output: output.answer, self._run())
        return self.target_form_.decode(values)

    def staged_predict(self, X):
        """Numbers after each step.

        Parameters
        ----------
        X
            As in `fit`.

        Yields
        ------
        ndarray of float64 of shape (n,) or (n, n_outputs)
            `max_steps` of them. A step that was removed repeats the answer of the last one that is left.
        """
        values = self._collect(X, lambda output: output.step_values)
        for step in range(values.shape[1]):
            yield self.target_form_.decode(values[:, step])

    @property
    def target_mean_(self):
        return self._of_outputs(self.target_form_.mean)

    @property
    def target_std_(self):
        return self._of_outputs(self.target_form_.std)

    def _of_outputs(self, numbers):
        return float(numbers[0]) if self.target_form_.one_axis else numbers

    def _check_y(self, y):
        """y as float64, of shape (n,) or (n, n_outputs)."""
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
        if y.dtype.kind not in "biuf" and not (y.dtype == object and all(isinstance(item, Real) for item in y.flat)):
            found = f"dtype {y.dtype}" if y.dtype != object else "objects that are no numbers"
            raise ValueError(f"y holds {found}, and LatticeRegressor answers with numbers. Give numbers.")
        return check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")

    def _target_set(self, images, y, weights, learn, weigh_classes=None):
        """The training set with standardized numbers, by a scale that is learned or known.

        The scale is that of the canonical form, so that a weight of two and the image twice come to the same bits.
        """
        data = make_training_set(images, y.reshape(len(y), -1), weights)
        if learn:
            self.target_form_ = NumberTargets.learn(data.targets, data.sample_weight, y.ndim == 1)
        return replace(data, targets=self.target_form_.encode(data.targets))

    def _chance(self):
        """The R2 of predicting the mean."""
        return 0.0

    def _thresholds(self):
        """Thresholds that `halt` tries."""
        return movement_thresholds()

    def _step_scores(self, answers, data):
        """What the answer after each step adds to R2."""
        answers, targets = torch.from_numpy(answers).double(), torch.from_numpy(data.targets)
        weight = None if data.sample_weight is None else torch.from_numpy(data.sample_weight)
        task, unit = self.lattice_.task, self.lattice_.task.unit(targets, weight)
        steps = [task.image_scores(HaltedOutput(answer, None), targets, unit) for answer in answers.unbind(dim=1)]
        return torch.stack(steps, dim=1).numpy()

    def _bounded_scores(self, answers, data):
        """The same with the variance of the training set, which does not depend on the images given, and with squared
        errors of `MOST_ERROR` of it at most; and the least that any can be."""
        squares = (answers.astype(np.float64) - data.targets[:, None]) ** 2
        varies = np.ptp(data.targets, axis=0) > 0
        return np.where(varies, 1 - np.minimum(squares, MOST_ERROR), 0.0).mean(axis=2), 1 - MOST_ERROR
