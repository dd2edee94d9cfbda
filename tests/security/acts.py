"""What happens in a story, act by act: see `story.py`."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from tests.security.probes import PRIVATE_TABLES, TABLES
from tests.security.story import AUTH, Story, old_key

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def people_come(story: Story) -> None:
    """They sign up and in, rightly and wrongly."""
    ada = story.make("Ada's address") + "@example.org"
    story.secrets["Ada's address"] = ada
    password = story.make("Ada's password")
    person = {"username": "ada", "email": ada, "password": password, "role": "author"}
    assert story.ask("service", "POST", "/users", person).status_code == 201
    for who in ("eve", "bob"):
        story.secrets[f"{who}'s password"] = secret = story.make(f"{who}'s password")
        body = {"email": f"{who}@example.org", "password": secret, "data": {"username": who}}
        story.entered(who, story.ask("anybody", "POST", f"{AUTH}/signup", body))
    eve = story.ask("service", "GET", "/users?username=eq.eve").json()[0]["id"]
    story.ask("service", "PATCH", f"/users/{eve}", {"role": "author"})
    story.run("create-admin", "boss", "--email", "boss@example.org", given=story.make("boss's password") + "\n")
    story.enter("boss", "boss@example.org", story.secrets["boss's password"])
    story.ask("anybody", "POST", f"{AUTH}/token?grant_type=password", {"email": ada, "password": "not " + password})
    session = story.enter("ada", ada, password)
    again = {"refresh_token": session["refresh_token"]}
    story.entered("ada", story.ask("anybody", "POST", f"{AUTH}/token?grant_type=refresh_token", again))
    story.ask("anybody", "POST", f"{AUTH}/signup", {"email": ada, "password": password}, may=["Ada's address"])
    del person["role"]
    story.ask("anybody", "POST", "/users", person, may=["Ada's address"])


def ada_changes_herself(story: Story) -> None:
    new = story.make("Ada's new password")
    change = {"password": new, "data": {"note": story.make("Ada's metadata")}}
    assert story.ask("ada", "PUT", f"{AUTH}/user", change).status_code == 200
    uid = story.ask("ada", "GET", f"{AUTH}/user").json()["id"]
    by_admin = {"app_metadata": {"note": story.make("metadata by admins")}}
    assert story.ask("service", "PUT", f"{AUTH}/admin/users/{uid}", by_admin).status_code == 200
    story.ask("ada", "GET", f"{AUTH}/user")
    story.ask("service", "GET", f"{AUTH}/admin/users")
    story.enter("ada", story.secrets["Ada's address"], new)


def ada_writes(story: Story) -> dict[str, int]:
    """What nobody else shall read yet."""
    draft, plan = story.make("Ada's draft"), story.make("Ada's plan")
    bodies = [
        {"title": f"Draft {draft}", "content": draft, "status": "draft", "published_at": None},
        {"title": f"Plan {plan}", "content": plan, "status": "published", "published_at": "2100-01-01T00:00:00Z"},
    ]
    made = story.ask("ada", "POST", "/posts?select=id", bodies)
    assert made.status_code == 201, made.text
    ids = [row["id"] for row in made.json()]
    for id in ids:
        assert story.ask("ada", "PATCH", f"/posts/{id}", {"content": f"{draft} {plan}"}).status_code == 200
    story.ask("ada", "POST", "/posts", {"title": "Public", "content": "for all", "status": "published"})
    for id in ids:
        back = story.ask("ada", "POST", f"/posts/{id}/revisions/1/restore")
        assert back.status_code == 200, back.text
    return dict(zip(("draft", "plan"), ids, strict=True))


def keys_are_made(story: Story) -> None:
    story.run("keys", "create", "ada's", "--user", "ada", "--scope", "posts:write", learn="Ada's key")
    story.run("keys", "create", "lost", "--user", "ada", learn="revoked key")
    story.headers["ada's key"] = {"apikey": story.secrets["Ada's key"]}
    story.headers["lost key"] = {"apikey": story.secrets["revoked key"]}
    story.ask("ada's key", "GET", "/posts", may=["Ada's draft", "Ada's plan"])
    story.ask("ada's key", "GET", "/users")
    story.run("keys", "revoke", "lost")
    story.run("keys", "list")
    story.run("doctor")
    story.secrets["old service key"] = old_key(story.secrets["old secret"], "service_role")
    story.headers["old service"] = {"apikey": story.secrets["old service key"]}
    story.ask("old service", "GET", "/tags")
    story.ask("lost key", "GET", "/posts")


def links_are_sent(story: Story) -> None:
    """By mail, which goes to the log, and by hand; followed wrongly and rightly."""
    ada = story.secrets["Ada's address"]
    story.ask("anybody", "POST", f"{AUTH}/recover", {"email": ada})
    mail = story.mail()
    story.ask("anybody", "POST", f"{AUTH}/verify", {"type": "signup", "token_hash": mail["token"]})
    story.ask("anybody", "POST", f"{AUTH}/verify", {"type": "recovery", "email": ada, "token": "000000"})
    answer = story.ask("anybody", "GET", mail["path"], follow_redirects=False)
    assert answer.status_code == 303
    fragment = answer.headers["location"].partition("#")[2]
    fields = dict(pair.split("=") for pair in fragment.split("&"))
    story.learn("access token of a link", fields["access_token"])
    story.learn("refresh token of a link", fields["refresh_token"])
    story.told[-1].may |= {"Ada's address", "Ada's metadata", "metadata by admins"}  # inside the token
    story.ask(
        "anybody", "POST", f"{AUTH}/otp", {"email": ada, "code_challenge": CHALLENGE, "code_challenge_method": "s256"}
    )
    mail = story.mail()
    answer = story.ask("anybody", "GET", mail["path"], follow_redirects=False)
    code = story.learn("code of PKCE", answer.headers["location"].partition("code=")[2])
    body = {"auth_code": code, "code_verifier": VERIFIER}
    story.entered("ada", story.ask("anybody", "POST", f"{AUTH}/token?grant_type=pkce", body))
    made = story.ask("service", "POST", f"{AUTH}/admin/generate_link", {"type": "recovery", "email": ada}).json()
    story.learn("link by hand", made["hashed_token"])
    story.learn("digits by hand", made["email_otp"])
    story.ask("anybody", "POST", f"{AUTH}/otp", {"email": "stranger@example.org"})
    story.mail()


def strangers_look(story: Story, ids: dict[str, int]) -> None:
    """At everything that there is, and at what is not."""
    looked = [f"/rest/v1/{name}" for name in (*TABLES, *PRIVATE_TABLES)]
    looked += [f"/posts/{id}" for id in ids.values()] + [f"/rest/v1/posts?id=eq.{id}" for id in ids.values()]
    looked += [f"/posts/{id}/{tail}" for id in ids.values() for tail in ("revisions", "revisions/1")]
    looked += ["/users?select=*,posts(*,tags(*)),sent(*),received(*)", "/posts?select=*,author(*),tags(posts(*))"]
    looked += ["/", "/rest/v1/", "/openapi.json", "/docs", "/metrics", "/health/ready", "/rpc/dashboard"]
    looked += [
        "/posts?status=eq.draft",
        "/posts?deleted_at=not.is.null",
        "/rpc/search?q=canary",
        "/posts?search=fts.draft",
    ]
    looked += [f"{AUTH}/{path}" for path in ("settings", "health", "user", "admin/users", ".well-known/jwks.json")]
    for who in ("anybody", "bob", "eve", "ada's key"):
        mine = ["Ada's draft", "Ada's plan"] if who == "ada's key" else []
        for path in looked:
            story.ask(who, "GET", path, may=mine)
            story.ask(who, "GET", path, headers={"accept": "text/csv", "prefer": "count=exact"}, may=mine)
    for who in ("anybody", "bob", "eve"):
        for id in ids.values():
            story.ask(who, "POST", f"/posts/{id}/revisions/1/restore")
            story.ask(who, "POST", f"/posts/{id}/restore")
    for path in (
        "/revisions",
        "/users/1/revisions",
        "/users/1/revisions/1",
        "/events",
        "/users",
        f"{AUTH}/admin/users",
    ):
        story.ask("service", "GET", path)
        story.ask("boss", "GET", path)


def mistakes_are_made(story: Story, ids: dict[str, int]) -> None:
    """Secrets in places where they do not belong, bodies that cannot be read, methods and paths that are not there."""
    password, token = story.secrets["Ada's password"], story.headers["ada"]["authorization"].removeprefix("Bearer ")
    for path in ("/nothing", "/posts/999999", "/rest/v1/nothing/1", f"{AUTH}/nothing", "/rpc/nothing", "/metrics/x"):
        story.ask("ada", "GET", path)
    for method, path in (("PUT", "/metrics"), ("DELETE", "/"), ("PATCH", f"{AUTH}/token"), ("PUT", "/rpc/search")):
        story.ask("ada", method, path)
    wrong: list[tuple[str, str, Any]] = [
        ("POST", "/users", {"username": "x1", "password": [password]}),
        ("POST", "/users", {"username": "x2", "passwort": password}),
        ("POST", "/users", {"username": "x3", "password": password * 3}),
        ("POST", f"{AUTH}/signup", {"email": "x4@example.org", "password": {"is": password}}),
        ("POST", f"{AUTH}/token?grant_type=password", {"email": [], "password": password}),
        ("POST", f"{AUTH}/token?grant_type=refresh_token", {"refresh_token": token}),
        ("POST", f"{AUTH}/verify", {"type": "recovery", "token_hash": password}),
        ("PATCH", "/users?id=eq.1", {"password": password}),
        ("POST", "/posts", {"title": story.secrets["Ada's draft"], "status": "no such status"}),
        ("POST", "/batch", {"requests": [{"method": "POST", "path": "/users", "body": {"password": password}}]}),
    ]
    for method, path, body in wrong:
        for who in ("anybody", "ada"):
            story.ask(who, method, path, body, may=["Ada's draft"])
    for path in ("/users", f"{AUTH}/token?grant_type=password", f"{AUTH}/signup", "/rest/v1/posts", "/batch"):
        headers = {"content-type": "application/json"}
        story.ask("anybody", "POST", path, content=f'{{"password": "{password}", '.encode(), headers=headers)
        story.ask("anybody", "POST", path, content=password.encode(), headers={"content-type": "text/x"})
    for header in (f"Basic {password}", f"Bearer {token[:-3]}abc", f"Bearer {token}.{password}", "Bearer", password):
        story.ask("anybody", "GET", "/posts", headers={"authorization": header})
        story.ask("anybody", "GET", f"{AUTH}/user", headers={"authorization": header})
    for key in (spoilt(story.secrets["secret key"]), password, story.secrets["revoked key"], token + "x"):
        story.ask("anybody", "GET", "/posts", headers={"apikey": key})
    story.ask(
        "ada",
        "PATCH",
        f"/posts/{ids['draft']}",
        {"content": story.secrets["Ada's draft"]},
        headers={"if-match": '"99"'},
    )
    story.ask("ada", "GET", f"/posts?password=eq.{password}&select=nothing")
    story.ask("anybody", "POST", f"{AUTH}/token?grant_type={token}", {"email": "a@b", "password": password})


def spoilt(key: str) -> str:
    """The same but for its last character."""
    return key[:-1] + ("y" if key.endswith("x") else "x")


def tables_are_missing(story: Story) -> None:
    """Faults of the service itself, with secrets on their way into the statements that fail."""
    ada = story.secrets["Ada's address"]
    password = story.secrets["Ada's new password"]
    body = {"email": ada, "password": password}
    faults = [
        story.ask("anybody", "POST", f"{AUTH}/token?grant_type=password", body),
        story.ask("ada", "POST", "/posts", {"title": "t", "content": story.secrets["Ada's draft"]}),
        story.ask("service", "POST", "/users", {"username": "late", "email": "late@example.org", "password": password}),
        story.ask("anybody", "POST", f"{AUTH}/recover", {"email": ada}),
        story.ask(
            "anybody", "POST", f"{AUTH}/verify", {"type": "recovery", "token_hash": story.secrets["link by hand"]}
        ),
        story.ask("anybody", "GET", "/tags?name=eq.x"),
    ]
    assert {answer.status_code for answer in faults} >= {500}
