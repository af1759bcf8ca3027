package dbtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// OldestRelease and NewestRelease bound the Koji releases 1.N whose schemas the tests know.
const (
	OldestRelease = 21
	NewestRelease = 37
)

// Release makes a database as a new Koji 1.release has it, with that release's seeds under the
// ids that they have there.
func Release(t testing.TB, release int) string {
	t.Helper()
	if release < OldestRelease || release > NewestRelease {
		t.Fatalf("no schema of Koji 1.%d is known", release)
	}
	return clone(t, fmt.Sprintf("release%d", release))
}

// ProductionOf makes a database with the rows of package kojiprod as a Koji 1.release holds them:
// without drafts, blocked extras and columns that came later.
func ProductionOf(t testing.TB, release int) string {
	t.Helper()
	dsn := Production(t)
	Exec(t, dsn, downgrade(release, false))
	return dsn
}

// downgrade is SQL that makes a database of Koji 1.37 one of 1.release. Rows that the older schema
// cannot hold go.
func downgrade(release int, fresh bool) string {
	var b strings.Builder
	for _, d := range slices.Backward(differences) {
		if d.release <= release {
			break
		}
		b.WriteString(d.undo)
		if fresh {
			b.WriteString(d.seeds)
		}
	}
	return b.String()
}

// Upgrade is SQL that does to a database of Koji 1.from what Koji's own upgrades to 1.to do. It
// is one transaction, as each of those is.
func Upgrade(from, to int) string {
	var b strings.Builder
	b.WriteString("BEGIN;")
	for _, d := range differences {
		if d.release > from && d.release <= to {
			b.WriteString(d.do)
		}
	}
	b.WriteString("COMMIT;")
	return b.String()
}

// difference is what a release changed in the schema of the one before it.
type difference struct {
	release int
	do      string // in a database of the release before
	undo    string // in one of this release
	seeds   string // also, where nothing refers to the seeds: those that the one before has when it is new
}

// differences are those of koji-facts, in order. 1.27 and 1.29 changed nothing.
var differences = []difference{
	{22, `
		ALTER TABLE events ALTER time TYPE timestamptz;
		ALTER TABLE sessions ALTER start_time TYPE timestamptz, ALTER update_time TYPE timestamptz;
		ALTER TABLE task ALTER create_time TYPE timestamptz, ALTER start_time TYPE timestamptz, ALTER completion_time TYPE timestamptz;
		ALTER TABLE build ALTER start_time TYPE timestamptz, ALTER completion_time TYPE timestamptz;
		ALTER TABLE build_reservations ALTER created TYPE timestamptz;
		DROP INDEX sessions_active_and_recent;
		CREATE INDEX sessions_active_and_recent ON sessions (expired, master, update_time) WHERE expired = false AND master IS NULL;
		` + eventTime("timestamptz"), `
		ALTER TABLE events ALTER time TYPE timestamp;
		ALTER TABLE sessions ALTER start_time TYPE timestamp, ALTER update_time TYPE timestamp;
		ALTER TABLE task ALTER create_time TYPE timestamp, ALTER start_time TYPE timestamp, ALTER completion_time TYPE timestamp;
		ALTER TABLE build ALTER start_time TYPE timestamp, ALTER completion_time TYPE timestamp;
		ALTER TABLE build_reservations ALTER created TYPE timestamp;
		DROP INDEX sessions_active_and_recent;
		CREATE INDEX sessions_active_and_recent ON sessions (expired, master, update_time) WHERE expired IS NOT true AND master IS NULL;
		` + eventTime("timestamp"), ``},
	{23, `
		ALTER TABLE tag_extra ALTER value DROP NOT NULL;
		CREATE TABLE proton_queue (id serial PRIMARY KEY, created_ts timestamptz DEFAULT now(), address text NOT NULL, props json NOT NULL, body json NOT NULL);
		CREATE INDEX task_by_no_parent_state_method ON task (parent, state, method) WHERE parent IS NULL;`, `
		DELETE FROM tag_extra WHERE value IS NULL;
		ALTER TABLE tag_extra ALTER value SET NOT NULL;
		DROP TABLE proton_queue;
		DROP INDEX task_by_no_parent_state_method;`, ``},
	{24, `ALTER TABLE tag_external_repos ADD arches text;`, `ALTER TABLE tag_external_repos DROP arches;`, ``},
	{25, `ALTER TABLE repo ADD task_id integer REFERENCES task (id);`, `ALTER TABLE repo DROP task_id;`, ``},
	{26, `ALTER TABLE channels ADD description text, ADD enabled boolean NOT NULL DEFAULT true, ADD comment text;`,
		`ALTER TABLE channels DROP description, DROP enabled, DROP comment;`, ``},
	{28, `ALTER TABLE permissions ADD description text;
		UPDATE permissions SET description = 'about ' || name;`,
		`ALTER TABLE permissions DROP description;`,
		// There was a permission "build" until then: the seeds behind it had other ids.
		`UPDATE permissions SET id = id + 1000 WHERE id >= 3;
		UPDATE permissions SET id = id - 999 WHERE id > 1000;
		INSERT INTO permissions VALUES (3, 'build');
		SELECT setval('permissions_id_seq', max(id)) FROM permissions;`},
	{30, `ALTER TABLE archivetypes ADD compression_type text;
		UPDATE archivetypes SET compression_type = 'zip' WHERE name IN ('jar', 'zip');
		UPDATE archivetypes SET compression_type = 'tar' WHERE name = 'tar';`,
		`ALTER TABLE archivetypes DROP compression_type;`, ``},
	{31, `CREATE INDEX rpminfo_filename ON rpminfo ((name || '-' || version || '-' || release || '.' || arch || '.rpm')) INCLUDE (id);`,
		`DROP INDEX rpminfo_filename;`, ``},
	{32, `
		UPDATE archivetypes SET extensions = 'vhdx.gz vhdx.xz' WHERE name = 'vhdx-compressed';
		ALTER TABLE sessions ADD closed boolean NOT NULL DEFAULT false, DROP CONSTRAINT exclusive_expired_sane;
		ALTER TABLE sessions ADD CONSTRAINT no_closed_exclusive CHECK (closed IS FALSE OR exclusive IS NULL);
		CREATE TABLE rpm_checksum (rpm_id integer NOT NULL REFERENCES rpminfo (id), sigkey text NOT NULL, checksum text NOT NULL UNIQUE,
			checksum_type smallint NOT NULL, PRIMARY KEY (rpm_id, sigkey, checksum_type));
		CREATE INDEX rpm_checksum_rpm_id ON rpm_checksum (rpm_id);`, `
		ALTER TABLE sessions DROP closed;
		ALTER TABLE sessions ADD CONSTRAINT exclusive_expired_sane CHECK (expired IS FALSE OR exclusive IS NULL);
		DROP TABLE rpm_checksum;`,
		`UPDATE archivetypes SET extensions = 'vhd.gz vhd.xz' WHERE name = 'vhdx-compressed';`},
	{33, `
		ALTER TABLE sessions ADD renew_time timestamptz;
		ALTER TABLE host ADD update_time timestamptz;
		CREATE TABLE locks (name text NOT NULL PRIMARY KEY);
		INSERT INTO locks VALUES ('protonmsg-plugin');
		` + newTypes("checksum", "changes", "packages", "verified"), `
		ALTER TABLE sessions DROP renew_time;
		ALTER TABLE host DROP update_time;
		DROP TABLE locks;`, noTypes("checksum", "changes", "packages", "verified")},
	{34, `
		CREATE TABLE scheduler_task_runs (id serial PRIMARY KEY, task_id integer NOT NULL REFERENCES task (id), host_id integer NOT NULL REFERENCES host (id),
			active boolean NOT NULL DEFAULT true, create_time timestamptz NOT NULL DEFAULT now());
		CREATE INDEX scheduler_task_runs_task ON scheduler_task_runs (task_id);
		CREATE INDEX scheduler_task_runs_host ON scheduler_task_runs (host_id);
		CREATE INDEX scheduler_task_runs_create_time ON scheduler_task_runs (create_time);
		CREATE TABLE scheduler_host_data (host_id integer PRIMARY KEY REFERENCES host (id), data jsonb);
		CREATE TABLE scheduler_sys_data (name text NOT NULL PRIMARY KEY, data jsonb);
		CREATE TABLE scheduler_task_refusals (id serial PRIMARY KEY, task_id integer NOT NULL REFERENCES task (id), host_id integer NOT NULL REFERENCES host (id),
			by_host boolean NOT NULL, soft boolean NOT NULL DEFAULT false, msg text, time timestamptz NOT NULL DEFAULT now(), UNIQUE (task_id, host_id));
		CREATE TABLE scheduler_log_messages (id serial PRIMARY KEY, task_id integer REFERENCES task (id), host_id integer REFERENCES host (id),
			msg_time timestamptz NOT NULL DEFAULT now(), msg text NOT NULL);
		INSERT INTO locks VALUES ('scheduler');
		INSERT INTO permissions (name, description) VALUES ('draft-promoter', 'about draft-promoter');
		ALTER TABLE build ADD draft boolean NOT NULL DEFAULT false, ADD promotion_time timestamptz, ADD promoter integer REFERENCES users (id),
			ADD CONSTRAINT draft_for_rpminfo UNIQUE (id, draft),
			ADD CONSTRAINT promotion_sane CHECK (NOT draft OR (promotion_time IS NULL AND promoter IS NULL)),
			ADD CONSTRAINT draft_release_sane CHECK (NOT draft OR release ~ ('^.*,draft_' || id::text || '$'));
		ALTER TABLE rpminfo ADD draft boolean, DROP CONSTRAINT rpminfo_build_id_fkey, DROP CONSTRAINT rpminfo_unique_nvra;
		UPDATE rpminfo SET draft = false WHERE build_id IS NOT NULL;
		ALTER TABLE rpminfo ADD CONSTRAINT rpminfo_build_id_draft_fkey FOREIGN KEY (build_id, draft) REFERENCES build (id, draft) ON UPDATE CASCADE;
		ALTER TABLE rpminfo ADD CONSTRAINT build_id_draft_external_repo_id_sane CHECK (
			(draft IS NULL AND build_id IS NULL AND external_repo_id <> 0) OR (draft IS NOT NULL AND build_id IS NOT NULL AND external_repo_id = 0));
		CREATE UNIQUE INDEX rpminfo_unique_nvra_not_draft ON rpminfo (name, version, release, arch, external_repo_id) WHERE draft IS NOT TRUE;`, `
		DROP TABLE scheduler_task_runs, scheduler_host_data, scheduler_sys_data, scheduler_task_refusals, scheduler_log_messages;
		DELETE FROM locks WHERE name = 'scheduler';
		DELETE FROM permissions WHERE name = 'draft-promoter';
		DELETE FROM rpmsigs WHERE rpm_id IN (SELECT id FROM rpminfo WHERE draft);
		DELETE FROM rpm_checksum WHERE rpm_id IN (SELECT id FROM rpminfo WHERE draft);
		DELETE FROM rpminfo WHERE draft;
		DELETE FROM tag_listing WHERE build_id IN (SELECT id FROM build WHERE draft);
		DELETE FROM build_types WHERE build_id IN (SELECT id FROM build WHERE draft);
		DELETE FROM build WHERE draft;
		ALTER TABLE rpminfo DROP draft;
		DROP INDEX IF EXISTS rpminfo_unique_nvra_not_draft;
		ALTER TABLE build DROP draft, DROP promotion_time, DROP promoter;
		ALTER TABLE rpminfo ADD CONSTRAINT rpminfo_build_id_fkey FOREIGN KEY (build_id) REFERENCES build (id),
			ADD CONSTRAINT rpminfo_unique_nvra UNIQUE (name, version, release, arch, external_repo_id);`,
		`SELECT setval('permissions_id_seq', max(id)) FROM permissions;`},
	{35, `
		ALTER TABLE repo ADD creation_time timestamptz DEFAULT now(), ADD state_time timestamptz DEFAULT now(),
			ADD begin_event integer REFERENCES events (id), ADD end_event integer REFERENCES events (id), ADD opts jsonb, ADD custom_opts jsonb;
		CREATE TABLE repo_queue (id serial PRIMARY KEY, create_time timestamptz NOT NULL DEFAULT now(), owner integer NOT NULL REFERENCES users (id),
			priority integer NOT NULL, tag_id integer NOT NULL REFERENCES tag (id), at_event integer REFERENCES events (id),
			min_event integer REFERENCES events (id), opts jsonb NOT NULL, CONSTRAINT only_one_event CHECK (at_event IS NULL OR min_event IS NULL),
			update_time timestamptz NOT NULL DEFAULT now(), active boolean NOT NULL DEFAULT true, task_id integer REFERENCES task (id),
			tries integer NOT NULL DEFAULT 0, repo_id integer REFERENCES repo (id), CONSTRAINT active_sane CHECK (NOT active OR repo_id IS NULL));
		CREATE TABLE external_repo_data (external_repo_id integer NOT NULL REFERENCES external_repo (id), data jsonb,
			create_event integer NOT NULL DEFAULT get_event() REFERENCES events (id), revoke_event integer REFERENCES events (id),
			creator_id integer NOT NULL REFERENCES users (id), revoker_id integer REFERENCES users (id), active boolean DEFAULT true CHECK (active),
			CONSTRAINT active_revoke_sane CHECK ((active IS NULL AND revoke_event IS NOT NULL AND revoker_id IS NOT NULL)
				OR (active IS NOT NULL AND revoke_event IS NULL AND revoker_id IS NULL)),
			PRIMARY KEY (create_event, external_repo_id), UNIQUE (external_repo_id, active));
		INSERT INTO locks VALUES ('repo-queue');
		CREATE INDEX IF NOT EXISTS rpminfo_nvra ON rpminfo (name, version, release, arch, external_repo_id);`, `
		DROP TABLE repo_queue, external_repo_data;
		ALTER TABLE repo DROP creation_time, DROP state_time, DROP begin_event, DROP end_event, DROP opts, DROP custom_opts;
		DELETE FROM locks WHERE name = 'repo-queue';
		DROP INDEX rpminfo_nvra;`, ``},
	{36, newTypes("erofs", "erofs-compressed", "squashfs", "squashfs-compressed"), ``, noTypes("erofs", "erofs-compressed", "squashfs", "squashfs-compressed")},
	{37, newTypes("wsl"), ``, noTypes("wsl")},
}

// eventTime makes the function get_event_time, which gives the type that events.time has.
func eventTime(typ string) string {
	return `DROP FUNCTION get_event_time(integer);
		CREATE FUNCTION get_event_time(integer) RETURNS ` + typ + ` LANGUAGE sql AS 'SELECT time FROM events WHERE id = $1';`
}

// newTypes adds types of archives as upgrades do: those whose names are there already stay.
func newTypes(names ...string) string {
	return fmt.Sprintf(`INSERT INTO archivetypes (name, description, extensions)
		SELECT n, 'about ' || n, n FROM unnest('{%s}'::text[]) n ON CONFLICT DO NOTHING;`, strings.Join(names, ","))
}

func noTypes(names ...string) string {
	return fmt.Sprintf(`DELETE FROM archivetypes WHERE name = ANY('{%s}');
		SELECT setval('archivetypes_id_seq', max(id)) FROM archivetypes;`, strings.Join(names, ","))
}
