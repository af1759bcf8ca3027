package generate

import (
	"fmt"
	"slices"
	"strings"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/hub/hubtest/python"
)

// Koji's states of builds, and its types of tag_updates.
const (
	stateBuilding = int64(0)
	stateComplete = int64(1)
	stateDeleted  = int64(2)
	stateFailed   = int64(3)
	stateCanceled = int64(4)

	updateVolume    = int64(0)
	updateImport    = int64(1)
	updatePromotion = int64(3)
)

func isComplete(b kojidb.Values) bool { return b["state"] == stateComplete }

func isRegular(b kojidb.Values) bool { return isComplete(b) && b["draft"] != true }

func (m *Mutator) nvr(b kojidb.Values) string {
	return fmt.Sprintf("%s-%s-%s", m.nameOf("package", b["pkg_id"]), b["version"], b["release"])
}

// build picks a build at random. If there are Tags, three of four times it is one of theirs.
func (m *Mutator) build(wanted func(kojidb.Values) bool) kojidb.Values {
	if len(m.opts.Tags) > 0 && m.rnd.IntN(4) > 0 {
		for range 5 {
			listed := m.pick("tag_listing", kojidb.Values{"tag_id": m.tag()}, isActive)
			if listed == nil {
				continue
			}
			if b := m.pick("build", kojidb.Values{"id": listed["build_id"]}, wanted); b != nil {
				return b
			}
		}
	}
	return m.need("build", nil, wanted)
}

// insertBuild makes the row of a build of a random package.
func (m *Mutator) insertBuild(id, event int64, at python.Time, state int64, draft bool) kojidb.Values {
	pkg := m.pick("package", nil, nil)
	if pkg == nil || m.rnd.IntN(6) == 0 {
		pkg = kojidb.Values{"id": m.id("package"), "name": m.newName()}
		m.insert("package", pkg)
	}
	// An id is never used twice, so no other build has this version.
	b := kojidb.Values{"id": id, "volume_id": int64(0), "pkg_id": pkg["id"], "version": fmt.Sprintf("%d.%d", 90+m.rnd.IntN(9), id),
		"release": "1.fc42", "draft": draft, "create_event": event, "start_time": at, "state": state, "owner": m.editor()}
	if draft {
		b["release"] = fmt.Sprintf("1.fc42,draft_%d", id)
	}
	if m.rnd.IntN(8) == 0 {
		b["epoch"] = int64(m.rnd.IntN(3))
	}
	if m.rnd.IntN(3) > 0 {
		source := fmt.Sprintf("git+https://src.example.org/rpms/%s.git#%s", pkg["name"], m.digest())
		b["source"], b["extra"] = source, `{"source": {"original_url": "`+source+`"}}`
	}
	if state != stateBuilding {
		b["completion_time"] = at + python.Time(m.rnd.Int64N(60e6))
	}
	m.insert("build", b)
	return b
}

// fill gives a build its rpms as an import does, each with its signature with the empty key.
func (m *Mutator) fill(b kojidb.Values) {
	m.insert("build_types", kojidb.Values{"build_id": b["id"], "btype_id": m.need("btype", kojidb.Values{"name": "rpm"}, nil)["id"]})
	name := m.nameOf("package", b["pkg_id"])
	m.insertRPM(b, name, "src")
	for _, sub := range []string{"", "-devel", "-libs", "-debuginfo"}[:1+m.rnd.IntN(4)] {
		for _, arch := range []string{"aarch64", "x86_64"} {
			m.insertRPM(b, name+sub, arch)
		}
	}
}

func (m *Mutator) insertRPM(b kojidb.Values, name, arch string) int64 {
	id := m.id("rpminfo")
	release, _, _ := strings.Cut(python.AsString(b["release"]), ",draft_")
	m.insert("rpminfo", kojidb.Values{"id": id, "build_id": b["id"], "name": name, "version": b["version"], "release": release,
		"epoch": b["epoch"], "arch": arch, "draft": b["draft"], "external_repo_id": int64(0), "payloadhash": m.digest(),
		"size": fileSize(m.rnd, 50e3), "buildtime": int64(m.now) / 1e6, "metadata_only": false})
	m.insert("rpmsigs", kojidb.Values{"rpm_id": id, "sigkey": "", "sighash": m.digest()})
	return id
}

func newBuild(m *Mutator) string {
	event := m.newEvent()
	b := m.insertBuild(m.id("build"), event, m.now, stateComplete, false)
	m.fill(b)
	if m.rnd.IntN(3) > 0 {
		m.event = 0 // tagging is another call, with another event
		m.putInto(b, m.tag())
	}
	return "new build " + m.nvr(b)
}

func startBuild(m *Mutator) string {
	event := m.newEvent()
	b := m.insertBuild(m.id("build"), event, m.now, stateBuilding, false)
	return "started build " + m.nvr(b)
}

func endBuild(m *Mutator) string {
	b := m.need("build", kojidb.Values{"state": stateBuilding}, nil)
	state := []int64{stateComplete, stateComplete, stateFailed, stateCanceled}[m.rnd.IntN(4)]
	m.now += 1e5
	m.update("build", kojidb.Values{"id": b["id"]}, kojidb.Values{"state": state, "completion_time": m.now})
	if state == stateComplete && len(m.all("build_types", kojidb.Values{"build_id": b["id"]})) == 0 {
		m.fill(b)
	}
	return fmt.Sprintf("build %s ended in state %d", m.nvr(b), state)
}

// begin starts a transaction that takes its event and a build's id now, and commits later.
func begin(m *Mutator) string {
	event, at := m.takeEvent()
	t := transaction{event: event, build: m.id("build"), at: at}
	m.open = append(m.open, t)
	return fmt.Sprintf("a transaction began: event %d, build %d", t.event, t.build)
}

// commit ends such a transaction, so that rows with lower ids than known ones appear. One in three untags a
// build; the others import theirs.
func commit(m *Mutator) string {
	if late := python.Time(m.opts.Late.Microseconds()); late > 0 {
		m.open = slices.DeleteFunc(m.open, func(t transaction) bool { return m.now-t.at > late })
	}
	if len(m.open) == 0 {
		panic(stepFault{errNothing})
	}
	i := m.rnd.IntN(len(m.open))
	t := m.open[i]
	var untag kojidb.Values
	if m.rnd.IntN(3) == 0 {
		untag = m.need("tag_listing", kojidb.Values{"tag_id": m.tag()}, func(l kojidb.Values) bool { return isActive(l) && l["create_event"].(int64) < t.event })
	}
	m.open = slices.Delete(m.open, i, i+1)
	m.insert("events", kojidb.Values{"id": t.event, "time": t.at})
	m.event = t.event
	if untag != nil {
		m.revoke("tag_listing", kojidb.Values{"build_id": untag["build_id"], "tag_id": untag["tag_id"]})
		return fmt.Sprintf("the untagging of event %d committed: build %d from %s", t.event, untag["build_id"], m.nameOf("tag", untag["tag_id"]))
	}
	b := m.insertBuild(t.build, t.event, t.at, stateComplete, false)
	m.fill(b)
	// A package is not added to the list so late: the row would overlap one that was revoked later.
	if tag := m.tag(); m.listed(b["pkg_id"], tag) {
		m.putInto(b, tag)
	}
	return fmt.Sprintf("the import of event %d committed: build %s", t.event, m.nvr(b))
}

func deleteBuild(m *Mutator) string {
	b := m.build(isRegular)
	if len(m.all("tag_listing", kojidb.Values{"build_id": b["id"], "active": true})) > 0 {
		m.revoke("tag_listing", kojidb.Values{"build_id": b["id"]})
		m.event = 0
	}
	m.newEvent() // Koji makes an event even if nothing is left to revoke
	for _, rpm := range m.all("rpminfo", kojidb.Values{"build_id": b["id"]}) {
		m.remove("rpm_checksum", kojidb.Values{"rpm_id": rpm["id"]})
		m.remove("rpmsigs", kojidb.Values{"rpm_id": rpm["id"]})
	}
	m.update("build", kojidb.Values{"id": b["id"]}, kojidb.Values{"state": stateDeleted})
	return "deleted build " + m.nvr(b)
}

func resetBuild(m *Mutator) string {
	b := m.build(func(b kojidb.Values) bool { return b["state"] != stateBuilding && b["draft"] != true })
	m.reset(b)
	return "reset build " + m.nvr(b)
}

func (m *Mutator) reset(b kojidb.Values) { must(0, ResetBuild(m.tx, b["id"])) }

// recycleBuild restarts a build that failed, was canceled or reset.
func recycleBuild(m *Mutator) string {
	b := m.need("build", nil, func(b kojidb.Values) bool {
		if b["state"] != stateFailed && b["state"] != stateCanceled {
			return false
		}
		for _, table := range []string{"tag_listing", "rpminfo", "archiveinfo"} {
			if len(m.all(table, kojidb.Values{"build_id": b["id"]})) > 0 {
				return false
			}
		}
		return true
	})
	for _, table := range []string{"maven_builds", "win_builds", "image_builds", "build_types"} {
		m.remove(table, kojidb.Values{"build_id": b["id"]})
	}
	event := m.newEvent()
	m.update("build", kojidb.Values{"id": b["id"]}, kojidb.Values{"state": stateBuilding, "create_event": event, "start_time": m.now,
		"completion_time": nil, "owner": m.editor(), "volume_id": int64(0)})
	return "recycled build " + m.nvr(b)
}

func ownBuild(m *Mutator) string {
	b := m.build(nil)
	if b["state"] != stateBuilding && m.rnd.IntN(3) == 0 {
		m.update("build", kojidb.Values{"id": b["id"]}, kojidb.Values{"completion_time": b["completion_time"].(python.Time) + 1e6})
		return "changed the completion time of build " + m.nvr(b)
	}
	m.update("build", kojidb.Values{"id": b["id"]}, kojidb.Values{"owner": m.editor()})
	return "changed the owner of build " + m.nvr(b)
}

// updated adds the row for a change that no versioned row in the build's tags shows.
func (m *Mutator) updated(build any, kind int64) {
	for _, listed := range m.all("tag_listing", kojidb.Values{"build_id": build, "active": true}) {
		m.insert("tag_updates", kojidb.Values{"id": m.id("tag_updates"), "tag_id": listed["tag_id"], "update_event": m.newEvent(),
			"updater_id": m.editor(), "update_type": kind})
	}
}

func moveVolume(m *Mutator) string {
	b := m.build(isComplete)
	volume := m.need("volume", nil, func(v kojidb.Values) bool { return v["id"] != b["volume_id"] })
	m.update("build", kojidb.Values{"id": b["id"]}, kojidb.Values{"volume_id": volume["id"]})
	m.updated(b["id"], updateVolume)
	return fmt.Sprintf("moved build %s to volume %s", m.nvr(b), volume["name"])
}

func draftBuild(m *Mutator) string {
	event := m.newEvent()
	b := m.insertBuild(m.id("build"), event, m.now, stateComplete, true)
	m.fill(b)
	if m.rnd.IntN(2) == 0 {
		m.event = 0
		m.putInto(b, m.tag())
	}
	return "new draft build " + m.nvr(b)
}

func promoteBuild(m *Mutator) string {
	b := m.need("build", nil, func(b kojidb.Values) bool {
		if !isComplete(b) || b["draft"] != true {
			return false
		}
		release, _, _ := strings.Cut(python.AsString(b["release"]), ",draft_")
		return len(m.all("build", kojidb.Values{"pkg_id": b["pkg_id"], "version": b["version"], "release": release})) == 0
	})
	for _, rpm := range m.all("rpminfo", kojidb.Values{"build_id": b["id"]}) {
		if m.pick("rpminfo", kojidb.Values{"name": rpm["name"], "version": rpm["version"], "release": rpm["release"], "arch": rpm["arch"]},
			func(r kojidb.Values) bool { return r["draft"] != true && r["external_repo_id"] == int64(0) }) != nil {
			panic(stepFault{errNothing})
		}
	}
	was := m.nvr(b)
	b["release"], _, _ = strings.Cut(python.AsString(b["release"]), ",draft_")
	m.now += 1e5
	m.update("build", kojidb.Values{"id": b["id"]}, kojidb.Values{"draft": false, "release": b["release"], "promotion_time": m.now, "promoter": m.editor()})
	m.update("rpminfo", kojidb.Values{"build_id": b["id"]}, kojidb.Values{"draft": false})
	m.updated(b["id"], updatePromotion)
	return fmt.Sprintf("promoted draft build %s to %s", was, m.nvr(b))
}

func signBuild(m *Mutator) string {
	b := m.build(isComplete)
	key := []string{Key, secondKey, "41526f0e"}[m.rnd.IntN(3)]
	signed := 0
	part := m.rnd.IntN(4) == 0 // sometimes the signing process is killed
	for _, rpm := range m.all("rpminfo", kojidb.Values{"build_id": b["id"]}) {
		if part && m.rnd.IntN(2) == 0 || len(m.all("rpmsigs", kojidb.Values{"rpm_id": rpm["id"], "sigkey": key})) > 0 {
			continue
		}
		m.insert("rpmsigs", kojidb.Values{"rpm_id": rpm["id"], "sigkey": key, "sighash": m.digest()})
		signed++
	}
	if signed == 0 {
		panic(stepFault{errNothing})
	}
	return fmt.Sprintf("signed %d rpms of build %s with key %s", signed, m.nvr(b), key)
}

func removeSignature(m *Mutator) string {
	b := m.build(isComplete)
	rpm := m.need("rpminfo", kojidb.Values{"build_id": b["id"]}, nil)
	sig := m.need("rpmsigs", kojidb.Values{"rpm_id": rpm["id"]}, nil)
	of := kojidb.Values{"rpm_id": rpm["id"], "sigkey": sig["sigkey"]}
	m.remove("rpm_checksum", of)
	m.remove("rpmsigs", of)
	return fmt.Sprintf("removed the signature %q of rpm %d of build %s", sig["sigkey"], rpm["id"], m.nvr(b))
}

func addRPM(m *Mutator) string {
	b := m.build(isRegular)
	id := m.insertRPM(b, m.newName(), "x86_64")
	m.updated(b["id"], updateImport)
	return fmt.Sprintf("imported rpm %d into build %s", id, m.nvr(b))
}
