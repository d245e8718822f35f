"""Many runs: jobs, where they are executed, what is kept of them, and the output folder."""
