"""Types of command-line arguments, which refuse what makes no sense before anything is measured."""

import argparse
from pathlib import Path


def count(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return number


def seconds(text: str) -> float:
    """A time of more than none."""
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text}")
    return number


def folder(text: str) -> Path:
    """A folder, made if it is not there."""
    path = Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text} cannot be made a folder: {error.strerror}") from None
    return path
