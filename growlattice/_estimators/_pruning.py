"""The smallest sub-network of a fitted lattice that is good enough.

Butkus, Garzón Gupta and Kriegeskorte (2026), section 3.4: without any fine-tuning, one threshold on the magnitudes for
the channels of all layers. Here the number of steps is chosen with it, and input channels go last.
"""

import copy
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.metrics import check_scoring
from sklearn.utils.validation import check_is_fitted

from .._training._device import gpu_memory, own_torch
from .._training._inference import collect, input_moment, measure
from .._training._training_set import without_absent
from ..lattice import Lattice, compact
from ..lattice._input_cut import cut_input, input_rank
from ..lattice._surgery import drop_unreachable_layers, score_norms
from ._fitted import restored_on_error
from ._parameters import check_above_chance, check_keep, check_parameters, warn_of_few_images
from ._summary import resources_row


def prune_lattice(lattice, is_enough, norms_of, moment_of, trim_steps, report):
    """The cheapest lattice that is enough: for each number of steps, as few channels as are.

    Steps and channels are chosen together, because whichever went first would use up all the accuracy that can be
    spared: a lattice under a time pressure has steps that it hardly needs, and one under pressures of breadth and depth
    such channels. For the number of steps that does best, input channels are weighed against channels in the same way.

    Parameters
    ----------
    lattice : Lattice
    is_enough : callable
        Takes a lattice and says whether it is good enough. The lattice itself must be.
    norms_of : callable
        Takes a lattice and returns the norms of the time-selection scores of its first 1, 2, ... steps, averaged over
        images; see :func:`growlattice.lattice._surgery.score_norms`.
    moment_of : callable
        Takes a lattice and returns the mean of its :func:`growlattice.lattice._input_cut.input_products` over images.
    trim_steps : bool
        Whether to remove steps at all.
    report : callable
        Takes a line of text for each evaluation.

    Returns
    -------
    Lattice
    """
    wide, cheapest = lattice, compact(lattice, search_mask(lattice, is_enough, report))
    fewer_steps = range(1, lattice.steps_left) if trim_steps else []
    norms = norms_of(lattice) if fewer_steps else None
    for steps in fewer_steps:
        shorter = compact(lattice, lattice.mask, steps, norms[steps - 1])
        enough = is_enough(shorter)
        report(f"{steps} of {lattice.steps_left} steps are {_verdict(enough)}")
        if enough:
            narrower = compact(shorter, search_mask(shorter, is_enough, report))
            if narrower.macs() < cheapest.macs():
                wide, cheapest = shorter, narrower
    candidates = [narrow_input(cheapest, is_enough, moment_of(cheapest), report)]
    moment = moment_of(wide)
    n_inputs = narrow_input(wide, is_enough, moment, report).inputs_left
    while n_inputs < input_rank(wide):  # from the fewest on, twice as many each time
        narrower = cut_input(wide, n_inputs, moment)
        if is_enough(narrower):
            candidates.append(compact(narrower, search_mask(narrower, is_enough, report)))
        n_inputs *= 2
    return min(candidates, key=Lattice.macs)


def search_mask(lattice, is_enough, report):
    """The smallest mask, of those that one threshold on the magnitude makes, that is enough.

    Bisection over the sorted magnitudes: as many evaluations as the number of channels has binary digits, and one.

    Parameters
    ----------
    lattice : Lattice
    is_enough : callable
        Takes a lattice and says whether it is good enough. The lattice itself must be.
    report : callable
        Takes a line of text for each evaluation.

    Returns
    -------
    tensor of bool of shape (n_layers, n_channels)
    """
    magnitude = lattice.channel_magnitude().detach()
    ranked = magnitude[lattice.mask].sort().values

    def mask_without(n_removed):
        return lattice.mask & (magnitude > ranked[n_removed - 1]) if n_removed else lattice.mask

    removed, too_many = 0, len(ranked)
    while too_many - removed > 1:
        middle = (removed + too_many) // 2
        mask = drop_unreachable_layers(mask_without(middle))
        enough = bool(mask.any()) and is_enough(compact(lattice, mask))
        report(f"{int(mask.sum())} of {len(ranked)} channels are {_verdict(enough)}")
        removed, too_many = (middle, too_many) if enough else (removed, middle)
    return drop_unreachable_layers(mask_without(removed))


def narrow_input(lattice, is_enough, moment, report):
    """The lattice with the fewest input channels that are enough.

    First those go that the first layer cannot tell apart; of the others, bisection as in :func:`search_mask` says how
    many.

    Parameters
    ----------
    lattice, is_enough, report
        As for :func:`prune_lattice`.
    moment : tensor of shape (inputs_left, inputs_left)
        Mean of its :func:`growlattice.lattice._input_cut.input_products` over images.

    Returns
    -------
    Lattice
    """
    rank = input_rank(lattice)
    exact = cut_input(lattice, rank) if rank < lattice.inputs_left else lattice
    if exact is not lattice and not is_enough(exact):  # a criterion without room for rounding
        return lattice
    too_few, enough = 0, exact
    while enough.inputs_left - too_few > 1:
        middle = (too_few + enough.inputs_left) // 2
        narrower = cut_input(lattice, middle, moment)
        if is_enough(narrower):
            enough = narrower
        else:
            too_few = middle
        report(f"{middle} of {lattice.inputs_left} input channels are {_verdict(enough is narrower)}")
    return enough


def _verdict(enough):
    return "enough" if enough else "not enough"


class PruningMixin:
    """Pruning as a method of an estimator."""

    def prune(self, X, y, keep=0.98, sample_weight=None, scoring=None, *, trim_steps=True):
        """Remove the channels, layers, trailing steps and input channels that the score on some images does not need.

        What is left is the smallest sub-network that keeps the share `keep` of the score above chance,
        ``chance + keep * (score - chance)``, without any fine-tuning. Of a classifier that is the accuracy, with a
        chance of one over the number of classes; of a regressor R2, with a chance of 0, which is predicting the mean.
        A channel survives if its magnitude exceeds one threshold, the same for all layers, found by bisection; layers
        above an emptied one go too. That is done for every number of steps, from the first on, that meets the
        criterion, and the outcome with the fewest multiply-accumulates is kept. Then channels of the input convolution
        go: those that the first layer cannot tell apart, and more under the same criterion. Give images that the final
        test does not use. Prune before `halt`: what is left needs another threshold.

        Parameters
        ----------
        X, y
            Images and what to answer, as in `fit`.
        keep : float, default=0.98
            Share of the score above chance to keep, from 0 to 1.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images in the score. A classifier's `class_weight` counts too, as it does in `fit`.
        scoring : str or callable, default=None
            What to keep instead of that score: a scorer of scikit-learn's. Its chance level is the score of a model
            that knows nothing but how often each class comes or, of numbers, their mean. It gets `sample_weight` if
            that is given, and `class_weight` does not count.
        trim_steps : bool, default=True
            Whether to remove steps. The scores of those left keep the norm that they had on average over the images. So
            the ratios between their time-selection weights stay about the same, with fixed selection exactly.

        Returns
        -------
        self : estimator
            With a smaller `lattice_`; a report is in `resources_`.

        Raises
        ------
        ValueError
            If the score on X is not above chance, so that there is nothing to keep.

        Warns
        -----
        UserWarning
            If a classifier's images are so few that the share that may be lost is less than one of them; or if `halt`
            was called before, which is taken back.

        References
        ----------
        Butkus, Garzón Gupta, Kriegeskorte (2026), section 3.4.
        """
        check_is_fitted(self)
        check_parameters(self)
        check_keep(keep)
        X, y, sample_weight = without_absent(X, y, sample_weight)
        data, y = self._training_set(X, y, sample_weight, learn=False), self._check_y(y)
        with restored_on_error(self), gpu_memory(self.batch_size), own_torch(self.n_threads):
            self._take_back_halting("prune")
            data = self._upload(data)
            if scoring is None:
                name, chance = self.lattice_.task.score_name, self._chance()

                def score(lattice):
                    return measure(lattice, data, self.net_.conv_dtype)[name]
            else:
                scorer = check_scoring(self, scoring)
                weighing = {} if sample_weight is None else {"sample_weight": sample_weight}
                name, nothing = "score", np.zeros((len(y), 1))
                chance = scorer(self._baseline().fit(nothing, y, **weighing), nothing, y, **weighing)

                def score(lattice):
                    return scorer(self._with_lattice(lattice), X, y, **weighing)

            before = score(self.lattice_)
            if self._chance() < 1:
                check_above_chance(name, before, chance)
            if scoring is None and is_classifier(self):
                warn_of_few_images(keep, before, chance, len(data))
            self._cut(data, score, name, before, chance + keep * (before - chance), trim_steps)
            self._describe(data)
        return self

    def _cut_after_training(self, data):
        """Prune to the share `keep` of the score on the training images, if that is asked for and possible."""
        if self.keep is None:
            return
        name, chance = self.lattice_.task.score_name, self._chance()

        def score(lattice):
            return measure(lattice, data, self.net_.conv_dtype)[name]

        before = score(self.lattice_)
        if before <= chance < 1:
            warnings.warn(
                f"Nothing was cut: the {name} on the training images is {before:.3f}, not above the chance level of "
                f"{chance:.3f}. Train for more epochs, or lower the pressures.",
                stacklevel=2,
            )
            return
        self._cut(data, score, name, before, chance + self.keep * (before - chance))

    def _cut(self, data, score, name, before, target, trim_steps=True):
        """Go on with the cheapest lattice whose score is at least the target, and report it in `resources_`."""

        def norms_of(lattice):
            norms, weights = collect(lattice, data.images, score_norms, self.net_.conv_dtype), data.sample_weight
            return np.average(norms, axis=0, weights=None if weights is None else weights.cpu().numpy())

        def moment_of(lattice):
            return input_moment(lattice, data)

        target = min(target, before)  # which rounding may exceed

        def is_enough(lattice):
            return score(lattice) >= target

        full = self.lattice_
        pruned = prune_lattice(full, is_enough, norms_of, moment_of, trim_steps, self._report)
        pruned.frozen = full.frozen  # what a callback froze
        rows = {
            "before": resources_row(full, **{name: before}),
            "after": resources_row(pruned, **{name: score(pruned)}),
        }
        self.net_ = self._net_of(replace(self._trained(), lattice=pruned, moments={}))
        self.resources_ = pd.DataFrame.from_dict(rows, orient="index")

    def _with_lattice(self, lattice):
        """A shallow copy of this estimator around another lattice."""
        copied, net = copy.copy(self), object.__new__(type(self.net_))  # skorch's own copy is of a pickle
        vars(net).update(vars(self.net_), module_=lattice)
        copied.net_, copied.compile = net, False  # there are many lattices, and each is run once
        return copied
