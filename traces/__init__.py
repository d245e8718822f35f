"""Channel trace files: importers of common formats, synthesis, statistics, and the ``prefine trace`` commands."""
