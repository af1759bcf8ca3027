CREATE SCHEMA kojisnap;
CREATE TABLE kojisnap.mark (
	one boolean PRIMARY KEY DEFAULT true CHECK (one), format integer NOT NULL,
	environment text NOT NULL, database text NOT NULL, oid bigint NOT NULL, system_identifier text NOT NULL,
	floor bigint NOT NULL, adopted boolean NOT NULL, user_id integer NOT NULL, marked_at timestamptz NOT NULL);
CREATE TABLE kojisnap.seed (relation text, id integer, name text NOT NULL, PRIMARY KEY (relation, id));
CREATE TABLE kojisnap.idmap (relation text, prod_id integer, staging_id integer NOT NULL,
	made boolean NOT NULL, PRIMARY KEY (relation, prod_id), UNIQUE (relation, staging_id));
COMMENT ON COLUMN kojisnap.idmap.made IS 'the row was made by a load, as production''s id was taken';
CREATE TABLE kojisnap.placed (relation text, id integer, hash uuid NOT NULL, PRIMARY KEY (relation, id));
CREATE TABLE kojisnap.placed_columns (relation text PRIMARY KEY, columns text[] NOT NULL);
CREATE TABLE kojisnap.placed_volume (build_id integer PRIMARY KEY, production text NOT NULL,
	volume_id integer NOT NULL, state integer NOT NULL);
CREATE TABLE kojisnap.load (id serial PRIMARY KEY, snapshot text NOT NULL, event integer NOT NULL,
	tags integer[] NOT NULL, loaded_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE kojisnap.tag (tag_id integer PRIMARY KEY, name text NOT NULL, event integer NOT NULL, snapshot text NOT NULL);
CREATE TABLE kojisnap.left_out (load_id integer NOT NULL, relation text NOT NULL, key text NOT NULL,
	conflict boolean NOT NULL, reason text NOT NULL);
CREATE TABLE kojisnap.kept (load_id integer NOT NULL, relation text NOT NULL, key text NOT NULL, reason text NOT NULL);
CREATE TABLE kojisnap.overlay (relation text NOT NULL, key jsonb NOT NULL, entry text NOT NULL, before jsonb,
	PRIMARY KEY (relation, key));
CREATE TABLE kojisnap.overlay_made (id integer PRIMARY KEY);
COMMENT ON TABLE kojisnap.overlay_made IS 'users that an overlay made';
CREATE TABLE kojisnap.overlay_file (one boolean PRIMARY KEY DEFAULT true CHECK (one), body text NOT NULL);
CREATE TABLE kojisnap."placed_build_types" ("build_id" integer NOT NULL, "btype_id" integer NOT NULL);
CREATE TABLE kojisnap."placed_image_builds" ("build_id" integer NOT NULL);
CREATE TABLE kojisnap."placed_rpmsigs" ("rpm_id" integer NOT NULL, "sigkey" text NOT NULL);
CREATE TABLE kojisnap."placed_maven_archives" ("archive_id" integer NOT NULL);
CREATE TABLE kojisnap."placed_win_archives" ("archive_id" integer NOT NULL);
CREATE TABLE kojisnap."placed_image_archives" ("archive_id" integer NOT NULL);
CREATE TABLE kojisnap."placed_archive_rpm_components" ("archive_id" integer NOT NULL, "rpm_id" integer NOT NULL);
CREATE TABLE kojisnap."placed_archive_components" ("archive_id" integer NOT NULL, "component_id" integer NOT NULL);
