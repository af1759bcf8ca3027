-- What the role that loads needs, where it is not the owner of Koji's database. Run it as the
-- owner or a superuser, in Koji's database, after kojisnap init, and again after an update of
-- kojisnap or of Koji's schema:
--
--   psql -d koji -c 'CREATE ROLE kojisnap LOGIN'
--   kojisnap init --db 'dbname=koji user=koji' --env stg    # as the owner of Koji's tables
--   psql -d koji -f grants.sql
--   kojisnap load --db 'dbname=koji user=kojisnap' …
--
-- init itself needs the owner: it moves rows in all tables and sets their sequences. A load needs
-- no more than this: it can read no password, session or task, alter no table and set no sequence.
-- Statistics after a load (ANALYZE) are left to autovacuum, as only an owner may do that.

GRANT USAGE ON SCHEMA public, kojisnap TO kojisnap;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA kojisnap TO kojisnap;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA kojisnap TO kojisnap;
-- Read to see that none would give an id of production's; used for what a load makes.
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO kojisnap;

GRANT SELECT (id, name, status, usertype), INSERT (id, name, status, usertype), UPDATE (name, status, usertype) ON users TO kojisnap;

DO $$
DECLARE
	t text;
BEGIN
	-- Names, and what is versioned: never deleted.
	FOREACH t IN ARRAY ARRAY['events', 'permissions', 'channels', 'volume', 'content_generator', 'btype', 'archivetypes',
		'package', 'tag', 'build_target', 'external_repo', 'groups',
		'tag_config', 'tag_extra', 'tag_inheritance', 'tag_packages', 'tag_package_owners', 'build_target_config',
		'external_repo_config', 'tag_external_repos', 'group_config', 'group_req_listing', 'group_package_listing',
		'build', 'tag_listing', 'tag_updates'] LOOP
		EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO kojisnap', t);
	END LOOP;
	-- What production deletes: rpms and archives of a reset build, signatures.
	FOREACH t IN ARRAY ARRAY['build_types', 'maven_builds', 'win_builds', 'image_builds', 'rpminfo', 'rpmsigs', 'archiveinfo',
		'maven_archives', 'win_archives', 'image_archives', 'archive_rpm_components', 'archive_components'] LOOP
		EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO kojisnap', t);
	END LOOP;
	-- Who refers to those: such rows stay. (rpm_checksum is a cache, and came with Koji 1.32.)
	FOREACH t IN ARRAY ARRAY['buildroot_listing', 'buildroot_archives'] LOOP
		EXECUTE format('GRANT SELECT ON %I TO kojisnap', t);
	END LOOP;
	IF to_regclass('rpm_checksum') IS NOT NULL THEN
		GRANT SELECT, INSERT, DELETE ON rpm_checksum TO kojisnap;
	END IF;
	-- The overlay's: hosts, grants, principals.
	FOREACH t IN ARRAY ARRAY['host', 'host_config', 'host_channels', 'user_perms', 'user_groups', 'cg_users'] LOOP
		EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO kojisnap', t);
	END LOOP;
	GRANT SELECT, INSERT, UPDATE, DELETE ON user_krb_principals TO kojisnap;
END
$$;

-- load --on-conflict replace deletes staging's builds that stand in the way, with all that refers
-- to them. Who uses it needs this too:
--
-- GRANT DELETE ON build, tag_listing, build_reservations, buildroot_listing, buildroot_archives TO kojisnap;
