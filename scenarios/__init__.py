"""Ready-made scenarios, one TOML file each; `prefine` finds them by name."""
