"""From text to token ids and back: prompts, the display text of one token, text as it becomes final."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_HALF = "\N{REPLACEMENT CHARACTER}"  # what tokenizers write for bytes that are no character, or not yet
_WINDOW = 32  # tokens that are decoded again with each new one


def display_texts(tokenizer: Any, token_ids: Sequence[int]) -> tuple[str, ...]:
    """Return each token as a reader should see it: its text, with `<0xE2>` for part of a character.

    Without a tokenizer it is the id.
    """
    if tokenizer is None:
        return tuple(map(str, token_ids))
    letters = _byte_letters() if _is_byte_level(tokenizer) else {}
    special = set(tokenizer.all_special_ids)
    texts = []
    for token_id, piece in zip(token_ids, tokenizer.convert_ids_to_tokens(list(token_ids)), strict=True):
        if piece is None:  # ids that pad the vocabulary to a round size
            texts.append(f"<{token_id}>")
        elif token_id not in special and letters and all(letter in letters for letter in piece):
            texts.append(_readable(bytes(letters[letter] for letter in piece)))
        else:
            texts.append(str(piece).replace("▁", " "))
    return tuple(texts)


class Detokenizer:
    """Turns token ids into text piece by piece, and never shows half a character.

    A character's bytes may be spread over tokens; text is held back until it cannot change any more.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Begin an empty text; without a tokenizer all pieces are empty."""
        self._tokenizer = tokenizer
        self._window: list[int] = []
        self._shown = ""  # text of the window that has been returned

    def push(self, token_id: int) -> str:
        """Return the text that became final with one more token."""
        if self._tokenizer is None:
            return ""
        self._window.append(token_id)
        text = self._decode(self._window)
        piece = self._advance(text.rstrip(_HALF))
        if len(self._window) > _WINDOW and self._shown == text:
            tail = self._window[-_WINDOW // 4 :]
            shown = self._decode(tail)
            if _HALF not in shown:  # else the tail begins inside a character
                self._window, self._shown = tail, shown
        return piece

    def flush(self) -> str:
        """Return what was held back: bytes that never became a character."""
        return "" if self._tokenizer is None else self._advance(self._decode(self._window))

    def _advance(self, text: str) -> str:
        if not text.startswith(self._shown):
            return ""  # decoding changed what was shown: wait until it agrees again
        piece = text[len(self._shown) :]
        self._shown = text
        return piece

    def _decode(self, token_ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text


class StopStrings:
    """Cuts text before the first stop string, and holds back what may become one."""

    def __init__(self, stop: tuple[str, ...]) -> None:
        """Watch for these strings."""
        self._stop = stop
        self._held = ""
        self.found: str | None = None

    def push(self, piece: str) -> str:
        """Return the text that is safe to show after one more piece; sets `found` at a stop string."""
        text = self._held + piece
        hits = [(text.index(stop), order) for order, stop in enumerate(self._stop) if stop in text]
        if hits:
            place, order = min(hits)
            self.found, self._held = self._stop[order], ""
            return text[:place]
        held = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """Return what was held back and did not become a stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that begins `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


def _readable(data: bytes) -> str:
    """Return text for bytes that may begin or end inside a character."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "".join(chr(byte) if 32 <= byte < 127 else f"<0x{byte:02X}>" for byte in data)


def _is_byte_level(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return "ByteLevel" in repr(getattr(backend, "decoder", None))


def _byte_letters() -> dict[str, int]:
    """Return GPT-2's alphabet, one printable letter a byte (Radford et al. 2019, `bytes_to_unicode`)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = sorted({*range(256)} - {*printable})
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}
