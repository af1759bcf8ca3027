package integration_test

import (
	"fmt"
	"strings"

	"kojisnap/kojisnap/hub/hubtest"
)

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
