"""`Did you mean`."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A remedy for a word that is not among the known ones: the closest of them, or all."""
    words = sorted(set(known))
    if close := get_close_matches(word, words, n=1, cutoff=0.6):
        return f"did you mean `{close[0]}`?"
    return f"known: {', '.join(words)}" if words else "there is none to choose from"
