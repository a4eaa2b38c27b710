"""A mail server with required STARTTLS and login: smtp_server.py CERT KEY.

Prints `PORT n`, and when a line comes in (or standard input ends) every mail as a line of JSON.
"""

import email
import email.policy
import html.parser
import json
import socket
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

MAILS = []


class Page(html.parser.HTMLParser):
    """What a person reads of a page, the widths of its bars, and whether its tables are whole."""

    VOID = {"meta", "br", "hr", "img", "link"}

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.text, self.open, self.wrong, self.bars, self.links, self.tags = [], [], [], [], [], set()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "td" and attrs.get("height") == "14" and "bgcolor" in attrs:
            self.bars.append([attrs["bgcolor"], attrs["width"]])
        if tag == "a":
            self.links.append(attrs.get("href"))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        if data.strip():
            self.text.append(" ".join(data.split()))

    @classmethod
    def read(cls, text):
        page = cls()
        page.feed(text)
        page.close()
        return {
            "text": page.text,
            "bars": page.bars,
            "links": page.links,
            "tags": sorted(page.tags),
            "wrong": page.wrong + page.open,
        }


class Handler:
    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        parts = list(message.iter_parts())

        def part(kind):
            return next(p.get_content() for p in parts if p.get_content_type() == kind)

        MAILS.append(
            {
                "tls": session.ssl is not None,
                "user": session.auth_data,
                "rcpts": envelope.rcpt_tos,
                "from": str(message["from"]),
                "to": str(message["to"]),
                "bcc": message["bcc"],
                "reply_to": message["reply-to"],
                "subject": str(message["subject"]),
                "message_id": message["message-id"],
                "in_reply_to": message["in-reply-to"],
                "references": message["references"],
                "types": [p.get_content_type() for p in parts],
                "text": part("text/plain"),
                "html": part("text/html"),
                "page": Page.read(part("text/html")),
                "defects": len(message.defects) + sum(len(p.defects) for p in parts),
            }
        )
        return "250 taken"


def login(server, session, envelope, mechanism, data):
    if isinstance(data, LoginPassword) and (data.login, data.password) == (b"herald", b"hunter2"):
        return AuthResult(success=True, auth_data="herald")
    return AuthResult(success=False, handled=False)


def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(
        Handler(),
        hostname="127.0.0.1",
        port=port,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=login,
    )
    controller.start()
    print(f"PORT {port}", flush=True)
    sys.stdin.readline()
    controller.stop()
    for mail in MAILS:
        print(json.dumps(mail))


main()
