"""A scenario that runs in a second: three devices, given constants, little data."""

SMALL = """
name = "small"
[budget]
delay_s = 4.0
energy_j = 30.0
[task]
samples = 60
[training]
preset = "theory"
[server]
cycles_per_sample = 2e7
[devices]
count = 3
distance_m = { low = 50.0, high = 300.0 }
cycles_per_sample = { low = 1e7, high = 4e7 }
[radio]
bandwidth_hz = 1e5
[channel]
model = "static"
[learning]
smoothness = 5.0
initial_gap = 2.3
discrepancy = 0.4
server_variance = 10.0
device_variance = 8.0
pretrain_contraction = 0.03
pretrain_floor = 0.7
[compare]
policies = ["joint", "joint-ft", "uniform"]
reference = "uniform"
seeds = 2
"""
