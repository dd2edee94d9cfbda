-- What the service's role may do with the tables. Run it as the owner, after the first migration; again does no harm.

BEGIN;

GRANT USAGE ON SCHEMA public TO broadsheet_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO broadsheet_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO broadsheet_app;

-- What was written there stays as it was; only migrations say which one was the last.
REVOKE UPDATE, DELETE ON revisions, events, transfers FROM broadsheet_app;
REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM broadsheet_app;

-- The same for what later migrations make.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO broadsheet_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO broadsheet_app;

COMMIT;
