"""The learners: torch networks, their data, their training, and the constants measured on them."""
