"""Data pairs: general data to pre-train on, task data to fine-tune on, shift between them, spread over devices."""
