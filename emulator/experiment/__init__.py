"""From runs to tables: many runs on an executor, what is kept, statistics, sweeps, and the terminal."""
