-- What the role needs that reads production's database (kojisnap pull --from-db): SELECT on columns, nothing else. Run it
-- in production's database, on the primary also if a standby is read, as the owner of Koji's tables or a superuser, and
-- again after an upgrade of Koji:
--
--   psql -d koji -c 'CREATE ROLE kojisnap_source LOGIN'
--   psql -d koji -f grants-source.sql
--   kojisnap pull --hub https://koji.example.com/kojihub --from-db 'host=replica dbname=koji user=kojisnap_source' …
--
-- The role can read no password, session, principal, grant, token or mail address, no task and no buildroot, and can
-- write nothing. If Koji's tables are in another schema than public: SET search_path = SCHEMA before.

DO $$
DECLARE
	wanted record;
	columns text;
BEGIN
	EXECUTE format('GRANT USAGE ON SCHEMA %I TO kojisnap_source', current_schema());
	FOR wanted IN SELECT * FROM (VALUES
		('events', 'id, time'),
		('users', 'id, name, status, usertype'),
		('permissions', 'id, name, description'),
		('channels', 'id, name, description, enabled, comment'),
		('volume', 'id, name'),
		('content_generator', 'id, name'),
		('btype', 'id, name'),
		('archivetypes', 'id, name, description, extensions, compression_type'),
		('package', 'id, name'),
		('tag', 'id, name'),
		('build_target', 'id, name'),
		('external_repo', 'id, name'),
		('groups', 'id, name'),
		('tag_config', 'tag_id, arches, perm_id, locked, maven_support, maven_include_all, create_event, revoke_event, creator_id, revoker_id, active'),
		('tag_extra', 'tag_id, key, value, create_event, revoke_event, creator_id, revoker_id, active'),
		('tag_inheritance', 'tag_id, parent_id, priority, maxdepth, intransitive, noconfig, pkg_filter, create_event, revoke_event, creator_id, revoker_id, active'),
		('tag_packages', 'package_id, tag_id, blocked, extra_arches, create_event, revoke_event, creator_id, revoker_id, active'),
		('tag_package_owners', 'package_id, tag_id, owner, create_event, revoke_event, creator_id, revoker_id, active'),
		('build_target_config', 'build_target_id, build_tag, dest_tag, create_event, revoke_event, creator_id, revoker_id, active'),
		('external_repo_config', 'external_repo_id, url, create_event, revoke_event, creator_id, revoker_id, active'),
		('tag_external_repos', 'tag_id, external_repo_id, priority, merge_mode, arches, create_event, revoke_event, creator_id, revoker_id, active'),
		('group_config', 'group_id, tag_id, blocked, exported, display_name, is_default, uservisible, description, langonly, biarchonly, create_event, revoke_event, creator_id, revoker_id, active'),
		('group_req_listing', 'group_id, tag_id, req_id, blocked, type, is_metapkg, create_event, revoke_event, creator_id, revoker_id, active'),
		('group_package_listing', 'group_id, tag_id, package, blocked, type, basearchonly, requires, create_event, revoke_event, creator_id, revoker_id, active'),
		('build', 'id, volume_id, pkg_id, version, release, epoch, draft, source, create_event, start_time, completion_time, promotion_time, state, task_id, owner, promoter, cg_id, extra'),
		('build_types', 'build_id, btype_id'),
		('maven_builds', 'build_id, group_id, artifact_id, version'),
		('win_builds', 'build_id, platform'),
		('image_builds', 'build_id'),
		('tag_listing', 'build_id, tag_id, create_event, revoke_event, creator_id, revoker_id, active'),
		('rpminfo', 'id, build_id, buildroot_id, name, version, release, epoch, arch, draft, external_repo_id, payloadhash, size, buildtime, metadata_only, extra'),
		('rpmsigs', 'rpm_id, sigkey, sighash'),
		('rpm_checksum', 'rpm_id, sigkey, checksum, checksum_type'),
		('archiveinfo', 'id, type_id, btype_id, build_id, buildroot_id, filename, size, checksum, checksum_type, metadata_only, extra'),
		('maven_archives', 'archive_id, group_id, artifact_id, version'),
		('win_archives', 'archive_id, relpath, platforms, flags'),
		('image_archives', 'archive_id, arch'),
		('archive_rpm_components', 'archive_id, rpm_id'),
		('archive_components', 'archive_id, component_id')
	) AS t (name, columns) LOOP
		-- Of those columns the ones that this Koji has.
		SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO columns
			FROM pg_catalog.pg_attribute a
			WHERE a.attrelid = to_regclass(quote_ident(wanted.name)) AND a.attnum > 0 AND NOT a.attisdropped
			AND a.attname::text = ANY (string_to_array(wanted.columns, ', '));
		CONTINUE WHEN columns IS NULL; -- rpm_checksum came with Koji 1.32
		EXECUTE format('GRANT SELECT (%s) ON %I TO kojisnap_source', columns, wanted.name);
	END LOOP;
END
$$;
