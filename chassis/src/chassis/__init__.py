"""The runtime that every service stands on: delivery, timers, jobs, sealing, HTTP edges."""
