"""The sections of a scenario file, one pydantic model each: units in names, unknown keys refused."""
