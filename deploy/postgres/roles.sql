-- Run once by the image of postgres, as its superuser, when the data directory is new. No service of ridelog logs in as
-- the superuser. An older data directory is given the same by hand: psql -U postgres -d ridelog -f this file.
\set ridelog_password `cat /run/secrets/postgres_password`
\set tailer_password `cat /run/secrets/postgres_tailer_password`

-- Owns the database and its tables: appending makes the next partition of `events`, which only an owner may.
CREATE ROLE ridelog LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'ridelog_password';
ALTER DATABASE ridelog OWNER TO ridelog;
-- Else the age of transactions of other roles is hidden from the API, and RidelogTransactionOpen cannot fire for a
-- forgotten psql of the superuser or a long dump.
GRANT pg_read_all_stats TO ridelog;

-- Reads the WAL as well, with the data of every table in it: the only one that may.
CREATE ROLE ridelog_tailer LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE REPLICATION NOBYPASSRLS PASSWORD :'tailer_password' IN ROLE ridelog;

REVOKE ALL ON DATABASE ridelog FROM PUBLIC;
