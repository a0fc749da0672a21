import pytest


@pytest.fixture
def compacting():
    """Parameters with which a small lattice loses channels, a layer and two steps after its second epoch."""
    pressures = dict(breadth_pressure=30.0, depth_pressure=30.0, time_pressure=30.0)
    return dict(annealing=(0.0, 0.0), lr=0.05, temperature=20.0, batch_size=8, **pressures)
