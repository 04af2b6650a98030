"""Consumers, relays, timers and jobs in one process on real Postgres, interleaved, killed and cut off as a seed says.

`python -m tests.simulation --seed 7 --verbose` repeats one run to the step; README.md says what it simulates and how.
"""
