"""The edge server under prices: its cheapest pre-training round, in closed form (docs/theory.md, section 3)."""

import math
from dataclasses import dataclass

from prefine.emulator.bound import RoundCost, server_round
from prefine.emulator.types import Server, ServerPlan


@dataclass(frozen=True)
class ServerRound:
    """A pre-training round: the decision, what it costs and its noise alpha0 / b0."""

    plan: ServerPlan
    cost: RoundCost
    noise: float

    def price(self, delay_price: float, energy_price: float) -> float:
        """Noise plus cost: h0 without Delta^2."""
        return self.noise + delay_price * self.cost.delay_s + energy_price * self.cost.energy_j


@dataclass(frozen=True)
class ServerStage:
    """Finds the server's round of least noise plus cost; ``noise`` is alpha0."""

    server: Server
    noise: float

    def frequency(self, ratio: float) -> float:
        """The best frequency where a second costs ``ratio`` joules; it does not depend on the batch."""
        free = math.cbrt(ratio / (2.0 * self.server.capacitance))
        return min(max(free, self.server.min_frequency_hz), self.server.max_frequency_hz)

    def respond(self, ratio: float, energy_price: float) -> ServerRound:
        """The best round where a second costs ``ratio`` joules and a joule costs ``energy_price`` (both > 0)."""
        server, frequency = self.server, self.frequency(ratio)
        joules = server.cycles_per_sample * (ratio / frequency + server.capacitance * frequency**2)
        batch = math.sqrt(self.noise / (energy_price * joules))
        plan = ServerPlan(min(max(batch, server.min_batch), server.max_batch), frequency)
        return ServerRound(plan, server_round(server, plan), self.noise / plan.batch)
