"""A fitted estimator: its attributes, what it says about time, and every form in which a fit is kept."""

import copy
import warnings
from contextlib import contextmanager

import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from skorch.history import History

from .._storage._file import other_errors_as_unusable, pack, read, unpack, unusable, write
from .._storage._fit import describe_estimator, describe_trained, read_params, read_trained
from .._training._compiling import compiled_run
from .._training._device import PRECISIONS, choose_device, choose_precision, own_torch
from .._training._growth import GROW_UNTIL, growth_frame
from .._training._history import history_frame, history_rows
from .._training._inference import collect
from .._training._net import LatticeNet
from .._training._trained import TrainedLattice
from ..lattice._costs import mean_step
from ._parameters import check_parameters, name_extra_costs

MEASURED = "time_used_", "costs_"
FITTED = "net_ input_form_ target_form_ n_features_in_ feature_names_in_ resources_ halting_".split() + list(MEASURED)


class FittedLattice(BaseEstimator):
    """What an estimator can do once its net is there, however it came about: trained, read or unpickled."""

    def time_weights(self, X):
        """How much the answer after each step counts, for each image.

        Parameters
        ----------
        X
            As in `fit`.

        Returns
        -------
        ndarray of shape (n, max_steps)
            Each row sums to 1; 0 for steps that were removed.
        """
        return self._collect(X, lambda output: output.weights)

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
        return self._collect(X, lambda output: mean_step(output.weights))

    def save(self, path):
        """Write the fitted estimator to one file, without pickle.

        Parameters that are code or hold it (`callbacks`, `augment`, `extra_costs`, a RandomState) are left out, with
        a warning; the file at `path`, if there was one, is replaced only when the new one is complete.

        Parameters
        ----------
        path : str or os.PathLike
            File to write; safetensors, with the rest as JSON in its header.

        See Also
        --------
        load : Read the file.
        """
        check_is_fitted(self)
        check_parameters(self)
        described = describe_estimator(self)
        if described["left_out"]:
            names = ", ".join(described["left_out"])
            warnings.warn(f"Not saved, because they are code or hold it: {names}.", stacklevel=2)
        tensors, description = describe_trained(self._trained())
        write(path, pack(tensors, description | described))

    @classmethod
    @torch.inference_mode(False)
    def load(cls, path, device="auto"):
        """Read an estimator that `save` wrote, or a fit of a memory folder.

        Parameters that the file does not hold have their defaults, with a warning.

        Parameters
        ----------
        path : str or os.PathLike
        device : str or torch.device, default="auto"
            Where to put it, whatever it was fitted on.

        Returns
        -------
        estimator
            Fitted.

        Raises
        ------
        ValueError
            If the file is damaged, of another kind, or of another format. No code in the file is run.
        """
        choose_device(device)
        tensors, description = read(path)
        trained = read_trained(path, tensors, description)
        with other_errors_as_unusable(path):
            if trained.costs is None:
                raise ValueError("it is a checkpoint")
            written_by, left_out = description["class"], ", ".join(description["left_out"])
        if written_by != cls.__qualname__:
            raise unusable(path, f"it holds a {written_by}", advice=f"Use load of {written_by}, not of {cls.__name__}.")
        if left_out:
            warnings.warn(f"Not in the file, because they are code or hold it: {left_out}.", stacklevel=2)
        with other_errors_as_unusable(path):
            estimator = cls(**read_params(description) | {"device": device})
            check_parameters(estimator)
            if trained.lattice.config["task"] != cls._task:
                raise ValueError("its lattice is for another task")
            estimator._set_trained(trained)
        return estimator

    @property
    def lattice_(self):
        return self.net_.module_

    @property
    def history_(self):
        return history_frame(self.net_)

    @property
    def growth_(self):
        return growth_frame(self.net_)

    @property
    def image_shape_(self):
        return self.input_form_.image_shape

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

    @property
    def train_macs_(self):
        return sum(row["train_macs"] for row in self.net_.history)

    def __repr__(self, N_CHAR_MAX=700):
        text = super().__repr__(N_CHAR_MAX)
        if not hasattr(self, "costs_"):  # not fitted, or in the middle of the first fit
            return text
        return (
            f"{text}  # fitted: images of {' x '.join(map(str, self.image_shape_))}, {self.layers_used_} of "
            f"{self.lattice_.n_layers} layers, {self.channels_used_:.1f} of {self.lattice_.n_channels} channels, "
            f"{self.time_used_:.2f} of {self.lattice_.n_steps} steps, {self.n_parameters_:,} parameters, "
            f"{self.macs_per_image_:,} multiply-accumulates per image"
        )

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __copy__(self):
        """A shallow copy, which shares the fitted lattice."""
        copied = type(self).__new__(type(self))
        vars(copied).update(vars(self))
        return copied

    def __getstate__(self):
        """Parameters as they are, and the fit as the bytes of a saved file: small, and loadable without CUDA."""
        state = {name: value for name, value in super().__getstate__().items() if name not in FITTED}
        if hasattr(self, "costs_"):
            state["_fit_bytes"] = pack(*describe_trained(self._trained()))
        return state

    @torch.inference_mode(False)  # of a caller, in which tensors could not be trained
    def __setstate__(self, state):
        params = {name: value for name, value in state.items() if name != "_fit_bytes"}
        super().__setstate__(params)
        if "_fit_bytes" not in state:
            return
        try:
            choose_device(self.device)
        except ValueError as error:
            warnings.warn(f"{error} The device of this {type(self).__name__} is now 'cpu'.", stacklevel=2)
            self.device = "cpu"
        self._set_trained(read_trained("the pickle", *unpack(state["_fit_bytes"], "the pickle")))

    def _make_net(self, lattice, seed):
        """A skorch net that trains the lattice as the parameters say."""
        device = choose_device(self.device)
        names = name_extra_costs(self.extra_costs)
        costs, extra_pressures = zip(*self.extra_costs, strict=True) if names else ((), ())
        built_in = {name: getattr(self, f"{name}_pressure") for name in ("breadth", "depth", "time")}
        return LatticeNet(
            lattice.to(PRECISIONS[choose_precision(self.precision, device)][0]),
            pressures=built_in | dict(zip(names, extra_pressures, strict=True)),
            extra_costs=dict(zip(names, costs, strict=True)),
            position_power=self.position_power,
            noise=self.noise,
            annealing=tuple(self.annealing),
            seed=seed,
            precision=self.precision,
            compiling=self.compile,
            growth_share=GROW_UNTIL if self.grow_from else 0.0,
            lr=self.lr,
            optimizer__weight_decay=self.weight_decay,
            optimizer__fused=True,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            callbacks=list(self.callbacks or []),
            device=str(device),
            verbose=self.verbose,
        ).initialize()

    def _net_of(self, trained):
        """A net that goes on from what was trained."""
        net = self._make_net(trained.lattice, trained.seed)
        net.history = History([{**copy.deepcopy(row), "batches": []} for row in trained.history])
        net.growth_ = copy.deepcopy(trained.growth)
        if trained.moments:
            net.set_moments(copy.deepcopy(trained.moments))
        return net

    def _trained(self, lattice=None):
        """What was trained so far, of this estimator."""
        return TrainedLattice(
            lattice=lattice or self.lattice_,
            form=self.input_form_,
            target_form=self.target_form_,
            seed=self.net_.seed,
            history=history_rows(self.net_),
            costs=getattr(self, "costs_", None),
            time_used=getattr(self, "time_used_", None),
            resources=getattr(self, "resources_", None),
            halting=getattr(self, "halting_", None),
            growth=copy.deepcopy(self.net_.growth_),
            moments=self.net_.moments(),
        )

    def _set_trained(self, trained):
        """Make this estimator the fitted one that `trained` came from."""
        self._forget_fit()
        self.input_form_, self.target_form_ = trained.form, trained.target_form
        self.n_features_in_ = trained.form.n_features
        if trained.form.feature_names is not None:
            self.feature_names_in_ = trained.form.feature_names
        self.net_ = self._net_of(trained)
        self.time_used_, self.costs_ = trained.time_used, trained.costs
        if trained.resources is not None:
            self.resources_ = trained.resources
        if trained.halting is not None:
            self.halting_ = trained.halting

    def _forget_fit(self, names=FITTED):
        self._forget_halting()
        for name in names:
            vars(self).pop(name, None)

    def _take_back_halting(self, method):
        """Take halting back with a warning, where a method of the user's changes the lattice that it is of."""
        if hasattr(self, "halting_"):
            warnings.warn(
                f"{method} takes back what halt did, for another lattice needs another threshold. Call halt again.",
                stacklevel=3,
            )
            self._forget_halting()

    def _forget_halting(self):
        """Take halting back, with what it wrote in `resources_`."""
        if vars(self).pop("halting_", None) is None:
            return
        left = self.resources_.drop(index="halted").astype({"steps": int, "macs": int})
        if list(left.index) == ["before"]:  # prune did not write it
            del self.resources_
        else:
            self.resources_ = left.dropna(axis=1, how="all")  # without the score of halting, if prune had another

    def _images(self, X):
        """X as images of the form that was learned."""
        return self.input_form_.read(X, self)

    def _upload(self, data):
        """A training set on the device of the lattice, with targets in its precision."""
        place = self.lattice_.pixel_mean
        return data.upload(place.device, place.dtype)

    def _collect(self, X, read, run=None):
        """What `read` takes from the lattice's output on the images of a user's X, as an array."""
        check_is_fitted(self)
        return self._collect_images(self._images(X), read, run)

    def _collect_images(self, images, read, run=None):
        run = run or compiled_run(self.compile, self.lattice_, len(images))
        with own_torch(self.n_threads):
            return collect(self.lattice_, images, read, self.net_.conv_dtype, run)

    def _report(self, line):
        if self.verbose:
            print(line)


@contextmanager
def restored_on_error(estimator):
    """Put an estimator back as it was if what is inside fails or is interrupted."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
