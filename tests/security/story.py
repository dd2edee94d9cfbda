"""A service that really runs, and everything that people do with it: what it said to whom, and the secrets that went in
or came out.

Ada writes, Eve is another author, Bob reads, the boss is an admin. What they know of themselves, and what the service
hands to who asks for it, they may see; nobody else, and nobody twice.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import subprocess
import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from app.accounts.keys import load_keys
from tests.cli.test_program import SECONDS, environment, execute, free_port, iter_greeting, program
from tests.security.canaries import Channel

AUTH = "/auth/v1"
MAIL = "broadsheet.mail"  # the logger of mails, whose lines hold links
OF_ADA = {"Ada's address", "Ada's draft", "Ada's plan", "Ada's metadata"}
KNOWN_TO = {who: {*OF_ADA, "metadata by admins"} for who in ("ada", "boss", "service")}


def canary(name: str) -> str:
    return f"canary-{name}-{secrets.token_hex(6)}"


@dataclass
class Story:
    """`told` is everything that was answered and printed, `secrets` what must not stand in it but where it says so."""

    folder: Path
    settings: dict[str, str]
    client: httpx2.Client
    secrets: dict[str, str] = field(default_factory=dict)
    told: list[Channel] = field(default_factory=list)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    statuses: set[int] = field(default_factory=set)
    mails: int = 0

    def __post_init__(self) -> None:
        self.headers |= {"anybody": {}}

    def make(self, name: str, *, fits: int = 60) -> str:
        """A secret that goes in."""
        found = self.secrets[name] = canary(re.sub("[^a-z]+", "-", name.lower()))[:fits]
        return found

    def ask(self, who: str, method: str, path: str, body: Any = None, may: Iterable[str] = (), **more: Any) -> Any:
        """The answer, which is kept for the search. `may`: what it may hold besides what `who` knows."""
        headers = {**self.headers[who], **more.pop("headers", {})}
        if body is not None:
            more["json"] = body
        answer = self.client.request(method, path, headers=headers, **more)
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.multi_items())
        channel = Channel(f"{who}: {method} {path[:80]}", f"{head}\n".encode() + answer.content)
        channel.may |= {*KNOWN_TO.get(who, set()), *may}
        self.told.append(channel)
        self.statuses.add(answer.status_code)
        return answer

    def learn(self, name: str, secret: str) -> str:
        """A secret that the last answer was asked for."""
        self.secrets[name] = secret
        self.told[-1].may.add(name)
        return secret

    def run(self, *words: str, given: str = "", learn: str | None = None) -> str:
        """A command beside the service. `learn` names the secret that it prints alone."""
        done = execute(self.folder, *words, given=given, **self.settings)
        assert done.returncode == 0, done.stderr
        self.told.append(Channel(f"broadsheet {words[0]} {words[1] if len(words) > 1 else ''}", done.stdout.encode()))
        if learn is not None:
            self.learn(learn, done.stdout.strip())
        self.told.append(Channel(f"errors of broadsheet {words[0]}", done.stderr.encode()))
        return done.stdout.strip()

    def enter(self, who: str, address: str, password: str) -> dict[str, Any]:
        answer = self.ask(
            "anybody", "POST", f"{AUTH}/token?grant_type=password", {"email": address, "password": password}
        )
        return self.entered(who, answer)

    def entered(self, who: str, answer: httpx2.Response) -> dict[str, Any]:
        """Keeps the tokens of an answer that signs somebody in, who sees in it what it says of them."""
        assert answer.status_code == 200, answer.text
        session: dict[str, Any] = answer.json()
        number = len(self.secrets)
        self.learn(f"access token {number}", session["access_token"])
        self.learn(f"refresh token {number}", session["refresh_token"])
        self.told[-1].may |= KNOWN_TO.get(who, set())
        self.headers[who] = {"authorization": f"Bearer {session['access_token']}"}
        return session

    def log(self) -> list[dict[str, Any]]:
        """The lines that are complete."""
        return [json.loads(line) for line in (self.folder / "log").read_text().split("\n")[:-1]]

    def mail(self) -> dict[str, Any]:
        """The next mail, whose link and digits become secrets. It is sent after the answer, at a time of its own."""
        deadline = time.monotonic() + SECONDS
        while len(sent := [line for line in self.log() if line["logger"] == MAIL]) <= self.mails:
            assert time.monotonic() < deadline, "no mail came"
            time.sleep(0.01)
        found, self.mails = sent[-1], len(sent)
        token = parse_qs(urlsplit(found["link"]).query)["token"][0]
        number = len(self.secrets)
        self.secrets |= {f"mailed link {number}": token, f"mailed digits {number}": found["code"]}
        link = urlsplit(found["link"])
        return {"token": token, "code": found["code"], "path": f"{link.path}?{link.query}"}


@contextmanager
def begun(folder: Path, url: str, password: str) -> Generator[Story]:
    """The service on this database, with everything in its log."""
    port = free_port()
    settings = {
        "BROADSHEET_PORT": str(port),
        "BROADSHEET_DATABASE_URL": url,
        "BROADSHEET_SECRET": secrets.token_urlsafe(32),
        "BROADSHEET_JWT_SECRET": secrets.token_urlsafe(32),
        "BROADSHEET_MAILER": "console",
        "BROADSHEET_LOG_LEVEL": "debug",
    }
    client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS)
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(
            program("serve"), env=environment(folder, **settings), stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert process.stdout is not None
        try:
            greeting = "".join(iter_greeting(process))
            assert greeting, (folder / "log").read_text()
            story = Story(folder, settings, stack.enter_context(client))
            story.told.append(Channel("greeting", greeting.encode()))
            story.secrets |= {"secret": settings["BROADSHEET_SECRET"], "old secret": settings["BROADSHEET_JWT_SECRET"]}
            if password:
                story.secrets["database password"] = password
            story.secrets["secret key"] = load_keys(folder / "data").secret
            story.headers["service"] = {"apikey": story.secrets["secret key"]}
            yield story
            process.terminate()
            rest, _ = process.communicate(timeout=SECONDS)
            story.told.append(Channel("standard output", rest.encode()))
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()


def old_key(secret: str, role: str) -> str:
    """As old projects have them."""
    now = int(time.time())
    parts = ({"alg": "HS256", "typ": "JWT"}, {"role": role, "iss": "supabase", "iat": now, "exp": now + 3600})
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(secret.encode(), text, hashlib.sha256)).rstrip(b"=")
    return (text + b"." + signature).decode()
