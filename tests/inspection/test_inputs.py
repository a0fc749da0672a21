import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from growlattice import LatticeClassifier
from growlattice.inspection import ExtremesDisplay, MagnitudeDisplay, OcclusionDisplay, TimeUsedDisplay


@pytest.mark.parametrize("display", [MagnitudeDisplay, TimeUsedDisplay, ExtremesDisplay, OcclusionDisplay])
def test_only_fitted_lattices_are_drawn(display, images):
    X = () if display is MagnitudeDisplay else (images[0],)
    with pytest.raises(NotFittedError, match="LatticeClassifier instance is not fitted"):
        display.from_estimator(LatticeClassifier(), *X)
    other = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(TypeError, match="LogisticRegression has no .*Give a fitted LatticeClassifier"):
        display.from_estimator(other, *X)
