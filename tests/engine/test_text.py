"""Display text of single tokens, and text that becomes final piece by piece."""

import hypothesis.strategies as st
from hypothesis import given
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from llmwidgets.engine.text import Detokenizer, StopStrings, display_texts

HALF = "\ufffd"


def pieces(tokenizer, token_ids):
    detokenizer = Detokenizer(tokenizer)
    return [detokenizer.push(token) for token in token_ids] + [detokenizer.flush()]


def test_display_text(tokenizer):
    assert display_texts(tokenizer, [97, 32, 10, 256]) == ("a", " ", "\n", "<|begin|>")
    assert display_texts(tokenizer, list("é".encode())) == ("<0xC3>", "<0xA9>")
    assert display_texts(None, [5, 6]) == ("5", "6")


@given(st.text(max_size=60))
def test_valid_text_is_never_shown_by_halves(tokenizer, text):
    shown = pieces(tokenizer, list(text.encode()))
    assert "".join(shown) == text
    assert all(HALF not in piece for piece in shown) or HALF in text


@given(st.binary(max_size=60))
def test_any_bytes_end_up_as_the_tokenizer_decodes_them(tokenizer, data):
    assert "".join(pieces(tokenizer, list(data))) == tokenizer.decode(list(data))


def test_long_texts_go_through_a_window(tokenizer):
    text = "añ😀日 " * 60
    assert "".join(pieces(tokenizer, list(text.encode()))) == text


def test_text_that_changes_while_it_grows_is_waited_for():
    class Fickle:
        def decode(self, token_ids, **arguments):
            n = len(token_ids)
            return ("b" if 20 <= n < 40 else "a") * n

    assert "".join(pieces(Fickle(), range(50))) == "a" * 50


def test_special_tokens_are_left_out(tokenizer):
    assert "".join(pieces(tokenizer, [256, 97, 257, 98])) == "ab"


def test_sentencepiece_with_byte_fallback():
    vocab = {"<unk>": 0, "▁Hi": 1, "▁you": 2, **{f"<0x{b:02X}>": 3 + b for b in range(256)}}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True, unk_token="<unk>"))
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    long = "€" * 40  # one run of bytes, longer than the window
    assert "".join(pieces(tokenizer, [3 + byte for byte in long.encode()])) == long
    ids = [1, *(3 + byte for byte in "€😀".encode()), 2]
    assert pieces(tokenizer, ids) == ["Hi", "", "", "€", "", "", "", "😀", " you", ""]
    assert display_texts(tokenizer, [1, 2, 3 + 0xE2]) == (" Hi", " you", "<0xE2>")


@given(st.lists(st.text("ab", max_size=3)), st.lists(st.text("ab", min_size=1, max_size=3), max_size=3))
def test_stop_strings_cut_at_the_first_whatever_the_pieces(pieces_, stop):
    watch, shown = StopStrings(tuple(stop)), ""
    for piece in pieces_:
        shown += watch.push(piece)
        assert not any(s in shown for s in stop)
        if watch.found:
            break
    text = "".join(pieces_)
    ends = [text.index(s) + len(s) for s in stop if s in text]
    if not ends:
        assert watch.found is None
        assert shown + watch.flush() == text
    else:  # cut where some stop string begins, once it is complete
        assert watch.found in stop
        assert text.startswith(shown + watch.found)
