"""Base class of the estimators: fit and its steps. A subclass defines the task."""

import copy
import warnings
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from numbers import Integral
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from .._storage._fit import describe_estimator
from .._storage._key import deciding_callbacks, fit_key
from .._storage._memory import Entry
from .._training._batches import Batches
from .._training._callbacks import check_monitors, stopped_early
from .._training._compaction import compact_net
from .._training._device import gpu_memory, own_torch, warn_of_slow_precision
from .._training._expressivity import draw_by_gain, expressivity
from .._training._growth import as_line, draw_fresh, first_form, grow_net
from .._training._history import check_finite
from .._training._images import as_size
from .._training._inference import measure
from .._training._input_form import InputForm
from .._training._net import seeded_generator
from .._training._training_set import pixel_statistics, warn_of_far_pixels, without_absent
from .._version import DOCUMENTATION
from ..lattice import Lattice
from ..lattice._costs import REFERENCE_STEPS
from ..lattice._resolution import layer_factors
from ._fitted import FITTED, MEASURED, FittedLattice, restored_on_error
from ._parameters import CONSTRAINTS, check_parameters, history_columns
from ._summary import fit_record

GROWTH_STREAM = 4  # of random numbers of an epoch, beside those of LatticeNet.train_batches


class BaseLatticeEstimator(CallbackSupportMixin, FittedLattice):
    """A lattice behind scikit-learn's interface.

    A subclass has the parameters and documents them, names its `_task`, and says what it makes of y (`_check_y`,
    `_target_set`) and of the lattice's output.
    """

    _parameter_constraints = CONSTRAINTS
    # scikit-learn's HTML of the estimator links here, if there is a place to link to
    _doc_link_module = DOCUMENTATION and "growlattice"
    _doc_link_template = f"{DOCUMENTATION}/api/generated/{{estimator_module}}.{{estimator_name}}.html"

    @with_callbacks
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None):
        """Train a lattice.

        Parameters
        ----------
        X : array-like, DataFrame or list of images
            Rows of numbers, of shape (n, features); images, of shape (n, height, width), (n, height, width, channels)
            or (n, channels, height, width) with 1, 3 or 4 channels; or a list or column of PIL images or of paths.
        y : array-like of shape (n,) or (n, n_outputs)
            What to answer: for a classifier, labels of any kind that scikit-learn takes, one for each image; for a
            regressor, numbers.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images, not negative. A weight of 0 leaves an image out. Up to 1,000 images, a weight of 2 is
            exactly the image twice; above that, it is so on average.
        X_val, y_val : array-like, default=None
            Images and answers to measure the lattice on after each epoch. `history_` then has the columns `valid_error`
            and `valid_accuracy` or, of a regressor, `valid_r2`, which callbacks can monitor. They change nothing else.
            As in `score`, all images count alike, whatever `class_weight` is.

        Returns
        -------
        self : estimator
        """
        check_parameters(self)
        context = self._init_callback_context(max_subtasks=self.max_epochs + self.relax_epochs)
        task = {"X": X, "y": y, "metadata": None if sample_weight is None else {"sample_weight": sample_weight}}
        with restored_on_error(self), gpu_memory(self.batch_size), own_torch(self.n_threads):
            context.call_on_fit_task_begin(estimator=self, **task)
            start = copy.deepcopy(self.lattice_) if self.warm_start and hasattr(self, "net_") else None
            self._forget_fit((*MEASURED, "resources_") if start else FITTED)
            data = self._training_set(X, y, sample_weight, learn=start is None)
            if start is not None:
                self._check_form_of(start)
            validation = self._validation_set(X_val, y_val)
            self._fit(data, validation, start, partial(_epoch_task, self, context, task))
            context.call_on_fit_task_end(estimator=self, **task, reconstruction_attributes={})
        return self

    def _partial_fit(self, X, y, sample_weight, **options):
        """Train for one epoch; `options` are those of `_target_set`."""
        check_parameters(self)
        with restored_on_error(self), gpu_memory(self.batch_size), own_torch(self.n_threads):
            first = not hasattr(self, "net_")
            if first and self.grow_from is not None:
                raise ValueError(
                    f"grow_from={self.grow_from!r} does not work with partial_fit, which does not know how long "
                    "training will be. Call fit first, after which partial_fit trains what has grown, or give "
                    "grow_from=None."
                )
            self._take_back_halting("partial_fit")
            self._forget_fit(MEASURED)
            data = self._training_set(X, y, sample_weight, learn=first, **options)
            if first:
                seed = self._seed()
                self.net_ = self._make_net(self._make_lattice(data, seed), seed)
            else:
                self._check_form_of(self.lattice_)
                self.net_ = self._net_of(self._trained(lattice=copy.deepcopy(self.lattice_)))
            self._check_monitors(validated=False)
            data, done = self._upload(data), sum(not row["relaxing"] for row in self.net_.history)
            self._train(data, None, range(done, done + 1), max(self.max_epochs, 1), decay=False, trim_steps=False)
            self._describe(data)
        return self

    def relax(self, X, y, sample_weight=None, *, epochs=15, X_val=None, y_val=None):
        """Train what is left of the lattice further, without prices, and remove nothing.

        Prices shrink what they leave, and pruning takes a little of what it needs, so a lattice that is cut is better
        after this: `prune` may cut much deeper where `relax` follows.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val
            As in `fit`.
        epochs : int, default=15
            Passes over the images, added to `history_`. The learning rate takes its course once more: it comes to what
            the size asks for and falls to 0. So does the noise: it rises anew.

        Returns
        -------
        self : estimator

        Warns
        -----
        UserWarning
            If `halt` was called before, which is taken back.

        References
        ----------
        Hastie, Tibshirani, Tibshirani (2020). Best subset, forward stepwise or lasso? Section 2 (relaxed lasso).
        """
        check_is_fitted(self)
        check_parameters(self)
        if not (isinstance(epochs, Integral) and epochs > 0):
            raise ValueError(f"epochs={epochs!r} must be a whole number from 1 up.")
        with restored_on_error(self), gpu_memory(self.batch_size), own_torch(self.n_threads):
            self._check_form_of(self.lattice_)
            self._take_back_halting("relax")
            self._forget_fit(MEASURED)
            data = self._training_set(X, y, sample_weight, learn=False)
            validation = self._validation_set(X_val, y_val)
            start = replace(self._trained(lattice=copy.deepcopy(self.lattice_)), moments={})
            self.net_ = self._net_of(start)
            self._check_monitors(validation is not None)
            data, validation = self._upload(data), validation and self._upload(validation)
            self._train(data, validation, range(epochs), epochs, relaxing=True)
            self._describe(data)
            self.net_.initialize_optimizer()
        return self

    def expressivity(self, X, y, sample_weight=None, *, n_channels=8):
        """What each layer's readers want and no weight of theirs can bring about, and what new channels would gain.

        Readers are the kernels above, beside and below a layer, the readout and time selection. What they want is minus
        the gradient of the error cost at their drives.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`. All activities of all images are held at once, so some hundreds are a good number.
        n_channels : int, default=8
            How many new channels `gain` is of.

        Returns
        -------
        DataFrame
            A row for each `layer`, whose `resource` is "channels", and one for a new layer on top, "layers", if there
            may be one. `unreachable` is the share, from 0 to 1, of the sum of squares of what its readers want that is
            left after regression on what they read. `gain` is how fast the error cost falls, to first order, with the
            norm of the outgoing weights of the best new channels, whose drives have a mean square of 1; `best_gain`
            is that of one channel.

        See Also
        --------
        growlattice.inspection.ExpressivityDisplay : Draws it.
        """
        check_is_fitted(self)
        if not (isinstance(n_channels, Integral) and n_channels > 0):
            raise ValueError(f"n_channels={n_channels!r} must be a whole number from 1 up.")
        data = self._training_set(X, y, sample_weight, learn=False)
        with own_torch(self.n_threads):
            place = self.lattice_.pixel_mean.device
            return pd.DataFrame(expressivity(self.lattice_, data.upload(place, torch.float64), n_channels))

    def _fit(self, data, validation, start, epoch_context):
        """Train on all epochs, or read from `memory` what was trained before."""
        seed = self._seed()
        entry = None
        if self.memory is not None:
            key = fit_key(self, self.input_form_, data, validation, seed, start)
            entry = Entry(self.memory, key, self.checkpoint_seconds, self._report)
            trained = entry.read_finished()
            if trained is not None:
                self._set_trained(trained)
                return
        # Callbacks such as EarlyStopping have a state that checkpoints do not store: such fits are not resumed.
        resumed = None if entry is None or deciding_callbacks(self.callbacks) else entry.read_checkpoint()
        if resumed is not None:
            self.net_ = self._net_of(resumed)
            if resumed.resources is not None:
                self.resources_ = resumed.resources
        else:
            self.net_ = self._make_net(self._make_lattice(data, seed) if start is None else start, seed)
        self._check_monitors(validation is not None)
        n_images, data, validation = len(data), self._upload(data), validation and self._upload(validation)
        checkpoints = None if deciding_callbacks(self.callbacks) else entry
        train = partial(self._train, data, validation, epoch_context=epoch_context)
        done = len(self.net_.history)
        completed = train(range(done, self.max_epochs), self.max_epochs, checkpoints=checkpoints)
        if done <= self.max_epochs:
            self._cut_after_training(data)
            self.net_.initialize_optimizer()
        relaxing = range(max(done - self.max_epochs, 0), self.relax_epochs)
        checkpoints = checkpoints if completed else None  # which tell by the number of epochs what was relaxing
        completed &= train(relaxing, self.relax_epochs, relaxing=True, checkpoints=checkpoints)
        self._describe(data)
        self.net_.initialize_optimizer()  # a fit leaves no moments behind, be it trained or read
        if entry is not None and completed:
            entry.finish(self._trained, partial(describe_estimator, self), partial(fit_record, self, n_images))
        elif entry is not None:
            entry.discard_checkpoint()

    def _train(
        self,
        data,
        validation,
        epochs,
        n_epochs,
        *,
        relaxing=False,
        decay=True,
        trim_steps=True,
        epoch_context=nullcontext,
        checkpoints=None,
    ):
        """Train for a range of epochs, out of so many that the schedule is made for.

        Returns False if a callback of scikit-learn's, which no key knows, ended it before.
        """
        net, completed = self.net_, True
        if not epochs:
            return completed
        warn_of_slow_precision(self.precision, self.lattice_.pixel_mean.device)
        batches = Batches(data, self.batch_size, self.augment)
        net.notify("on_train_begin", X=data.images, y=data.targets)
        net.resume_schedule()
        try:
            for epoch in epochs:
                start, end = min(epoch / n_epochs, 1.0), min((epoch + 1) / n_epochs, 1.0)
                with epoch_context() as reply:
                    net.train_epoch(batches, start, end, decay, validation, relaxing)
                    if self.compact_every and (epoch + 1) % self.compact_every == 0 and not relaxing:
                        compact_net(net, trim_steps)
                    if self.grow_from is not None and decay and not relaxing:
                        self._grow(n_epochs, data)
                if checkpoints is not None:
                    checkpoints.after_epoch(self._trained)
                if reply is not None and reply.stop and epoch + 1 < epochs.stop:
                    completed = False
                    break
        except KeyboardInterrupt:
            if not stopped_early(net):
                raise
        net.notify("on_train_end", X=data.images, y=data.targets)
        net.forget_schedule()
        net.update_parameters()  # a callback may have loaded the best epoch's
        return completed

    def _grow(self, n_epochs, data):
        """Extend the lattice after an epoch, if it is time to and its edge is in use."""
        generator = seeded_generator(self.net_.seed, len(self.net_.history), GROWTH_STREAM)
        draw = partial(draw_by_gain, data) if self.growth == "tiny" else draw_fresh
        for record in grow_net(self.net_, n_epochs, tuple(self.grow_from), generator, draw):
            self._report(as_line(record))

    def _describe(self, data):
        """Set the attributes that say what training came to, on the training images, without noise.

        What was trained is not lost if that fails: the numbers are then those of the last epoch, while training.
        """
        last = self.net_.history[-1]
        try:
            measured = measure(self.lattice_, data, self.net_.conv_dtype)
        except (RuntimeError, MemoryError) as error:
            warnings.warn(
                f"The fitted lattice could not be measured on the training images: {error} time_used_ and costs_ are "
                "those of the last epoch, while training.",
                stacklevel=2,
            )
            measured = {"error": last["error"], "time_used": last["time_used"]}
        with torch.no_grad():
            space = {name: float(cost) for name, cost in self.net_.space_costs().items()}
        self.time_used_ = measured["time_used"]
        self.costs_ = {"error": measured["error"], **space, "time": self.time_used_ / REFERENCE_STEPS}
        check_finite(self.costs_, len(self.net_.history), self.lr)

    def _training_set(self, X, y, sample_weight, learn, **options):
        """The training set of X, y and weights, without what has no weight; their form is learned or checked."""
        X, y, sample_weight = without_absent(X, y, sample_weight)
        images = self._learn_images(X) if learn else self._images(X)
        y = self._checked_y(y)
        check_consistent_length(images, y, sample_weight)
        weights = _check_sample_weight(sample_weight, images, dtype=np.float64, ensure_non_negative=True)
        kept = weights > 0
        if not kept.all():
            images, y, weights = images[kept], y[kept], weights[kept]
        return self._target_set(images, y, weights, learn, **options)

    def _validation_set(self, X_val, y_val):
        """X_val and y_val as a training set that is not trained on, or None."""
        if X_val is None and y_val is None:
            return None
        if X_val is None or y_val is None:
            given, missing = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
            raise ValueError(f"{given} is given, but {missing} is not. Give both or neither.")
        try:
            return self._training_set(X_val, y_val, None, learn=False, weigh_classes=False)
        except ValueError as error:
            raise ValueError(f"X_val and y_val do not fit: {error}") from error

    def _checked_y(self, y):
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None. Give what to answer for "
                "each image."
            )
        return self._check_y(y)

    def _learn_images(self, X):
        """X as images, whose form is learned."""
        self.input_form_, images = InputForm.learn(X, self.image_shape, self.image_size, self)
        return images

    # --- the lattice ---

    def _lattice_config(self):
        sizes = {f"n_{name}": getattr(self, f"max_{name}") for name in ("channels", "layers", "steps")}
        others = {name: getattr(self, name) for name in ("kernel_size", "time_selection", "temperature")}
        others["downsample"] = layer_factors(self.downsample, self.max_layers)
        answer = dict(n_outputs=self.target_form_.n_outputs, task=self._task)
        return dict(image_shape=self.image_shape_, **answer, **sizes, **others)

    def _check_form_of(self, lattice):
        """Raise a ValueError if a lattice to go on from is of another form than the parameters ask for."""
        asked, had, form = self._lattice_config(), dict(lattice.config), self.input_form_
        asked["image_size"], had["image_size"] = as_size(self.image_size), form.image_size
        if self.image_shape is not None:
            asked["image_shape"] = tuple(map(int, self.image_shape))
            had["image_shape"] = form.declared_shape or form.input_shape
        others = {name: value for name, value in had.items() if value != asked[name]}
        if others:
            raise ValueError(
                f"Training goes on from a lattice with {others}, but the parameters ask for "
                f"{ ({name: asked[name] for name in others}) }. Set them back, or fit anew with warm_start=False."
            )

    def _make_lattice(self, data, seed):
        """A fresh lattice for the training set."""
        config = self._lattice_config()
        form = {} if self.grow_from is None else first_form(config, self.grow_from)
        lattice = Lattice(**config, **form, generator=seeded_generator(seed))
        mean, std = pixel_statistics(data.images, data.sample_weight)
        if self.precision != "float64":
            warn_of_far_pixels(mean, std)
        lattice.pixel_mean += torch.from_numpy(mean)[:, None, None]
        lattice.pixel_std *= torch.from_numpy(std)[:, None, None]
        return lattice

    def _check_monitors(self, validated):
        columns = history_columns(self.extra_costs, self.lattice_.task.score_name, validated)
        check_monitors(self.net_, columns)

    def _seed(self):
        return int(check_random_state(self.random_state).randint(2**31 - 1))


@contextmanager
def _epoch_task(estimator, context, task):
    """Tell scikit-learn's callbacks that an epoch begins and ends; their wish to stop is in the reply's `stop`."""
    reply = SimpleNamespace(stop=False)
    epoch = context.subcontext(task_name="epoch")
    epoch.call_on_fit_task_begin(estimator=estimator, **task)
    yield reply
    # The estimator holds all that it needs to predict; scikit-learn hands callbacks a copy of it.
    reply.stop = epoch.call_on_fit_task_end(estimator=estimator, **task, reconstruction_attributes={})
