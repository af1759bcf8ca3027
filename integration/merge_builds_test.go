package integration_test

import (
	"slices"
	"strings"

	"kojisnap/dbsync/kojidb"
	"kojisnap/kojisnap/relation"
)

// cover finds the builds whose rows the snapshot has completely.
func (j *judge) cover() {
	j.covered = map[string]bool{}
	for _, l := range j.view["tag_listing"] {
		if j.scope[l["tag_id"]] {
			j.covered[l["build_id"]] = true
		}
	}
	for _, b := range j.view["build"] {
		if b["state"] != "1" && b["state"] != "2" {
			j.covered[b["id"]] = true
		}
	}
	for key, b := range j.view["build"] {
		if j.heldStays(key) {
			delete(j.covered, b["id"])
		}
	}
}

// held reports whether staging made a build of production's its own.
func (j *judge) held(key string) bool {
	b, there := j.before["build"][key]
	s, inSnapshot := j.view["build"][key]
	if !there || !inSnapshot || j.m.own["build"][key] {
		return false
	}
	if j.sameRow(relation.Get("build"), s, b) {
		return false // production came to the same
	}
	known, placed := j.m.stands[b["id"]]
	return b.id("create_event") >= floor || placed && b["state"] != known.state ||
		b["draft"] != s["draft"] && j.m.edited("build", key, j.before)
}

func (j *judge) heldStays(key string) bool { return !j.replaces() && j.held(key) }

// madeAnew reports whether staging deleted, reset or built anew a build of production's, and keeps it so.
func (j *judge) madeAnew(key string) bool {
	b := j.before["build"][key]
	return j.heldStays(key) && (b.id("create_event") >= floor || b["state"] != j.m.stands[b["id"]].state)
}

// moved reports whether staging moved a build to another volume.
func (j *judge) moved(key string) bool {
	b, there := j.before["build"][key]
	known, placed := j.m.stands[b["id"]]
	return there && placed && b["volume_id"] != known.volume && !(j.replaces() && j.held(key))
}

// volumes demands that builds stand where their files are.
func (j *judge) volumes() {
	name := map[string]string{}
	for _, v := range j.after["volume"] {
		name[v["id"]] = v["name"]
	}
	for _, key := range sorted(j.after["build"]) {
		d := j.after["build"][key]
		if j.own(relation.Get("build"), key) {
			continue
		}
		b, was := j.before["build"][key]
		known := j.m.stands[d["id"]]
		want := name[b["volume_id"]]
		stays := j.madeAnew(key)
		if _, in := j.view["build"][key]; !in && was && (b.id("create_event") >= floor || b["state"] != known.state) {
			stays = true
		}
		if !stays && !j.moved(key) {
			production := known.production
			if s, in := j.view["build"][key]; in && !j.heldStays(key) {
				production = j.volumeName[s["volume_id"]]
			}
			before := known.volume
			if j.replaces() && j.held(key) {
				before = b["volume_id"]
			}
			want = j.rule(d, production, name[before])
		}
		if name[d["volume_id"]] != want {
			j.problem("build %s stands on %s, not on %s (before: %s)", key, name[d["volume_id"]], want, name[b["volume_id"]])
		}
		if was && j.moved(key) && !strings.Contains(j.entries("kept", "build")[key], "staging moved it") {
			j.problem("build %s was moved by staging, which is not noted", key)
		}
	}
}

func (j *judge) rule(b row, production, before string) string {
	nvr := kojidb.NVR{Name: j.after["package"]["id="+b["pkg_id"]]["name"], Version: b["version"], Release: b["release"]}
	switch {
	case b["state"] != "1":
		return "DEFAULT"
	case slices.Contains(j.opt.Staged, nvr), j.opt.Staged == nil && before == "staged":
		return "staged"
	case production == "DEFAULT":
		return "prod"
	}
	return "prod_" + production
}
