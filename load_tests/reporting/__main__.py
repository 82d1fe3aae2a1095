"""Every target beside what was measured: `python -m load_tests.reporting`."""

from __future__ import annotations

from load_tests.reporting import targets
from load_tests.reporting.figures import Results


def main() -> None:
    for target in targets.every(Results.read()):
        print(f"{'met   ' if target.kept else 'MISSED'} {target.name}: {target.measured:.4g}, wanted {target.bound}")


if __name__ == "__main__":
    main()
