import pytest


@pytest.fixture
def compacting():
    """Parameters with which a small lattice loses channels, a layer and two steps after its second epoch.

    Few and low channels cost little, hence the high prices.
    """
    pressures = dict(breadth_pressure=20_000.0, depth_pressure=10_000.0, time_pressure=80.0)
    return dict(annealing=(0.0, 0.0), lr=0.006, temperature=20.0, batch_size=8, **pressures)
