"""Prints the README's table of model families, to be pasted between its two markers.

python -m tools.list_families
"""

from tests.families import table

if __name__ == "__main__":
    print(table())
