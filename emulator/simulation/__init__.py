"""The virtual clock: server, devices, shared uplink, processors, faults, budgets, and the run they make."""
