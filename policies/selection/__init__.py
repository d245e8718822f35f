"""Who takes part in a round: rules that combine with any plan (docs/selection.md)."""
