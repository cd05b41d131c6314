"""What `import symgraph` adds to `import numpy`, and which of its modules take longest. The bar: at most 100 ms.

python benchmarks/import_time.py [rounds]
"""

import subprocess
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
BAR = 100.0  # milliseconds
PROGRAM = """
import time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import symgraph
print(middle - start, time.perf_counter() - middle)
"""


def measure(rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of the import of numpy and, after it, of symgraph, in fresh processes."""
    times = []
    for _ in range(rounds):
        done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, text=True, capture_output=True, check=True)
        times.append([1000 * float(word) for word in done.stdout.split()])
    return [t[0] for t in times], [t[1] for t in times]


def slowest(count: int) -> list[tuple[float, str]]:
    """The modules that `import symgraph` loads after numpy and that take longest by themselves, in milliseconds."""
    command = [sys.executable, "-X", "importtime", "-c", "import numpy, symgraph"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True)
    lines = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if "|" in line]
    names = [name.strip() for *_, name in lines]
    after = lines[names.index("numpy") + 1 :]
    return sorted(((int(own) / 1000, name.strip()) for own, _, name in after), reverse=True)[:count]


def main() -> None:
    """Print the measurement."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    base, added = measure(rounds)
    print(
        f"import numpy                {median(base):7.1f} ms   (median of {rounds} processes, {min(base):.1f} at best)"
    )
    print(f"import symgraph after it    {median(added):7.1f} ms   ({min(added):.1f} at best)")
    print(f"bar: {BAR:.0f} ms more than numpy: {'met' if median(added) <= BAR else 'MISSED'}")
    print("\nslowest modules by themselves:")
    for own, name in slowest(12):
        print(f"  {own:6.1f} ms  {name}")


if __name__ == "__main__":
    main()
