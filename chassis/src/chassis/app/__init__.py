"""How a service is put together and run: one process, four verbs."""

from chassis.app.idempotency import Once
from chassis.app.runtime import App, Runtime
from chassis.app.verbs import main

__all__ = ["App", "Once", "Runtime", "main"]
