"""The owner's and the service's role on PostgreSQL, made by docs/roles.sql and docs/grants.sql: what the service's may
do is all that the service needs, and no more.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # the package ships no types
import httpx2
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.accounts.keys import load_keys
from app.cli.checkup.examine import examine_database
from app.cli.checkup.finding import Level
from app.cli.serve import GRACE
from app.data import engines
from app.data.database import Database
from app.data.rules import SERVICE, SYSTEM
from app.http.app import create_app
from app.models import Post, User
from app.query.removal import purge, remove, restore
from app.resources import CATALOG, open_database
from app.settings import Settings
from tests.cli.test_program import SECONDS, assert_refused, execute, free_port, serving
from tests.conftest import Server, fresh_database, in_thread
from tests.factories import make_post, make_transfer, make_user
from tests.http.conftest import client_of

DOCS = Path(__file__).resolve().parent.parent / "docs"
ALL = ["DELETE", "INSERT", "SELECT", "UPDATE"]
APPEND = ["INSERT", "SELECT"]
NARROW = {"revisions": APPEND, "events": APPEND, "transfers": APPEND, "alembic_version": ["SELECT"]}


@dataclass(frozen=True, slots=True)
class Roles:
    """URLs of one migrated database, by role."""

    admin: str
    owner: str
    app: str


@pytest.fixture(scope="module")
def roles(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Generator[Roles]:
    """Set up as docs/security.md says, with names and passwords of this run."""
    mark, password = secrets.token_hex(4), secrets.token_hex(16)
    folder = tmp_path_factory.mktemp("roles")
    with contextlib.contextmanager(fresh_database)("postgresql", server, folder, empty=True) as admin:
        owner, app = f"broadsheet_owner_{mark}", f"broadsheet_app_{mark}"
        made = Roles(admin, *(as_role(admin, role, password) for role in (owner, app)))
        try:
            in_thread(run_script(admin, renamed("roles.sql", mark)))
            for role in (owner, app):
                in_thread(run_script(admin, f"ALTER ROLE {role} PASSWORD '{password}'"))
            urls = {"BROADSHEET_DATABASE_URL": made.app, "BROADSHEET_MIGRATE_URL": made.owner}
            migrated = execute(folder, "migrate", **urls)  # by a role that may not even use the schema yet
            assert migrated.returncode == 0, migrated.stderr
            in_thread(run_script(made.owner, renamed("grants.sql", mark)))
            yield made
        finally:
            in_thread(
                run_script(admin, f"DROP OWNED BY {app}; DROP OWNED BY {owner} CASCADE; DROP ROLE {app}, {owner}")
            )


def renamed(name: str, mark: str) -> str:
    """The script with other names of roles: those of the document may be taken on a server that is given."""
    script = (DOCS / name).read_text()
    for role in ("broadsheet_owner", "broadsheet_app"):
        assert role in script or name == "grants.sql"
        script = script.replace(role, f"{role}_{mark}")
    return script


def as_role(url: str, role: str, password: str) -> str:
    return make_url(url).set(username=role, password=password).render_as_string(hide_password=False)


async def run_script(url: str, script: str) -> None:
    """Several statements at once, as psql sends a file."""
    engine = create_async_engine(engines.parse(url), isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute(script)
    finally:
        await engine.dispose()


@pytest.fixture
def serving_settings(roles: Roles, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, database_url=roles.app, migrate_url=roles.owner, pool_size=2, production=True)


@pytest.fixture
async def service(serving_settings: Settings) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client with the secret key of an application that runs as the service's role."""
    async with client_of(create_app(serving_settings)) as client:
        client.headers["apikey"] = load_keys(serving_settings.data_dir).secret
        yield client


@pytest.fixture
async def app_database(serving_settings: Settings) -> AsyncGenerator[Database]:
    async with open_database(serving_settings) as database:
        yield database


@pytest.fixture
async def driver(app_database: Database) -> AsyncGenerator[Any]:
    """The driver's own connection, as the service's role, outside any rule of ours."""
    async with app_database.writer.connect() as connection:
        yield (await connection.get_raw_connection()).driver_connection


# ---- what must work -------------------------------------------------------------------------------------------------


async def test_service_is_ready(service: httpx2.AsyncClient) -> None:
    assert (await service.get("/health/ready")).status_code == 200


async def test_account_is_made_and_its_password_kept(service: httpx2.AsyncClient, driver: Any) -> None:
    values = {"username": "grace", "email": "grace@example.org", "password": "a good long secret"}
    made = await service.post("/users", json=values)
    assert made.status_code == 201, made.text
    kept = await driver.fetchval("SELECT hashed_password FROM credentials WHERE user_id = $1", made.json()["id"])
    assert kept.startswith("$argon2id$")


async def test_post_is_written_changed_read_and_removed(service: httpx2.AsyncClient) -> None:
    author = (await service.post("/users", json={"username": "ada", "role": "author"})).json()["id"]
    made = await service.post("/posts", json={"title": "One", "user_id": author, "tags": ["sql"]})
    assert made.status_code == 201, made.text
    path = f"/posts/{made.json()['id']}"
    assert (await service.patch(path, json={"title": "Two", "tags": ["sql", "roles"]})).status_code == 200
    shown = await service.get(path, params={"select": "title,tags(name)", "tags.order": "name"})
    assert shown.json() == {"title": "Two", "tags": [{"name": "roles"}, {"name": "sql"}]}
    assert (await service.delete(path)).status_code == 204
    assert (await service.get(path)).status_code == 404
    tag = (await service.get("/tags", params={"name": "eq.sql"})).json()[0]["id"]
    assert (await service.delete(f"/tags/{tag}")).status_code == 204


async def test_upsert_works(service: httpx2.AsyncClient) -> None:
    await service.post("/tags", json={"name": "again"})
    prefer = {"Prefer": "resolution=merge-duplicates"}
    again = await service.post("/tags?on_conflict=name", json={"name": "again"}, headers=prefer)
    assert again.status_code == 200, again.text


async def test_rows_are_restored_and_purged(app_database: Database) -> None:
    users, posts = CATALOG.of(User), CATALOG.of(Post)
    async with app_database.writing(SERVICE) as session:
        ada = await make_user(session, role="author")
        post = await make_post(session, ada, tags=("kept",))
    for step in (remove, restore, remove, purge):
        async with app_database.writing(SERVICE) as session:
            await step(session, users, [ada.id])
    async with app_database.writing(SERVICE) as session:
        left = await session.execute(text("SELECT count(*) FROM posts WHERE id = :id"), {"id": post.id})
        assert left.scalar_one() == 0
        written = text("SELECT operation FROM revisions WHERE table_name = 'posts' AND row_id = :id ORDER BY id")
        done = (await session.scalars(written, {"id": str(post.id)})).all()
    assert done == ["insert", "delete", "restore", "delete", "purge"]
    assert posts.name == "posts"


async def test_user_with_transfers_is_made_nameless(app_database: Database) -> None:
    async with app_database.writing(SYSTEM) as session:
        ada, bob = await make_user(session), await make_user(session)
        await make_transfer(session, ada, bob)
    async with app_database.writing(SERVICE) as session:
        await purge(session, CATALOG.of(User), [ada.id])
    async with app_database.writing(SERVICE) as session:
        name = await session.scalar(text("SELECT username FROM users WHERE id = :id"), {"id": ada.id})
    assert name == f"purged-{ada.id}"


PRIVILEGES = """
SELECT relname, ARRAY(SELECT p FROM unnest(ARRAY['DELETE', 'INSERT', 'REFERENCES', 'SELECT', 'TRIGGER', 'TRUNCATE',
                                                 'UPDATE']) AS p WHERE has_table_privilege(pg_class.oid, p)) AS granted
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""


async def test_privileges_are_all_that_is_needed_and_no_more(driver: Any) -> None:
    found = {row["relname"]: row["granted"] for row in await driver.fetch(PRIVILEGES)}
    assert {"sessions", "api_keys", "one_time_tokens", "signing_keys", "credentials", *NARROW} <= found.keys()
    assert found == {name: NARROW.get(name, ALL) for name in found}


async def test_table_of_a_later_migration_can_be_used(roles: Roles, driver: Any) -> None:
    await run_script(roles.owner, "CREATE TABLE later (id bigserial PRIMARY KEY, name text)")
    try:
        made = await driver.fetchval("INSERT INTO later (name) VALUES ('new') RETURNING id")
        await driver.execute("UPDATE later SET name = 'newer'")
        assert await driver.fetchval("SELECT name FROM later WHERE id = $1", made) == "newer"
        await driver.execute("DELETE FROM later")
    finally:
        await run_script(roles.owner, "DROP TABLE later")


# ---- what must not --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE revisions SET actor_id = 1",
        "DELETE FROM revisions",
        "TRUNCATE revisions",
        "UPDATE events SET actor_id = 1",
        "DELETE FROM events",
        "TRUNCATE events",
        "UPDATE transfers SET amount = 1",
        "DELETE FROM transfers",
        "UPDATE alembic_version SET version_num = '0001'",
        "INSERT INTO alembic_version VALUES ('9999')",
        "CREATE TABLE mine (id integer)",
        "CREATE TEMPORARY TABLE mine (id integer)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE INDEX ON posts (title)",
        "CREATE TRIGGER mine BEFORE UPDATE ON posts FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "ALTER TABLE posts ADD COLUMN mine integer",
        "ALTER TABLE revisions DISABLE TRIGGER ALL",
        "DROP TABLE posts",
        "TRUNCATE posts",
        "CREATE ROLE mine",
        "ALTER ROLE CURRENT_USER SUPERUSER",
        "SET ROLE postgres",
        "COPY posts TO PROGRAM 'cat'",
    ],
)
async def test_role_of_the_service_may_not(driver: Any, roles: Roles, statement: str) -> None:
    """SQLSTATE 42501."""
    admin = make_url(roles.admin).username
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await driver.execute(statement.replace("postgres", f'"{admin}"'))


async def test_owner_of_the_tables_is_not_told_apart_by_name(roles: Roles) -> None:
    """A role that may become the owner counts as the owner."""
    app, owner = make_url(roles.app).username, make_url(roles.owner).username
    await run_script(roles.admin, f"GRANT {owner} TO {app}")
    try:
        found = await findings_of(roles.app)
        assert found["role"][0] is Level.REFUSE
        assert "owns" in found["role"][1]
    finally:
        await run_script(roles.admin, f"REVOKE {owner} FROM {app}")


# ---- the doctor -----------------------------------------------------------------------------------------------------


async def findings_of(url: str) -> dict[str, tuple[Level, str]]:
    settings = Settings(database_url=url, pool_size=2, production=True)
    async with open_database(settings) as database:
        found = await examine_database(database, settings, GRACE)
    return {finding.name: (finding.level, finding.sentence) for finding in found}


async def test_doctor_finds_nothing_wrong_with_the_role_of_the_service(roles: Roles) -> None:
    found = await findings_of(roles.app)
    names = ("database", "role", "grants", "readers", "clock", "time-zone", "connections", "pooler", "schema")
    assert {name: found[name][0] for name in names} == dict.fromkeys(names, Level.OK)


async def test_doctor_refuses_the_owner(roles: Roles) -> None:
    level, said = (await findings_of(roles.owner))["role"]
    assert level is Level.REFUSE
    for text_ in (
        "owns alembic_version, ",
        " more",
        "may create in schema public",
        "may change alembic_version, events",
    ):
        assert text_ in said
    assert "superuser" not in said


async def test_doctor_refuses_a_superuser(roles: Roles) -> None:
    level, said = (await findings_of(roles.admin))["role"]
    assert level is Level.REFUSE
    assert "is a superuser, passes row security by" in said


async def test_doctor_names_the_table_that_was_forgotten(roles: Roles) -> None:
    app = make_url(roles.app).username
    await run_script(roles.owner, f"REVOKE UPDATE ON posts FROM {app}; REVOKE USAGE ON tags_id_seq FROM {app}")
    try:
        level, said = (await findings_of(roles.app))["grants"]
        assert level is Level.REFUSE
        assert "may not use posts, tags_id_seq as it must" in said
    finally:
        await run_script(roles.owner, f"GRANT UPDATE ON posts TO {app}; GRANT USAGE ON tags_id_seq TO {app}")


# ---- the program ----------------------------------------------------------------------------------------------------


def program_settings(roles: Roles, **more: str) -> dict[str, str]:
    return {"BROADSHEET_PRODUCTION": "1", "BROADSHEET_DATABASE_URL": roles.app} | more


def test_program_serves_in_production(roles: Roles, tmp_path: Path) -> None:
    port = free_port()
    more = program_settings(roles, BROADSHEET_MIGRATE_URL=roles.owner)
    with serving(tmp_path, port, **more), httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.get("/health/ready", timeout=SECONDS).status_code == 200


def test_program_refuses_to_serve_as_the_owner_in_production(roles: Roles, tmp_path: Path) -> None:
    more = program_settings(roles, BROADSHEET_DATABASE_URL=roles.owner, BROADSHEET_PORT=str(free_port()))
    done = execute(tmp_path, "serve", **more)
    assert_refused(done)
    assert "role: broadsheet_owner" in done.stderr


def test_doctor_exits_by_what_it_found(roles: Roles, tmp_path: Path) -> None:
    app = execute(tmp_path, "doctor", **program_settings(roles))
    assert (app.returncode, app.stderr) == (0, "")
    owner = execute(tmp_path, "doctor", **program_settings(roles, BROADSHEET_DATABASE_URL=roles.owner))
    assert (owner.returncode, owner.stderr) == (1, "")
