"""Data-subject requests: intake, verification, clocks and orchestration over all systems."""
