"""Federated algorithms: what the devices do in a fine-tuning round, and what the server makes of it; one file each."""
