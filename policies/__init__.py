"""The decisions: resource-allocation policies, from the exact joint design to practitioners' habits."""
