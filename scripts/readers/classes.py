"""The value classes of the matrix: what people keep in a .env, and what has gone
wrong in one of its readers. FIRST and LAST stand around each and must survive it."""
import json

PEM = """-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7+/x=
0123456789+/0123456789+/0123456789+/0123456789+/0123456789+/AA==
-----END PRIVATE KEY-----
"""

CLASSES = {
    # words and addresses
    "plain": "abc123",
    "empty": "",
    "token": "ghp_AbC-123.x~y",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln-_s",
    "base64": "QUJD+/9/==",
    "url": "postgres://u:p@h:5432/db?x=1&y=2",
    "url-hash": "postgres://u:p#w@h:5432/db",
    "url-percent": "https://u:p%40w%2F@h/a?b=%20c",
    "true": "true",
    "number": "0123",
    "null": "null",
    "export": "export x",
    "long": "x" * 5000,
    # blanks
    "space": "a b",
    "space-first": " a",
    "space-last": "a ",
    "space-only": "  ",
    "tab": "a\tb",
    # comments
    "hash": "a#b",
    "hash-space": "a #b",
    "hash-first": "#ab",
    # dollars
    "dollar-name": "a$HOME",
    "dollar-brace": "a${HOME}b",
    "dollar-default": "a${NONE:-x}b",
    "dollar-paren": "a$(echo x)b",
    "dollar-last": "a$",
    "dollar-digit": "a$1b",
    "dollar-alone": "a $ b",
    "dollar-twice": "a$$b",
    "bcrypt": "$2y$10$abcdefghijklmnopqrstuv",
    # backslashes
    "backslash": "a\\b",
    "backslash-n": "a\\nb",
    "backslash-last": "a\\",
    "backslash-twice": "a\\\\b",
    "backslash-dollar": "a\\$HOME",
    "windows-path": "C:\\new\\table",
    "regex": "^\\d+\\.\\w{2,3}$",
    # quotes
    "double": 'say "hi" x',
    "double-around": '"abc"',
    "double-backslash": 'a\\"b',
    "double-dollar": '"$HOME"',
    "double-backtick": 'a "b" `c`',
    "single": "it's",
    "single-around": "'abc'",
    "single-last": "a'",
    "single-hash": "it's #1",
    "single-dollar": "it's $HOME",
    "single-backslash": "a\\'b",
    "single-backtick": "it's `x`",
    "single-double": "it's \"x\"",
    "single-double-dollar": "'\"$HOME",
    "backtick": "a`echo x`b",
    "quotes-three": "'\"`",
    # JSON
    "json": '{"a":"b","n":[1,2]}',
    "json-spaces": '{"a": "b", "n": [1, 2]}',
    "json-escapes": '{"a":"l\\nm\\"q"}',
    "json-single": '{"a":"it\'s"}',
    "json-dollar": '{"a":"$HOME"}',
    "json-key": json.dumps({"type": "service_account", "private_key": PEM}),
    "json-lines": '{\n  "a": "b"\n}',
    # several lines
    "pem": PEM,
    "pem-no-end": PEM[:-1],
    "line": "a\nb",
    "line-last": "a\n",
    "line-first": "\na",
    "line-blank": "a\n\nb",
    "line-hash": "a\n#b\nc",
    "line-assign": "a\nINJECTED=c\nd",
    "line-double": 'a\n"b"\nc',
    "line-single": "a\n'b'\nc",
    "line-dollar": "a\n$HOME\nb",
    "line-backslash-n": "a\\n\nb",
    "crlf": "a\r\nb",
    "cr": "a\rb",
    # what a shell would act on
    "shell": "a;b|c&d<e>f",
    "paren": "a(b)c",
    "glob": "*?[a]",
    "braces": "{a,b}",
    "tilde": "~/x",
    "bang": "a!b",
    # the rest
    "equals": "a=b==",
    "equals-first": "=a",
    "colon": "a: b",
    "at": "@x",
    "percent": "a%d%%s",
    "unicode": "h\u00e9llo \u4e16\u754c \U0001f511",
    "nbsp": "a\u00a0b",
    "control": "a\x01b",
    "escape": "a\x1bb",
    "delete": "a\x7fb",
}
