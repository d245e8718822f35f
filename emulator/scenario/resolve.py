"""From a scenario and the costs of its actual model to the problem its policies see."""

import math

from prefine.emulator.errors import InputError
from prefine.emulator.scenario.scenario import Scenario
from prefine.emulator.scenario.spread import Spread, draw
from prefine.emulator.types import Budget, Constants, Devices, FloatArray, Learning, Server, WorkloadCost, frozen_array
from prefine.emulator.units import dbm_to_watt, from_db


def distances(scenario: Scenario) -> FloatArray:
    """Distance in metres of each device from the server, shape (K,)."""
    return _per_device(scenario, "distance_m", scenario.devices.distance_m)


def bandwidths(scenario: Scenario) -> FloatArray:
    """Each device's own uplink band in Hz, shape (K,).

    Raises InputError where shares and devices do not match.
    """
    radio, count = scenario.radio, scenario.device_count
    if radio.total_bandwidth_hz is None:
        return frozen_array(draw(radio.bandwidth_hz or 1e6, "radio.bandwidth_hz", count, scenario.seed))
    shares = draw(radio.shares or 1.0 / count, "radio.shares", count, scenario.seed)
    return frozen_array(radio.total_bandwidth_hz * shares)


def noise_psd_w_hz(scenario: Scenario) -> float:
    """Noise power spectral density at the receiver, its noise figure included."""
    return dbm_to_watt(scenario.radio.noise_dbm_hz) * from_db(scenario.radio.noise_figure_db)


def uplink_bits(scenario: Scenario, cost: WorkloadCost) -> float:
    """What one device uploads in a round."""
    return scenario.radio.payload_bits or cost.uplink_bits


def downlink_bits(scenario: Scenario, cost: WorkloadCost) -> float:
    """What every device downloads in a round: the model, at full precision."""
    return scenario.radio.downlink.payload_bits or scenario.radio.payload_bits or cost.model_bits


def budget(scenario: Scenario) -> Budget:
    """Both budgets."""
    return Budget(scenario.budget.delay_s, scenario.budget.energy_j)


def server(scenario: Scenario, cost: WorkloadCost, constants: Constants) -> Server:
    """The server's limits, costs and gradient variance."""
    settings = scenario.server
    return Server(
        cycles_per_sample=settings.cycles_per_sample or cost.flops_per_sample / settings.flops_per_cycle,
        capacitance=settings.capacitance,
        gradient_variance=constants.server_variance,
        min_frequency_hz=settings.min_frequency_hz,
        max_frequency_hz=settings.max_frequency_hz,
        min_batch=float(settings.min_batch),
        max_batch=float(settings.max_batch),
    )


def devices(
    scenario: Scenario, cost: WorkloadCost, constants: Constants, weights: tuple[float, ...], gain: FloatArray
) -> Devices:
    """The devices' limits, costs, variances and planning gains.

    A device that takes several local steps a round spends the cycles of all of them on each sample of its batch.
    Raises InputError where a minimum is above its maximum.
    """
    settings = scenario.devices
    cycles = settings.cycles_per_sample or cost.flops_per_sample / settings.flops_per_cycle
    frozen = Devices(
        cycles_per_sample=_per_device(scenario, "cycles_per_sample", cycles) * cost.local_steps,
        capacitance=_per_device(scenario, "capacitance", settings.capacitance),
        gradient_variance=frozen_array(constants.device_variance),
        weight=frozen_array(weights),
        min_frequency_hz=_per_device(scenario, "min_frequency_hz", settings.min_frequency_hz),
        max_frequency_hz=_per_device(scenario, "max_frequency_hz", settings.max_frequency_hz),
        min_batch=_per_device(scenario, "min_batch", float(settings.min_batch)),
        max_batch=_per_device(scenario, "max_batch", float(settings.max_batch)),
        max_power_w=max_powers(scenario),
        gain=gain,
        bandwidth_hz=bandwidths(scenario),
    )
    for name in ("frequency_hz", "batch"):
        least, most = getattr(frozen, f"min_{name}"), getattr(frozen, f"max_{name}")
        for device in (least > most).nonzero()[0][:1]:
            raise InputError(
                f"devices: device {device} has min_{name} = {least[device]:g} above max_{name} = {most[device]:g}"
            )
    return frozen


def max_powers(scenario: Scenario) -> FloatArray:
    """Transmit power limit of each device in W, shape (K,)."""
    return _per_device(scenario, "max_power_w", scenario.devices.max_power_w)


def learning_rate(scenario: Scenario, constants: Constants) -> float:
    """The step size of the bound: the recipe's own, but at most 1/L, which is as far as the bound goes."""
    wanted = scenario.training.learning_rate
    rate = float(wanted.removesuffix("/L")) / constants.smoothness if isinstance(wanted, str) else wanted
    return min(rate, 1.0 / constants.smoothness)


def learning(scenario: Scenario, constants: Constants) -> Learning:
    """Constants of the bound."""
    return Learning(
        smoothness=constants.smoothness,
        learning_rate=learning_rate(scenario, constants),
        initial_gap=constants.initial_gap,
        discrepancy=constants.discrepancy,
        pretrain_contraction=_known(constants.pretrain_contraction),
        pretrain_floor=_known(constants.pretrain_floor),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _per_device(scenario: Scenario, name: str, spread: Spread) -> FloatArray:
    """``spread`` drawn for every device, then what its own ``[[device]]`` table says."""
    own = [getattr(device, name) for device in scenario.device]
    values = draw(spread, f"devices.{name}", scenario.device_count, scenario.seed)
    for device, value in enumerate(own):
        values[device] = values[device] if value is None else value
    return frozen_array(values)
