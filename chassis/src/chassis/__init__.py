"""The runtime that every service stands on: delivery, timers, jobs, sealing and the edges. It knows nothing of privacy.

The list of modules is closed: app, auth, clock, consumer, crash, database, jobs, migrate, outbox, problems, sealing,
settings, telemetry, testing, timers. A further one needs a decision record.
"""
