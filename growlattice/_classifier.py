"""The estimator: it validates, seeds and assembles, and leaves the work to the files below it."""

import copy
from contextlib import contextmanager, nullcontext
from functools import partial
from numbers import Real
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import assert_all_finite, check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ._batches import Batches
from ._costs import error_cost
from ._device import PRECISIONS, choose_device, choose_precision, cpu_threads, gpu_memory, prediction_batch_size
from ._images import (
    as_pixels,
    as_size,
    channels_first,
    is_image_list,
    read_images,
    resize,
    shape_of_rows,
)
from ._lattice import Lattice
from ._memory import Entry, deciding_callbacks, fit_key
from ._net import LatticeNet, check_finite, history_frame, seeded_generator, stopped_early
from ._parameters import CONSTRAINTS, check_parameters, name_extra_costs
from ._persistence import load_classifier, save_classifier
from ._pruning import compact_net, prune_lattice
from ._training_set import TrainingSet, make_training_set, pixel_statistics

DOCUMENTATION = "https://growlattice.readthedocs.io/en/latest"


class LatticeClassifier(CallbackSupportMixin, ClassifierMixin, BaseEstimator):
    """Recurrent convolutional classifier that grows in breadth, depth and time as far as it pays.

    The network is a lattice of channels (breadth), layers (depth) and recurrent steps (time). Training pays for
    errors and, at the prices given here, for each of the three resources, so what is left of the lattice is as large
    as the task and the prices make it.

    Parameters
    ----------
    breadth_pressure : float, default=0.0
        Price of channels. What it is charged on is about 1 for a fresh lattice.
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
        output on a batch (:class:`~growlattice._lattice.LatticeOutput`) and returns a scalar tensor.
    compact_every : int, default=1
        Epochs after which training goes on without the channels, layers and trailing steps that the pressures have
        brought to nothing, and so faster. None keeps everything until `prune`. See :doc:`/concepts/resources`.
    max_epochs : int, default=30
        Passes over the training images.
    batch_size : int, default=32
        Most images in a training batch.
    lr : float, default=1e-2
        Learning rate of AdamW at the start; it falls to 0 along a cosine.
    weight_decay : float, default=1e-4
        Weight decay of AdamW.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, as in scikit-learn.
    image_shape : tuple of int, default=None
        (channels, height, width) of the image in each row of a two-dimensional X. Without it, a row whose length is
        the square of 8 or more is a square grey image, and any other row is one pixel with a channel for each feature.
    image_size : int or tuple of int, default=None
        Side, or (height, width), that images are resized to, with antialiasing, before anything else.
    augment : callable, default=None
        Takes and returns a batch of training images, a tensor of shape (n_images, channels, height, width) in the
        units and dtype of X. A transform of `torchvision.transforms.v2` works; what it draws from torch's generator is
        seeded by `random_state`.
    device : str or torch.device, default="auto"
        "auto" takes a GPU where there is one.
    precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        "bfloat16" runs convolutions under autocast; "auto" is that on a GPU which has it, and else float32.
    n_threads : int, default=1
        Threads to compute with on the CPU. Another number rounds sums otherwise, so what a fit comes to would depend
        on the machine, and in a search on `n_jobs`, if it were not set here. Small lattices gain little from a second
        thread, and searches more from workers. None takes as many as torch is set to.
    memory : str or os.PathLike, default=None
        Folder of finished fits. A fit that is equal in parameters, data, seed and code to one in there is read and not
        trained, and one that was interrupted goes on from its last checkpoint. Needs a `random_state`; only `fit` uses
        it, not `partial_fit`. See :doc:`/sweeps`.
    checkpoint_seconds : float, default=1.0
        Seconds of training after which, at the end of an epoch, an unfinished fit leaves a checkpoint in `memory`.
    callbacks : list of skorch callbacks, default=None
        Called in training with the skorch net, as in skorch; those of scikit-learn are set with `set_callbacks`. They
        can monitor the columns of `history_`; there is no validation set. An `LRScheduler` takes the place of the
        cosine, and an `EarlyStopping` ends training; any other KeyboardInterrupt undoes the fit.
    warm_start : bool, default=False
        Whether `fit` goes on from the lattice of the last fit, whose form and classes then stay as they are; the
        schedule and the history start anew.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, shuffling, noise and augmentation. The same integer gives, on the same CPU, the same
        result bit for bit, and no global generator is touched.
    verbose : int, default=0
        1 prints a line for each epoch: accuracy, costs and time used.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    n_features_in_ : int
        Numbers in each row, or in each image of an array before it is resized.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X is a data frame whose columns all have strings for names.
    image_shape_ : tuple of int
        (channels, height, width) of the images as the lattice sees them.
    net_ : LatticeNet
        The fitted skorch net.
    lattice_ : Lattice
        The fitted torch module.
    history_ : DataFrame
        A row for each epoch: means over the training images, while training, of `accuracy`, `train_loss`, the costs
        `error` and `time`, and `time_used` in steps; the costs `breadth` and `depth` at its end; and seconds, `dur`.
    time_used_ : float
        Steps used, averaged over the training images, after the last epoch, without noise; after `prune`, over the
        images it was given.
    costs_ : dict
        The costs "error", "breadth", "depth" and "time" of the fitted lattice on the same images, before pressures are
        applied.
    channel_magnitude_ : ndarray of shape (max_layers, max_channels)
        Mean absolute weight that writes each channel, 1 on average before training and 0 where it was removed.
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
    resources_ : DataFrame
        Written by `prune`: layers, channels of each layer, steps, parameters, multiply-accumulates per image and
        accuracy on the images given, in the rows "before" and "after".
    device_ : str
        Where the lattice is.

    References
    ----------
    Butkus, Garzón Gupta, Kriegeskorte (2026). Growing a Neural Network in Breadth, Depth, and Time. arXiv 2605.25174.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from growlattice import LatticeClassifier
    >>> X, y = load_digits(n_class=2, return_X_y=True)
    >>> clf = LatticeClassifier(time_pressure=0.5, max_channels=4, max_layers=2, max_epochs=10, random_state=0)
    >>> clf.fit(X[:200], y[:200]).score(X[200:], y[200:]) > 0.9
    True
    >>> clf.time_used(X[200:]).shape  # steps, for each image
    (160,)
    """

    _parameter_constraints = CONSTRAINTS
    # scikit-learn's HTML of the estimator links here
    _doc_link_module = "growlattice"
    _doc_link_template = f"{DOCUMENTATION}/api/generated/{{estimator_module}}.{{estimator_name}}.html"

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
        time_selection="adaptive",
        temperature=5.0,
        position_power=4.0,
        noise=0.1,
        annealing=(0.1, 0.5),
        extra_costs=(),
        compact_every=1,
        max_epochs=30,
        batch_size=32,
        lr=1e-2,
        weight_decay=1e-4,
        class_weight=None,
        image_shape=None,
        image_size=None,
        augment=None,
        device="auto",
        precision="auto",
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
        self.time_selection = time_selection
        self.temperature = temperature
        self.position_power = position_power
        self.noise = noise
        self.annealing = annealing
        self.extra_costs = extra_costs
        self.compact_every = compact_every
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.class_weight = class_weight
        self.image_shape = image_shape
        self.image_size = image_size
        self.augment = augment
        self.device = device
        self.precision = precision
        self.n_threads = n_threads
        self.memory = memory
        self.checkpoint_seconds = checkpoint_seconds
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Train a lattice.

        Parameters
        ----------
        X : array-like, DataFrame or list of images
            Rows of numbers, of shape (n, features); images, of shape (n, height, width), (n, height, width, channels)
            or (n, channels, height, width) with 1, 3 or 4 channels; or a list or column of PIL images or of paths.
        y : array-like of shape (n,)
            Labels of any kind that scikit-learn takes.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images, not negative. A weight of 0 leaves an image out. Up to 1,000 images, a weight of 2 is
            exactly the image twice; above that, it is so on average.

        Returns
        -------
        self : LatticeClassifier
        """
        check_parameters(self)
        context = self._init_callback_context(max_subtasks=self.max_epochs)
        task = {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
        with _all_or_nothing(self), gpu_memory(self.batch_size), cpu_threads(self.n_threads):
            context.call_on_fit_task_begin(estimator=self, **task)
            again = self.warm_start and hasattr(self, "net_")
            if not again:
                vars(self).pop("resources_", None)
            data = self._training_set(X, y, sample_weight, again)
            seed, start = self._seed(), self.lattice_ if again else None
            train = partial(self._fit_from, data, seed, start, report=partial(_epoch_task, self, context, task))
            if self.memory is None:
                train()
            else:
                self._remember(train, data, seed, start)
            context.call_on_fit_task_end(estimator=self, **task, reconstruction_attributes={})
        return self

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch on what may be a part of the data.

        The learning rate stays at `lr`, for nobody knows how many calls there will be. Pressures and noise rise over
        the first `max_epochs` epochs as they do in `fit`. A fitted lattice goes on from where it
        is, and pixels are normalized as in the first call.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come, needed in the first call if its y does not hold them all.

        Returns
        -------
        self : LatticeClassifier
        """
        check_parameters(self)
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight='balanced' does not work with partial_fit, which sees a part of the data. "
                "Give the weights as a dict."
            )
        with _all_or_nothing(self), gpu_memory(self.batch_size), cpu_threads(self.n_threads):
            again = hasattr(self, "net_")
            data = self._training_set(X, y, sample_weight, again, classes)
            if again:
                self.net_ = self._make_net(copy.deepcopy(self.lattice_), self.net_.seed).go_on_from(self.net_)
            else:
                seed = self._seed()
                self.net_ = self._make_net(self._make_lattice(data, seed), seed)
            self._train(data, len(self.net_.history) + 1, decay=False)
            self._describe(data)
        return self

    def predict(self, X):
        """Most probable label of each image.

        Parameters
        ----------
        X
            As in `fit`.

        Returns
        -------
        ndarray of shape (n,)
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X):
        """Probabilities of the classes: the mixture, over steps, of the answers after each.

        Parameters
        ----------
        X
            As in `fit`.

        Returns
        -------
        ndarray of shape (n, n_classes)
        """
        return self._probas(self._answer(X, lambda output: output.log_probas))

    def staged_predict_proba(self, X):
        """Probabilities of the classes after each step.

        Parameters
        ----------
        X
            As in `fit`.

        Yields
        ------
        ndarray of shape (n, n_classes)
            As many as the lattice has steps.
        """
        log_probas = self._answer(X, lambda output: output.step_log_probas)
        for step in range(log_probas.shape[1]):
            yield self._probas(log_probas[:, step])

    def time_weights(self, X):
        """How much the answer after each step counts, for each image.

        Parameters
        ----------
        X
            As in `fit`.

        Returns
        -------
        ndarray of shape (n, n_steps)
            Each row sums to 1.
        """
        return self._answer(X, lambda output: output.weights)

    def time_used(self, X):
        """Steps used for each image: the mean step under its time-selection weights.

        Parameters
        ----------
        X
            As in `fit`.

        Returns
        -------
        ndarray of shape (n,)
            Between 1 and the number of steps.
        """
        return _mean_step(self.time_weights(X))

    def prune(self, X, y, keep=0.98, trim_steps=True):
        """Remove the channels, layers and trailing steps that accuracy on some images does not need.

        What is left is the smallest sub-network that keeps the share `keep` of the accuracy above chance,
        ``chance + keep * (accuracy - chance)``, without any fine-tuning. A channel survives if its magnitude exceeds
        one threshold, found by bisection; layers above an emptied one go too. Trailing steps are removed under the same
        criterion, once after the channels and once before them, and the cheaper outcome in multiply-accumulates is
        kept. Give images that the final test does not use.

        Parameters
        ----------
        X, y
            Images and labels, as in `fit`.
        keep : float, default=0.98
            Share of the accuracy above chance to keep, from 0 to 1.
        trim_steps : bool, default=True
            Whether to remove steps. The time-selection weights of those left are computed from their scores alone.

        Returns
        -------
        self : LatticeClassifier
            With a smaller `lattice_`; a report is in `resources_`.

        Raises
        ------
        ValueError
            If the accuracy on X is not above chance, so that there is nothing to keep.

        References
        ----------
        Butkus, Garzón Gupta, Kriegeskorte (2026), section 3.4.
        """
        check_is_fitted(self)
        check_parameters(self)
        if not (isinstance(keep, Real) and 0 <= keep <= 1):
            raise ValueError(
                f"keep={keep!r} must be a number from 0 to 1: the share of the accuracy above chance to keep."
            )
        images, y = self._images(X, reset=False), _as_labels(y)
        check_consistent_length(images, y)
        self._set_classes(y, None, again=True)
        full, chance = self.lattice_, 1 / len(self.classes_)

        def accuracy(lattice):
            (log_probas,) = self._respond(images, lambda output: (output.log_probas,), lattice)
            return float(np.mean(self.classes_[self._probas(log_probas).argmax(axis=1)] == y))

        before = accuracy(full)
        if before <= chance and len(self.classes_) > 1:
            raise ValueError(
                f"The accuracy on the images given is {before:.3f}, not above the chance level of {chance:.3f}. "
                "Train the lattice further, or check that X and y belong to the task it was fitted on."
            )
        target = chance + keep * (before - chance)

        def is_enough(lattice):
            return accuracy(lattice) >= target

        pruned = prune_lattice(full, is_enough, trim_steps, self._report)
        with _all_or_nothing(self):
            self.net_ = self._make_net(pruned, self.net_.seed).go_on_from(self.net_, moments=False)
            rows = {"before": _resources(full, before), "after": _resources(pruned, accuracy(pruned))}
            self.resources_ = pd.DataFrame.from_dict(rows, orient="index")
            self._describe(TrainingSet(images, np.searchsorted(self.classes_, y), None))
        return self

    def save(self, path):
        """Write the fitted classifier to one file, without pickle.

        Parameters that are code or hold it (`callbacks`, `augment`, `extra_costs`, a RandomState) are left out, with
        a warning; the file at `path`, if there was one, is replaced only when the new one is whole.

        Parameters
        ----------
        path : str or os.PathLike
            File to write; safetensors, with the rest as JSON in its header.

        See Also
        --------
        load : Read the file.
        """
        check_is_fitted(self)
        save_classifier(self, path)

    @classmethod
    def load(cls, path, device="auto"):
        """Read a classifier that `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike
        device : str or torch.device, default="auto"
            Where to put it, whatever it was fitted on.

        Returns
        -------
        LatticeClassifier
            Fitted.

        Raises
        ------
        ValueError
            If the file is damaged, of another kind, or of a newer format. No code in the file is run.
        """
        return load_classifier(cls, path, device)

    @property
    def lattice_(self):
        return self.net_.module_

    @property
    def device_(self):
        return str(self.lattice_.pixel_mean.device)

    @property
    def channel_magnitude_(self):
        return self.lattice_.channel_magnitude().detach().cpu().numpy()

    @property
    def n_parameters_(self):
        return sum(parameter.numel() for parameter in self.lattice_.parameters())

    @property
    def channel_mask_(self):
        return self.lattice_.mask.cpu().numpy()

    @property
    def layers_used_(self):
        return int(self.channel_mask_.any(axis=1).sum())

    @property
    def channels_used_(self):
        return float(self.channel_mask_.sum() / self.layers_used_)

    @property
    def macs_per_image_(self):
        return self.lattice_.macs()

    def __repr__(self, N_CHAR_MAX=700):
        text = super().__repr__(N_CHAR_MAX)
        if not hasattr(self, "net_"):
            return text
        return (
            f"{text}  # fitted: {self.layers_used_} of {self.lattice_.n_layers} layers, {self.channels_used_:.1f} of "
            f"{self.lattice_.n_channels} channels, {self.time_used_:.2f} of {self.lattice_.n_steps} steps, "
            f"{self.n_parameters_:,} parameters, {self.macs_per_image_:,} multiply-accumulates per image"
        )

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _images(self, X, reset):
        """X as an array of shape (n_images, *image_shape_), checked against the last fit unless `reset`."""
        size = as_size(self.image_size) if reset else self.image_size_
        shape = self.image_shape if reset else self.input_shape_
        if reset:
            vars(self).pop("feature_names_in_", None)
        listed = is_image_list(X)
        if listed:
            images = read_images(X, n_channels=shape and shape[0], image_size=size)
        elif _n_axes(X) in (3, 4):
            images = channels_first(check_array(X, allow_nd=True), self.image_shape)
        else:
            rows = validate_data(self, X, reset=reset)
            images = rows.reshape(len(rows), *shape_of_rows(rows.shape[1], shape))
        if reset:
            self._set_input_shape(images.shape[1:], size, as_given=not (listed and size))
        images = as_pixels(images)
        if size is not None:
            images = resize(images, size)
        if images.shape[1:] != self.image_shape_:
            raise ValueError(
                f"X holds images of shape {images.shape[1:]}, but {type(self).__name__} was fitted on images of "
                f"shape {self.image_shape_} (channels, height, width). Give images of that shape."
            )
        return images

    def _set_input_shape(self, shape, size, as_given):
        if self.image_shape is not None and as_given and shape != tuple(self.image_shape):
            raise ValueError(
                f"X holds images of shape {shape}, but image_shape={tuple(self.image_shape)}. "
                "Leave image_shape out, or give the shape (channels, height, width) that X has."
            )
        if size is not None and shape[1:] == (1, 1):
            raise ValueError(
                f"image_size={self.image_size} cannot resize rows of {shape[0]} features, which are no square image. "
                "Give image_shape=(channels, height, width) whose product is X.shape[1]."
            )
        if 0 in shape:
            raise ValueError(
                f"X holds images of shape {shape} (channels, height, width), without pixels. Give larger ones."
            )
        self.input_shape_, self.image_size_ = shape, size
        self.n_features_in_ = int(np.prod(shape))
        self.image_shape_ = shape if size is None else (shape[0], *size)

    def _training_set(self, X, y, sample_weight, again, classes=None):
        """The training set that X, y and sample_weight are, without what has no weight; sets `classes_`."""
        images = self._images(X, reset=not again)
        y = _as_labels(y)
        check_consistent_length(images, y, sample_weight)
        weights = _check_sample_weight(sample_weight, images, dtype=np.float64, ensure_non_negative=True)
        kept = weights > 0
        if not kept.all():
            images, y, weights = images[kept], y[kept], weights[kept]
        self._set_classes(y, classes, again)
        labels = np.searchsorted(self.classes_, y)
        return make_training_set(images, labels, weights, self.classes_, self.class_weight)

    def _set_classes(self, y, classes, again):
        """Set `classes_`, or check y against those that are set."""
        found = np.unique(y)
        if not again:
            self.classes_ = found if classes is None else np.unique(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes={classes!r} differ from those of the first call, {self.classes_!r}.")
        unknown = np.setdiff1d(found, self.classes_)
        if len(unknown):
            raise ValueError(
                f"y holds the classes {unknown!r}, which the lattice was not made for: {self.classes_!r}. "
                "Give all classes in the first call, or fit with warm_start=False."
            )

    def _make_lattice(self, data, seed):
        """A fresh lattice for the training set."""
        lattice = Lattice(
            self.image_shape_,
            max(2, len(self.classes_)),
            n_channels=self.max_channels,
            n_layers=self.max_layers,
            n_steps=self.max_steps,
            kernel_size=self.kernel_size,
            time_selection=self.time_selection,
            temperature=self.temperature,
            generator=seeded_generator(seed),
        )
        mean, std = pixel_statistics(data.images, data.sample_weight)
        lattice.pixel_mean += torch.from_numpy(mean)[:, None, None]
        lattice.pixel_std *= torch.from_numpy(std)[:, None, None]
        return lattice

    def _report(self, line):
        if self.verbose:
            print(line)

    def _seed(self):
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _make_net(self, lattice, seed):
        """A skorch net that trains the lattice as the parameters say."""
        device = choose_device(self.device)
        dtype, autocast = PRECISIONS[choose_precision(self.precision, device)]
        names = name_extra_costs(self.extra_costs)
        extra_pressures = {name: pressure for name, (_, pressure) in zip(names, self.extra_costs, strict=True)}
        return LatticeNet(
            lattice.to(dtype),
            pressures={
                "breadth": self.breadth_pressure,
                "depth": self.depth_pressure,
                "time": self.time_pressure,
                **extra_pressures,
            },
            extra_costs={name: cost for name, (cost, _) in zip(names, self.extra_costs, strict=True)},
            position_power=self.position_power,
            noise=self.noise,
            annealing=tuple(self.annealing),
            seed=seed,
            autocast=autocast,
            lr=self.lr,
            optimizer__weight_decay=self.weight_decay,
            optimizer__fused=True,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            callbacks=list(self.callbacks or []),
            device=device,
            verbose=self.verbose,
        ).initialize()

    def _fit_from(self, data, seed, start, report, entry=None):
        """Train a fresh lattice, or one to start from, over all epochs; returns what `_train` does."""
        lattice = self._make_lattice(data, seed) if start is None else copy.deepcopy(start)
        self.net_ = self._make_net(lattice, seed)
        if entry is not None:
            entry.read_checkpoint(self)
        whole = self._train(data, self.max_epochs, decay=True, report=report, entry=entry)
        self._describe(data)
        return whole

    def _remember(self, train, data, seed, start):
        """Read the fit from `memory`, or train and store it there."""
        entry = Entry(self.memory, fit_key(self, data, seed, start), self.checkpoint_seconds, self._report)
        if entry.read_finished(self):
            return
        deciding = deciding_callbacks(self)  # they may have a state that no checkpoint knows
        whole = train(entry=None if deciding else entry)
        if whole:
            entry.finish(self, len(data.images))
        else:
            entry.give_up()
        self.net_.initialize_optimizer()  # as after reading: a fit leaves the same behind, trained or read

    def _train(self, data, last_epoch, decay, report=nullcontext, entry=None):
        """Train up to an epoch; returns False if a callback of scikit-learn's, which no key knows, ended it before."""
        net, whole = self.net_, True
        batches = Batches(*data, batch_size=self.batch_size, device=net.device, augment=self.augment)
        net.notify("on_train_begin", X=data.images, y=data.labels)
        try:
            for epoch in range(len(net.history), last_epoch):
                start, end = min(epoch / self.max_epochs, 1.0), min((epoch + 1) / self.max_epochs, 1.0)
                with report() as reply:
                    net.train_epoch(batches, start, end, decay)
                    if self.compact_every and (epoch + 1) % self.compact_every == 0:
                        compact_net(net)
                if entry is not None:
                    entry.after_epoch(net)
                if reply is not None and reply.stop and epoch + 1 < last_epoch:
                    whole = False
                    break
        except KeyboardInterrupt:
            if not stopped_early(net):
                raise
        net.notify("on_train_end", X=data.images, y=data.labels)
        return whole

    def _describe(self, data):
        """Set the attributes that say what training came to, on the training images, without noise."""
        images, labels, sample_weight = data
        log_probas, time_weights = self._respond(images, lambda output: (output.log_probas, output.weights))
        if sample_weight is not None:
            sample_weight = sample_weight / sample_weight.mean()
        error = error_cost(
            *(None if array is None else torch.from_numpy(array) for array in (log_probas, labels, sample_weight))
        )
        with torch.no_grad():
            space = {name: float(cost) for name, cost in self.net_.space_costs().items()}
        self.time_used_ = float(np.average(_mean_step(time_weights), weights=sample_weight))
        self.costs_ = {"error": float(error), **space, "time": self.time_used_ / self.lattice_.n_steps}
        check_finite(self.costs_, len(self.net_.history), self.lr)
        self.history_ = history_frame(self.net_)

    def _respond(self, images, read, lattice=None):
        """What `read` takes from the lattice's output on each batch, a tuple of tensors, as arrays over all images."""
        lattice = lattice or self.lattice_
        batch_size = prediction_batch_size(self.image_shape_, lattice.widest, self.net_.device)
        batches = Batches(images, batch_size=batch_size, device=self.net_.device)
        arrays, done = None, 0
        with cpu_threads(self.n_threads):
            for output in self.net_.outputs(batches, lattice):
                parts = [tensor.cpu().numpy() for tensor in read(output)]
                if arrays is None:  # filled in place: kept parts would scatter over the heap and hold it
                    arrays = [np.empty((len(images), *part.shape[1:]), part.dtype) for part in parts]
                for array, part in zip(arrays, parts, strict=True):
                    array[done : done + len(part)] = part
                done += len(parts[0])
        return arrays

    def _answer(self, X, read):
        """One array that `read` takes from the lattice's output on the images of a user's X."""
        check_is_fitted(self)
        (array,) = self._respond(self._images(X, reset=False), lambda output: (read(output),))
        return array

    def _probas(self, log_probas):
        # A lattice fitted on one class has a second logit, which nothing stands for.
        return np.exp(log_probas) if len(self.classes_) > 1 else np.ones_like(log_probas[:, :1])


@contextmanager
def _all_or_nothing(estimator):
    """Put an estimator back as it was if what is inside fails or is interrupted."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


@contextmanager
def _epoch_task(estimator, context, task):
    """Tell scikit-learn's callbacks that an epoch begins and ends; their wish to stop is in the reply's `stop`."""
    reply = SimpleNamespace(stop=False)
    epoch = context.subcontext(task_name="epoch")
    epoch.call_on_fit_task_begin(estimator=estimator, **task)
    yield reply
    # The estimator holds all that it needs to predict; scikit-learn hands callbacks a copy of it.
    reply.stop = epoch.call_on_fit_task_end(estimator=estimator, **task, reconstruction_attributes={})


def _as_labels(y):
    if y is None:
        raise ValueError(
            "LatticeClassifier requires y to be passed, but the target y is None. Give a label for each image."
        )
    y = column_or_1d(y, warn=True)
    assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    return y


def _resources(lattice, accuracy):
    channels = [int(count) for count in lattice.mask.sum(dim=1) if count]
    return {
        "layers": len(channels),
        "channels": channels,
        "steps": lattice.steps_left,
        "parameters": sum(parameter.numel() for parameter in lattice.parameters()),
        "macs": lattice.macs(),
        "accuracy": accuracy,
    }


def _mean_step(time_weights):
    return time_weights @ np.arange(1, time_weights.shape[1] + 1, dtype=time_weights.dtype)


def _n_axes(X):
    return X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim
