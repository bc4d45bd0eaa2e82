"""Records of logs on one line each: no text of a user, a file or a server can pass for a record of its own."""

import logging


class OneLine(logging.Filter):
    """Writes control codes, line breaks and invisible characters of a message out, as in a string of Python."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = one_line(record.getMessage()), None
        return True


def one_line(text: str) -> str:
    """Returns a text with everything escaped that is no visible character or blank; nothing else changes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
