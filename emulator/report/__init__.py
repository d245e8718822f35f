"""Figures and the self-contained HTML report, made from the CSV files of an output folder alone."""
