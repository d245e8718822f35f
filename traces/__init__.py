"""Channel trace files: readers of common formats, and the writer of the canonical one."""
