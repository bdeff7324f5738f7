"""Settings that every test shares: one thread, so that results repeat and two tests can run side by side."""

import os

# Tests start processes of their own; two jobs of two threads each would wait for one another.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
