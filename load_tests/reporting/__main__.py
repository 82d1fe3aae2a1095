"""Every aim beside what was measured: `python -m load_tests.reporting`."""

from __future__ import annotations

from load_tests.reporting import aims
from load_tests.reporting.figures import Results


def main() -> None:
    for aim in aims.every(Results.read()):
        print(f"{'met   ' if aim.kept else 'MISSED'} {aim.name}: {aim.measured:.4g}, wanted {aim.bound}")


if __name__ == "__main__":
    main()
