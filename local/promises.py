"""`make promises`: which rows of the promise register have tests, and which tests."""

import sys
from collections import defaultdict

import pytest


class Collector:
    """Remembers, while pytest collects, the tests by the row that they are marked with."""

    def __init__(self) -> None:
        self.tests: dict[int, set[str]] = defaultdict(set)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Take the marks of every test."""
        for item in items:
            for mark in item.iter_markers("promise"):
                for row in mark.args:
                    self.tests[row].add(item.nodeid.partition("[")[0])


def main() -> int:
    """Print a line for each row that has tests; returns pytest's exit code."""
    collector = Collector()
    code = pytest.main(["--collect-only", "--quiet", "--quiet", "--no-header", "--no-summary"], plugins=[collector])
    for row, tests in sorted(collector.tests.items()):
        print(f"{row:4}  {len(tests):3} tests  {min(tests)}{' …' if len(tests) > 1 else ''}")
    print(f"{len(collector.tests)} rows have tests")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
