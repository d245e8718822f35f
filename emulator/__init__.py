"""The machine: a virtual clock, radio links, processors, budgets, records and reports."""
