package integration_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"kojisnap/kojisnap/hub/hubtest"
)

// worker is staging's people: they do what Koji's hub lets them, at random, as it does it.
type worker struct {
	*database
	rnd   *rand.Rand
	prod  *hubtest.Memory
	model *model
	user  string
	n     int
	event string // of this deed, empty: none yet
}

type deed struct {
	weight int
	do     func(*worker) string // what it did, empty: nothing
}

var deeds = []deed{
	{6, (*worker).newBuild}, {6, (*worker).importTheirs}, {4, (*worker).importTheirRPM}, {5, (*worker).tagBuild}, {4, (*worker).tagLikeThem},
	{5, (*worker).untag}, {2, (*worker).newTag}, {1, (*worker).deleteTag}, {4, (*worker).rename}, {2, (*worker).swap}, {3, (*worker).newName},
	{1, (*worker).blockUser}, {2, (*worker).target}, {3, (*worker).editConfig}, {3, (*worker).editExtra}, {2, (*worker).editInheritance},
	{3, (*worker).editPackage}, {2, (*worker).ownPackage}, {1, (*worker).editGroup}, {2, (*worker).externalRepo}, {4, (*worker).resubmit},
	{3, (*worker).finish}, {3, (*worker).deleteBuild}, {2, (*worker).resetBuild}, {3, (*worker).promote}, {2, (*worker).importDraft}, {3, (*worker).sign}, {2, (*worker).signLikeThem}, {3, (*worker).unsign},
	{2, (*worker).moveVolume}, {2, (*worker).ownBuild}, {2, (*worker).image}, {2, (*worker).buildroot}, {3, (*worker).addRPM}, {2, (*worker).maven},
	{2, (*worker).revert}, {2, (*worker).giveUp},
}

// step does one thing and says what.
func (w *worker) step() string {
	total := 0
	for _, d := range deeds {
		total += d.weight
	}
	for range 1000 {
		at := w.rnd.IntN(total)
		for _, d := range deeds {
			if at -= d.weight; at >= 0 {
				continue
			}
			w.event = ""
			w.exec("BEGIN")
			did, err := w.try(d)
			var pg *pgconn.PgError
			if errors.As(err, &pg) && pg.Code == "23505" { // the hub would refuse it
				did = ""
			} else if err != nil {
				w.t.Fatal(err)
			}
			if did == "" {
				w.exec("ROLLBACK")
				break
			}
			w.exec("COMMIT")
			return did
		}
	}
	w.t.Fatal("staging has nothing to do")
	return ""
}

type refused struct{ error }

func (w *worker) try(d deed) (did string, err error) {
	defer func() {
		if r, ok := recover().(refused); ok {
			err = r.error
		}
	}()
	return d.do(w), nil
}

// run executes a statement.
func (w *worker) run(sql string, args ...any) {
	if _, err := w.conn.Exec(w.t.Context(), sql, args...); err != nil {
		panic(refused{fmt.Errorf("%s %v: %w", sql, args, err)})
	}
}

// get runs a statement that returns one value.
func (w *worker) get(sql string, args ...any) string {
	var v any
	if err := w.conn.QueryRow(w.t.Context(), sql, args...).Scan(&v); err != nil {
		panic(refused{fmt.Errorf("%s %v: %w", sql, args, err)})
	}
	return fmt.Sprint(v)
}

// pick is one of a query's rows, nil if there is none.
func (w *worker) pick(sql string, args ...any) []string {
	found := w.strings(sql, args...)
	if len(found) == 0 {
		return nil
	}
	return found[w.rnd.IntN(len(found))]
}

// ev is the event of this deed.
func (w *worker) ev() string {
	if w.event == "" {
		w.event = w.get("SELECT get_event()")
	}
	return w.event
}

func (w *worker) create(table, columns string, values ...any) {
	marks := make([]string, len(values))
	for i := range values {
		marks[i] = fmt.Sprintf("$%d", i+1)
	}
	w.run(fmt.Sprintf("INSERT INTO %s (%s, create_event, creator_id) VALUES (%s, %s, %s)", table, columns, strings.Join(marks, ", "), w.ev(), w.user), values...)
}

func (w *worker) revoke(table, where string, args ...any) {
	w.run(fmt.Sprintf("UPDATE %s SET active = NULL, revoke_event = %s, revoker_id = %s WHERE active AND %s", table, w.ev(), w.user, where), args...)
}

func (w *worker) word() string { w.n++; return fmt.Sprintf("stg%d", w.n) }

// theirs are rows of production's that staging does not have yet, by id.
func (w *worker) theirs(table string, wanted func(hubtest.Values) bool) hubtest.Values {
	have := map[string]bool{}
	for _, f := range w.strings("SELECT id FROM " + table) {
		have[f[0]] = true
	}
	all, err := w.prod.Select(table, nil)
	must(w.t, err)
	var found []hubtest.Values
	for _, v := range all {
		if !have[fmt.Sprint(v["id"])] && (wanted == nil || wanted(v)) {
			found = append(found, v)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[w.rnd.IntN(len(found))]
}

func (w *worker) theirName(table string, id any) string {
	found, err := w.prod.Select(table, hubtest.Values{"id": id})
	must(w.t, err)
	return fmt.Sprint(found[0]["name"])
}

func (w *worker) insertBuild(pkg, version, release string, state int) string {
	return w.get(`INSERT INTO build (volume_id, pkg_id, version, release, create_event, start_time, completion_time, state, owner)
		VALUES (0, $1, $2, $3, $4, now(), CASE WHEN $5 <> 0 THEN now() END, $5, $6) RETURNING id`, pkg, version, release, w.ev(), state, w.user)
}

func (w *worker) insertRPM(build, name, version, release, arch string) string {
	id := w.get(`INSERT INTO rpminfo (build_id, name, version, release, arch, draft, external_repo_id, payloadhash, size, buildtime)
		VALUES ($1, $2, $3, $4, $5, false, 0, md5($6), 1, 1) RETURNING id`, build, name, version, release, arch, w.word())
	w.run("INSERT INTO rpmsigs VALUES ($1, '', md5($2))", id, w.word())
	return id
}

// putInto tags a build, with its package if need be.
func (w *worker) putInto(build, tag string) {
	pkg := w.get("SELECT pkg_id FROM build WHERE id = $1", build)
	if w.get("SELECT count(*) FROM tag_packages WHERE package_id = $1 AND tag_id = $2 AND active", pkg, tag) == "0" {
		w.create("tag_packages", "package_id, tag_id", pkg, tag)
		if w.get("SELECT count(*) FROM tag_package_owners WHERE package_id = $1 AND tag_id = $2 AND active", pkg, tag) == "0" {
			w.create("tag_package_owners", "package_id, tag_id, owner", pkg, tag, w.user)
		}
	}
	w.create("tag_listing", "build_id, tag_id", build, tag)
}

func (w *worker) tag() string {
	return w.pick("SELECT tag_id FROM tag_config WHERE active ORDER BY 1")[0]
}

func (w *worker) packageNamed(name string) string {
	if p := w.pick("SELECT id FROM package WHERE name = $1", name); p != nil {
		return p[0]
	}
	return w.get("INSERT INTO package (name) VALUES ($1) RETURNING id", name)
}

func (w *worker) newBuild() string {
	name := w.word()
	if w.rnd.IntN(3) > 0 {
		name = w.pick("SELECT name FROM package ORDER BY id")[0]
	}
	build := w.insertBuild(w.packageNamed(name), "99", "1."+w.word(), 1)
	w.run("INSERT INTO build_types VALUES ($1, 1)", build)
	for _, arch := range []string{"src", "x86_64", "aarch64"} {
		w.insertRPM(build, name, "99", "1."+w.word(), arch)
	}
	w.event = ""
	w.putInto(build, w.tag())
	return "new build of " + name
}

// importTheirs imports a build that production has by now under the same NVR.
func (w *worker) importTheirs() string {
	b := w.theirs("build", func(b hubtest.Values) bool { return b["draft"] != true })
	if b == nil {
		return ""
	}
	name, version, release := w.theirName("package", b["pkg_id"]), fmt.Sprint(b["version"]), fmt.Sprint(b["release"])
	build := w.insertBuild(w.packageNamed(name), version, release, 1)
	w.run("INSERT INTO build_types VALUES ($1, 1)", build)
	rpms, err := w.prod.Select("rpminfo", hubtest.Values{"build_id": b["id"]})
	must(w.t, err)
	for _, r := range rpms {
		if w.rnd.IntN(2) == 0 {
			w.insertRPM(build, fmt.Sprint(r["name"]), fmt.Sprint(r["version"]), fmt.Sprint(r["release"]), fmt.Sprint(r["arch"]))
		}
	}
	if w.rnd.IntN(2) == 0 {
		w.putInto(build, w.tag())
	}
	return fmt.Sprintf("imported %s-%s-%s, production's build %v", name, version, release, b["id"])
}

// importTheirRPM imports an rpm that production has by now under the same name into a build.
func (w *worker) importTheirRPM() string {
	r := w.theirs("rpminfo", nil)
	build := w.pick("SELECT id FROM build WHERE state = 1 AND NOT draft ORDER BY id")
	if r == nil || build == nil {
		return ""
	}
	w.insertRPM(build[0], fmt.Sprint(r["name"]), fmt.Sprint(r["version"]), fmt.Sprint(r["release"]), fmt.Sprint(r["arch"]))
	return fmt.Sprintf("imported production's rpm %v into build %s", r["id"], build[0])
}

func (w *worker) tagBuild() string {
	build, tag := w.pick("SELECT id FROM build WHERE state = 1 ORDER BY id"), w.tag()
	w.putInto(build[0], tag)
	return fmt.Sprintf("tagged build %s into %s", build[0], tag)
}

// tagLikeThem tags a build as production has done by now.
func (w *worker) tagLikeThem() string {
	all, err := w.prod.Select("tag_listing", hubtest.Values{"active": true})
	must(w.t, err)
	for range 30 {
		l := all[w.rnd.IntN(len(all))]
		if w.get(`SELECT (SELECT count(*) FROM build WHERE id = $1) + (SELECT count(*) FROM tag WHERE id = $2) - (SELECT count(*) FROM tag_listing WHERE build_id = $1 AND tag_id = $2 AND active)`,
			l["build_id"], l["tag_id"]) == "2" {
			w.putInto(fmt.Sprint(l["build_id"]), fmt.Sprint(l["tag_id"]))
			return fmt.Sprintf("tagged build %v into %v, as production did", l["build_id"], l["tag_id"])
		}
	}
	return ""
}

func (w *worker) untag() string {
	l := w.pick("SELECT build_id, tag_id FROM tag_listing WHERE active ORDER BY 1, 2")
	w.revoke("tag_listing", "build_id = $1 AND tag_id = $2", l[0], l[1])
	return fmt.Sprintf("untagged build %s from %s", l[0], l[1])
}

func (w *worker) newTag() string {
	parent, name := w.tag(), w.freshName("tag")
	id := w.get("INSERT INTO tag (name) VALUES ($1) RETURNING id", name)
	w.create("tag_config", "tag_id, arches", id, "x86_64")
	w.create("tag_inheritance", "tag_id, parent_id, priority, intransitive, noconfig, pkg_filter", id, parent, 0, false, false, "")
	return "new tag " + name
}

func (w *worker) deleteTag() string {
	tag := w.tag()
	for _, table := range []string{"tag_config", "tag_extra", "tag_inheritance", "tag_listing", "tag_packages", "tag_package_owners", "tag_external_repos",
		"group_config", "group_req_listing", "group_package_listing"} {
		w.revoke(table, "tag_id = $1", tag)
	}
	w.revoke("tag_inheritance", "parent_id = $1", tag)
	w.revoke("build_target_config", "build_tag = $1", tag)
	w.revoke("build_target_config", "dest_tag = $1", tag)
	return "deleted tag " + tag
}

var renamed = []string{"tag", "users", "build_target", "external_repo", "channels"}

// freshName is a new name, or one that production has made by now.
func (w *worker) freshName(table string) string {
	if w.rnd.IntN(2) == 0 {
		if theirs := w.theirs(table, nil); theirs != nil {
			return fmt.Sprint(theirs["name"])
		}
	}
	return w.word()
}

func (w *worker) someNamed(table string) []string {
	return w.pick("SELECT id, name FROM " + table + " WHERE id > 0 AND name <> 'kojisnap' ORDER BY id")
}

func (w *worker) rename() string {
	table := renamed[w.rnd.IntN(len(renamed))]
	r, name := w.someNamed(table), w.freshName(table)
	if r == nil {
		return ""
	}
	w.run("UPDATE "+table+" SET name = $2 WHERE id = $1", r[0], name)
	return fmt.Sprintf("renamed %s %s to %s", table, r[1], name)
}

func (w *worker) swap() string {
	table := renamed[w.rnd.IntN(len(renamed))]
	a, b := w.someNamed(table), w.someNamed(table)
	if a == nil || a[0] == b[0] {
		return ""
	}
	w.run("UPDATE "+table+" SET name = $2 WHERE id = $1", a[0], w.word())
	w.run("UPDATE "+table+" SET name = $2 WHERE id = $1", b[0], a[1])
	w.run("UPDATE "+table+" SET name = $2 WHERE id = $1", a[0], b[1])
	return fmt.Sprintf("swapped the names of %s %s and %s", table, a[1], b[1])
}

func (w *worker) newName() string {
	table := []string{"users", "package", "channels", "permissions", "external_repo", "groups"}[w.rnd.IntN(6)]
	name, columns, values := w.freshName(table), "name", "$1"
	if table == "users" {
		columns, values = "name, status, usertype", "$1, 0, 0"
	}
	id := w.get(fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s) RETURNING id", table, columns, values), name)
	if table == "external_repo" {
		w.create("external_repo_config", "external_repo_id, url", id, "https://stg.example.com/"+name)
	}
	return fmt.Sprintf("new %s %s", table, name)
}

func (w *worker) blockUser() string {
	u := w.someNamed("users")
	w.run("UPDATE users SET status = 1 - status WHERE id = $1", u[0])
	return "blocked or unblocked user " + u[1]
}

func (w *worker) target() string {
	build, dest := w.tag(), w.tag()
	if t := w.pick("SELECT build_target_id FROM build_target_config WHERE active ORDER BY 1"); t != nil && w.rnd.IntN(2) == 0 {
		w.revoke("build_target_config", "build_target_id = $1", t[0])
		w.create("build_target_config", "build_target_id, build_tag, dest_tag", t[0], build, dest)
		return "edited target " + t[0]
	}
	name := w.freshName("build_target")
	id := w.get("INSERT INTO build_target (name) VALUES ($1) RETURNING id", name)
	w.create("build_target_config", "build_target_id, build_tag, dest_tag", id, build, dest)
	return "new target " + name
}

func (w *worker) editConfig() string {
	tag := w.tag()
	w.revoke("tag_config", "tag_id = $1", tag)
	w.create("tag_config", "tag_id, arches, locked", tag, []string{"x86_64", "s390x", "aarch64"}[w.rnd.IntN(3)], w.rnd.IntN(2) == 0)
	return "edited the config of tag " + tag
}

func (w *worker) editExtra() string {
	tag, key := w.tag(), []string{"mock.package_manager", "rpm.macro.dist", "repo.auto"}[w.rnd.IntN(3)]
	w.revoke("tag_extra", "tag_id = $1 AND key = $2", tag, key)
	if w.rnd.IntN(3) > 0 {
		w.create("tag_extra", "tag_id, key, value", tag, key, `"stg"`)
	}
	return fmt.Sprintf("edited extra %s of tag %s", key, tag)
}

func (w *worker) editInheritance() string {
	if l := w.pick("SELECT tag_id, parent_id, priority FROM tag_inheritance WHERE active ORDER BY 1, 2"); l != nil && w.rnd.IntN(2) == 0 {
		w.revoke("tag_inheritance", "tag_id = $1 AND parent_id = $2", l[0], l[1])
		if w.rnd.IntN(2) == 0 {
			w.create("tag_inheritance", "tag_id, parent_id, priority, intransitive, noconfig, pkg_filter", l[0], l[1], w.rnd.IntN(100), false, false, "^stg")
		}
		return fmt.Sprintf("edited how tag %s inherits from %s", l[0], l[1])
	}
	child, parent := w.tag(), w.tag()
	if child == parent {
		return ""
	}
	w.create("tag_inheritance", "tag_id, parent_id, priority, intransitive, noconfig, pkg_filter", child, parent, w.rnd.IntN(100), false, false, "")
	return fmt.Sprintf("tag %s inherits from %s", child, parent)
}

func (w *worker) editPackage() string {
	tag, pkg := w.tag(), w.pick("SELECT id FROM package ORDER BY id")[0]
	if w.rnd.IntN(2) == 0 {
		w.revoke("tag_packages", "tag_id = $1 AND package_id = $2", tag, pkg)
	}
	w.create("tag_packages", "package_id, tag_id, blocked", pkg, tag, w.rnd.IntN(2) == 0)
	return fmt.Sprintf("listed package %s in tag %s", pkg, tag)
}

func (w *worker) ownPackage() string {
	l, owner := w.pick("SELECT package_id, tag_id FROM tag_package_owners WHERE active ORDER BY 1, 2"), w.someNamed("users")
	w.revoke("tag_package_owners", "package_id = $1 AND tag_id = $2", l[0], l[1])
	w.create("tag_package_owners", "package_id, tag_id, owner", l[0], l[1], owner[0])
	return fmt.Sprintf("package %s in tag %s is user %s's", l[0], l[1], owner[1])
}

func (w *worker) editGroup() string {
	group, tag := w.pick("SELECT id FROM groups ORDER BY id"), w.tag()
	if group == nil {
		return ""
	}
	w.revoke("group_config", "group_id = $1 AND tag_id = $2", group[0], tag)
	w.create("group_config", "group_id, tag_id, display_name", group[0], tag, w.word())
	w.revoke("group_package_listing", "group_id = $1 AND tag_id = $2 AND package = 'bash'", group[0], tag)
	w.create("group_package_listing", "group_id, tag_id, package, type", group[0], tag, "bash", "mandatory")
	return fmt.Sprintf("edited group %s in tag %s", group[0], tag)
}

func (w *worker) externalRepo() string {
	repo, tag := w.pick("SELECT external_repo_id FROM external_repo_config WHERE active ORDER BY 1"), w.tag()
	if repo == nil {
		return ""
	}
	if w.rnd.IntN(2) == 0 {
		w.revoke("external_repo_config", "external_repo_id = $1", repo[0])
		w.create("external_repo_config", "external_repo_id, url", repo[0], "https://stg.example.com/"+w.word())
		return "edited the url of external repo " + repo[0]
	}
	w.revoke("tag_external_repos", "external_repo_id = $1 AND tag_id = $2", repo[0], tag)
	w.create("tag_external_repos", "external_repo_id, tag_id, priority, merge_mode", repo[0], tag, w.rnd.IntN(100), "koji")
	return fmt.Sprintf("tag %s uses external repo %s", tag, repo[0])
}

// resubmit builds again what failed, was canceled or reset.
func (w *worker) resubmit() string {
	b := w.pick(`SELECT id FROM build b WHERE state IN (3, 4) AND NOT draft AND NOT EXISTS (SELECT FROM rpminfo r WHERE r.build_id = b.id)
		AND NOT EXISTS (SELECT FROM archiveinfo a WHERE a.build_id = b.id) AND NOT EXISTS (SELECT FROM tag_listing l WHERE l.build_id = b.id) ORDER BY id`)
	if b == nil {
		return ""
	}
	for _, table := range []string{"build_types", "maven_builds", "win_builds", "image_builds"} {
		w.run("DELETE FROM "+table+" WHERE build_id = $1", b[0])
	}
	w.run("UPDATE build SET state = 0, create_event = $2, start_time = now(), completion_time = NULL, owner = $3, volume_id = 0 WHERE id = $1", b[0], w.ev(), w.user)
	if w.rnd.IntN(3) > 0 {
		w.end(b[0])
	}
	return "resubmitted build " + b[0]
}

func (w *worker) end(build string) {
	nvr := w.strings("SELECT p.name, b.version, b.release FROM build b JOIN package p ON p.id = b.pkg_id WHERE b.id = $1", build)[0]
	w.run("UPDATE build SET state = 1, completion_time = now() WHERE id = $1", build)
	w.run("INSERT INTO build_types VALUES ($1, 1)", build)
	for _, arch := range []string{"src", "x86_64", "aarch64"} {
		w.insertRPM(build, nvr[0], nvr[1], nvr[2], arch)
	}
}

func (w *worker) finish() string {
	b := w.pick("SELECT id FROM build WHERE state = 0 AND create_event >= $1 ORDER BY id", floor)
	if b == nil {
		return ""
	}
	w.end(b[0])
	w.putInto(b[0], w.tag())
	return "finished build " + b[0]
}

func (w *worker) deleteBuild() string {
	b := w.pick("SELECT id FROM build WHERE state = 1 AND NOT draft ORDER BY id")
	w.revoke("tag_listing", "build_id = $1", b[0])
	for _, table := range []string{"rpm_checksum", "rpmsigs"} {
		w.run("DELETE FROM "+table+" WHERE rpm_id IN (SELECT id FROM rpminfo WHERE build_id = $1)", b[0])
	}
	w.run("UPDATE build SET state = 2 WHERE id = $1", b[0])
	return "deleted build " + b[0]
}

func (w *worker) resetBuild() string {
	b := w.pick("SELECT id FROM build WHERE state <> 0 AND NOT draft ORDER BY id")
	for _, table := range []string{"rpm_checksum", "rpmsigs", "buildroot_listing", "archive_rpm_components"} {
		w.run("DELETE FROM "+table+" WHERE rpm_id IN (SELECT id FROM rpminfo WHERE build_id = $1)", b[0])
	}
	for _, table := range []string{"maven_archives", "win_archives", "image_archives", "buildroot_archives", "archive_rpm_components", "archive_components"} {
		w.run("DELETE FROM "+table+" WHERE archive_id IN (SELECT id FROM archiveinfo WHERE build_id = $1)", b[0])
	}
	w.run("DELETE FROM archive_components WHERE component_id IN (SELECT id FROM archiveinfo WHERE build_id = $1)", b[0])
	for _, table := range []string{"rpminfo", "archiveinfo", "maven_builds", "win_builds", "image_builds", "build_types", "tag_listing"} {
		w.run("DELETE FROM "+table+" WHERE build_id = $1", b[0])
	}
	w.run("UPDATE build SET state = 4, task_id = NULL, volume_id = 0 WHERE id = $1", b[0])
	return "reset build " + b[0]
}

func (w *worker) promote() string {
	b := w.pick("SELECT id, release FROM build WHERE draft AND state = 1 ORDER BY id")
	if b == nil {
		return ""
	}
	release, _, _ := strings.Cut(b[1], ",draft_")
	w.run("UPDATE build SET draft = false, release = $2, promotion_time = now(), promoter = $3 WHERE id = $1", b[0], release, w.user)
	return "promoted draft " + b[0]
}

// importDraft imports what a draft of production's will be called when it is promoted, or an rpm
// of it.
func (w *worker) importDraft() string {
	b := w.pick("SELECT id, pkg_id, version, release FROM build WHERE draft AND id < $1 ORDER BY id", floor)
	if b == nil {
		return ""
	}
	release, _, _ := strings.Cut(b[3], ",draft_")
	if w.rnd.IntN(2) == 0 {
		w.insertBuild(b[1], b[2], release, 1)
		return "imported what draft " + b[0] + " will be"
	}
	rpm := w.pick("SELECT name, version, release, arch FROM rpminfo WHERE build_id = $1 ORDER BY id", b[0])
	build := w.pick("SELECT id FROM build WHERE state = 1 AND NOT draft ORDER BY id")
	if rpm == nil || build == nil {
		return ""
	}
	w.insertRPM(build[0], rpm[0], rpm[1], rpm[2], rpm[3])
	return fmt.Sprintf("imported an rpm of draft %s into build %s", b[0], build[0])
}

func (w *worker) sign() string {
	r, key := w.pick("SELECT id FROM rpminfo WHERE build_id IS NOT NULL ORDER BY id"), []string{"41526f0e", "105ef944", "57600000"}[w.rnd.IntN(3)]
	if w.model.placed["rpmsigs"]["rpm_id="+r[0]+" sigkey="+key] != nil {
		return "" // what staging removed and makes again is production's
	}
	w.run("INSERT INTO rpmsigs VALUES ($1, $2, md5($3))", r[0], key, w.word())
	return fmt.Sprintf("signed rpm %s with %s", r[0], key)
}

// signLikeThem imports a signature with a key that production has signed with by now.
func (w *worker) signLikeThem() string {
	sig := w.rows("rpmsigs", func(s row) bool {
		return w.model.placed["rpmsigs"][keyOf("rpmsigs", s)] == nil && w.model.placed["rpminfo"]["id="+s["rpm_id"]] != nil
	})
	if sig == nil {
		return ""
	}
	w.run("INSERT INTO rpmsigs SELECT id, $2, md5($3) FROM rpminfo WHERE id = $1", sig["rpm_id"], sig["sigkey"], w.word())
	return fmt.Sprintf("signed rpm %s with %s, as production did", sig["rpm_id"], sig["sigkey"])
}

// rows is one of production's rows that are wanted, nil if there is none.
func (w *worker) rows(table string, wanted func(row) bool) row {
	all, err := w.prod.Select(table, nil)
	must(w.t, err)
	var found []row
	for _, v := range all {
		r := row{}
		for c, x := range v {
			if x != nil {
				r[c] = fmt.Sprint(x)
			}
		}
		if wanted(r) {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[w.rnd.IntN(len(found))]
}

func (w *worker) unsign() string {
	r := w.pick("SELECT rpm_id, sigkey FROM rpmsigs ORDER BY 1, 2")
	for _, table := range []string{"rpm_checksum", "rpmsigs"} {
		w.run("DELETE FROM "+table+" WHERE rpm_id = $1 AND sigkey = $2", r[0], r[1])
	}
	return fmt.Sprintf("removed signature %q of rpm %s", r[1], r[0])
}

func (w *worker) moveVolume() string {
	b, v := w.pick("SELECT id, volume_id FROM build WHERE state IN (1, 2) ORDER BY id"), w.pick("SELECT id FROM volume ORDER BY id")
	if b[1] == v[0] {
		return ""
	}
	w.run("UPDATE build SET volume_id = $2 WHERE id = $1", b[0], v[0])
	w.run("INSERT INTO tag_updates (tag_id, update_event, updater_id, update_type) SELECT tag_id, $2, $3, 0 FROM tag_listing WHERE active AND build_id = $1", b[0], w.ev(), w.user)
	return fmt.Sprintf("moved build %s to volume %s", b[0], v[0])
}

func (w *worker) ownBuild() string {
	b, u := w.pick("SELECT id FROM build ORDER BY id"), w.someNamed("users")
	w.run("UPDATE build SET owner = $2 WHERE id = $1", b[0], u[0])
	return fmt.Sprintf("build %s is user %s's", b[0], u[1])
}

// image makes an image out of rpms, production's among them.
func (w *worker) image() string {
	build := w.insertBuild(w.packageNamed("stg-image"), "1", w.word(), 1)
	w.run("INSERT INTO build_types SELECT $1, id FROM btype WHERE name = 'image'", build)
	w.run("INSERT INTO image_builds VALUES ($1)", build)
	archive := w.get(`INSERT INTO archiveinfo (type_id, btype_id, build_id, filename, size, checksum, checksum_type)
		SELECT (SELECT min(id) FROM archivetypes), id, $1, 'image.raw', 1, 'aa', 2 FROM btype WHERE name = 'image' RETURNING id`, build)
	w.run("INSERT INTO image_archives VALUES ($1, 'x86_64')", archive)
	for range 6 {
		w.run("INSERT INTO archive_rpm_components VALUES ($1, $2) ON CONFLICT DO NOTHING", archive, w.pick("SELECT id FROM rpminfo ORDER BY id")[0])
	}
	if a := w.pick("SELECT id FROM archiveinfo WHERE id <> $1 ORDER BY id", archive); a != nil {
		w.run("INSERT INTO archive_components VALUES ($1, $2)", archive, a[0])
	}
	return "new image " + build
}

// buildroot records what rpms a buildroot had, and which archives.
func (w *worker) buildroot() string {
	id := w.get("INSERT INTO buildroot (br_type) VALUES (0) RETURNING id")
	for range 6 {
		w.run("INSERT INTO buildroot_listing VALUES ($1, $2) ON CONFLICT DO NOTHING", id, w.pick("SELECT id FROM rpminfo ORDER BY id")[0])
	}
	if a := w.pick("SELECT id FROM archiveinfo ORDER BY id"); a != nil {
		w.run("INSERT INTO buildroot_archives (buildroot_id, archive_id, project_dep) VALUES ($1, $2, true)", id, a[0])
	}
	tag := w.tag()
	w.run("INSERT INTO repo (create_event, tag_id, state) VALUES ($1, $2, 1)", w.ev(), tag)
	w.run("INSERT INTO tag_updates (tag_id, update_event, updater_id, update_type) VALUES ($1, $2, $3, 2)", tag, w.ev(), w.user)
	return "used buildroot " + id
}

func (w *worker) addRPM() string {
	b := w.pick("SELECT id FROM build WHERE state = 1 AND NOT draft ORDER BY id")
	w.insertRPM(b[0], w.word(), "1", "1", "x86_64")
	return "imported an rpm into build " + b[0]
}

func (w *worker) maven() string {
	b := w.pick("SELECT id FROM build b WHERE state = 1 AND NOT EXISTS (SELECT FROM maven_builds m WHERE m.build_id = b.id) ORDER BY id")
	if m := w.pick("SELECT build_id FROM maven_builds ORDER BY 1"); m != nil && w.rnd.IntN(2) == 0 {
		w.run("UPDATE maven_builds SET version = $2 WHERE build_id = $1", m[0], w.word())
		return "edited the maven info of build " + m[0]
	}
	if theirs, err := w.prod.Select("maven_builds", nil); err != nil {
		w.t.Fatal(err)
	} else if w.rnd.IntN(2) == 0 {
		b[0] = fmt.Sprint(theirs[w.rnd.IntN(len(theirs))]["build_id"]) // as production has done by now
		if w.pick("SELECT id FROM build WHERE id = $1", b[0]) == nil {
			return ""
		}
	}
	if w.model.placed["maven_builds"]["build_id="+b[0]] != nil {
		return ""
	}
	w.run("INSERT INTO maven_builds VALUES ($1, 'org.stg', 'x', '1')", b[0])
	return "maven info of build " + b[0]
}

// revert takes an edit back.
func (w *worker) revert() string {
	now := w.read()
	var found [][3]string
	for _, table := range append([]string{"build"}, renamed...) {
		for _, key := range sorted(w.model.placed[table]) {
			if w.model.edited(table, key, now) {
				found = append(found, [3]string{table, key})
			}
		}
	}
	if len(found) == 0 {
		return ""
	}
	table, key := found[w.rnd.IntN(len(found))][0], ""
	for _, f := range found {
		if f[0] == table {
			key = f[1]
		}
	}
	was := w.model.placed[table][key]
	if table == "build" {
		if r := now[table][key]; r["create_event"] != was["create_event"] || r["state"] != was["state"] || r["draft"] != was["draft"] {
			return ""
		}
		w.run("UPDATE build SET owner = $2 WHERE id = $1", was["id"], was["owner"])
	} else {
		w.run("UPDATE "+table+" SET name = $2 WHERE id = $1", was["id"], was["name"])
	}
	return fmt.Sprintf("took back the edit of %s %s", table, key)
}

// giveUp frees the names of a build of staging's.
func (w *worker) giveUp() string {
	b := w.pick("SELECT id FROM build WHERE id >= $1 AND NOT draft ORDER BY id", floor)
	if b == nil {
		return ""
	}
	w.run("UPDATE build SET release = release || '.old' WHERE id = $1", b[0])
	w.run("UPDATE rpminfo SET release = release || '.old' WHERE build_id = $1", b[0])
	return "renamed build " + b[0]
}
