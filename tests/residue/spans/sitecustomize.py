"""Has every span of a Python process written down: a service makes spans, and has no exporter yet.

On the path of a deployment's processes this is run by the interpreter itself. `SPANS` names the folder.
"""

import os
import sys
from pathlib import Path
from typing import Any


def _write_down(folder: Path) -> None:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

    class ToFile(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            with (folder / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
                file.write(span.to_json(indent=None) + "\n")

    made = TracerProvider.__init__

    def make(self: TracerProvider, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        self.add_span_processor(ToFile())

    TracerProvider.__init__ = make  # type: ignore[method-assign]  # the one way in without an exporter


if "SPANS" in os.environ and "serve" in sys.orig_argv:
    Path(os.environ["SPANS"]).mkdir(parents=True, exist_ok=True)
    _write_down(Path(os.environ["SPANS"]))
