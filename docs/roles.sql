-- Two roles for a database on PostgreSQL: the owner has the tables and migrates, the service reads and writes rows.
-- Run it once, as a superuser, in the database that is to hold the tables; docs/security.md says what comes before and
-- after.

BEGIN;

CREATE ROLE broadsheet_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
CREATE ROLE broadsheet_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;

-- Nobody else comes in, and the service makes nothing here, not even temporary tables.
DO $$
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO broadsheet_owner, broadsheet_app', current_database());
END
$$;
ALTER SCHEMA public OWNER TO broadsheet_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

COMMIT;
