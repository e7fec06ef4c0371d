"""The moving average against its closed form."""

import pytest
import torch
from torch import nn

from anotwin.training.ema import update_average


def _pair() -> tuple[nn.Module, nn.Module]:
    average, network = (nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)) for _ in range(2))
    return average, network


@pytest.mark.parametrize("steps", [1, 3, 30])
def test_a_constant_network_is_approached_by_the_product_of_the_decays(steps: int) -> None:
    average, network = _pair()
    start = average[0].weight.detach().clone()
    left = 1.0
    for step in range(steps):
        update_average(average, network, 0.5, step)
        left *= min(0.5, (1 + step) / (10 + step))
    expected = left * start + (1 - left) * network[0].weight
    torch.testing.assert_close(average[0].weight, expected.detach())


def test_late_steps_weigh_like_a_geometric_series() -> None:
    average, network = _pair()
    values = [float(k) for k in range(40)]
    with torch.no_grad():
        average[0].bias.zero_()
    for value in values:
        with torch.no_grad():
            network[0].bias.fill_(value)
        update_average(average, network, 0.8, step=10_000)  # long after the warm-up
    series = sum(0.2 * 0.8 ** (len(values) - 1 - k) * value for k, value in enumerate(values))
    torch.testing.assert_close(average[0].bias.detach(), torch.full((3,), series))


def test_decay_zero_copies_parameters_and_statistics() -> None:
    average, network = _pair()
    with torch.no_grad():
        network[1].running_mean.fill_(5)
        network[1].num_batches_tracked.fill_(7)
    update_average(average, network, 0.0, step=100)
    for name, tensor in network.state_dict().items():
        assert torch.equal(average.state_dict()[name], tensor), name


def test_running_statistics_are_averaged_and_counters_copied() -> None:
    average, network = _pair()
    with torch.no_grad():
        network[1].running_var.fill_(3)
        network[1].num_batches_tracked.fill_(9)
    update_average(average, network, 0.75, step=10_000)
    torch.testing.assert_close(average[1].running_var, torch.full((3,), 0.75 * 1 + 0.25 * 3))
    assert int(average[1].num_batches_tracked) == 9


def test_the_network_itself_stays_and_no_graph_is_built() -> None:
    average, network = _pair()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    update_average(average, network, 0.5, step=3)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert average[0].weight.grad_fn is None
