package dbsync_test

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/seedtest"
)

// TestNamesAnyhow gives the seeds of every table any ids, so that production's rows, its own
// types and permissions among them, find theirs taken by others, and lets staging make some of
// production's names of every kind first. Every reference leads to the same name then, and a
// hub answers the same about names as production's does.
func TestNamesAnyhow(t *testing.T) {
	t.Parallel()
	seedtest.Each(t, []uint64{1, 2, 3}, func(t *testing.T, seed uint64) {
		t.Parallel()
		rnd := rand.New(rand.NewPCG(seed, 0))
		w := newProduction(t)
		var permuted []string
		for table, seeds := range map[string]int{"permissions": 15, "channels": 8, "btype": 4, "archivetypes": 76} {
			permuted = append(permuted, fmt.Sprintf("UPDATE %s SET id = id + 1000", table))
			for i, id := range rnd.Perm(seeds + 4)[:seeds] { // production's own ids are just behind
				permuted = append(permuted, fmt.Sprintf("UPDATE %s SET id = %d WHERE id = %d", table, id+1, 1001+i))
			}
		}
		s := newStaging(t, strings.Join(permuted, ";"), admin)
		made := 0
		for _, r := range relation.All() {
			if !r.Named() || r.Name == "volume" {
				continue
			}
			more := map[string][2]string{"users": {", status, usertype", ", 0, 0"}, "archivetypes": {", description, extensions", ", '', ''"}}[r.Name]
			for _, x := range w.rows[r.Name] {
				if rnd.IntN(3) == 0 && s.one(fmt.Sprintf(`SELECT count(*) FROM "%s" WHERE name = $1`, r.Name), x.get("name")) == "0" {
					s.exec(fmt.Sprintf(`INSERT INTO "%s" (name%s) VALUES ($1%s)`, r.Name, more[0], more[1]), x.get("name"))
					made++
				}
			}
		}
		if made < 20 {
			t.Fatalf("staging made %d names", made)
		}
		before := s.own()
		rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
		if len(rep.Conflicts)+len(rep.LeftOut)+len(rep.Kept) > 0 {
			t.Errorf("report: %+v", rep)
		}
		s.check(w, shot{})
		same(t, before, s.own())
		sameAnswers(t, s)

		// Names go round among those of staging's and production's.
		for _, rel := range []string{"permissions", "channels", "btype", "package", "tag", "users", "groups"} {
			rows := w.rows[rel]
			a, b := rows[rnd.IntN(len(rows))], rows[rnd.IntN(len(rows))]
			a["name"], b["name"] = b["name"], a["name"]
		}
		w.tag(20, w.find("tag", "id", 9).int("id"))
		s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
		same(t, before, s.own())
	})
}

// sameAnswers compares what hubs say about names, at the event that was loaded.
func sameAnswers(t *testing.T, s *staging) {
	t.Helper()
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	tables, err := hubtest.PostgreSQL(t.Context(), s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer tables.Close()
	var calls []hub.Call
	call := func(method string, kwargs map[string]any, args ...any) {
		calls = append(calls, hub.Call{Method: method, Args: args, Kwargs: kwargs})
	}
	at := map[string]any{"event": 419}
	for _, tag := range []string{"f41", "f42", "f42-updates", "f42-build", "f42-compose", "f42-candidate", "f42-infra", "f42-modular", "f42-frozen", "f43-build"} {
		call("getTag", at, tag)
		call("getBuildConfig", at, tag)
		call("getInheritanceData", at, tag)
		call("getFullInheritance", at, tag)
		call("listTagged", map[string]any{"event": 419, "inherit": true}, tag)
		call("listTaggedArchives", map[string]any{"event": 419, "inherit": true}, tag)
		call("listPackages", map[string]any{"event": 419, "tagID": tag, "inherited": true})
		call("getTagGroups", at, tag)
		call("getExternalRepoList", at, tag)
	}
	call("getBuildTargets", at)
	for _, nvr := range []string{"bash-5.2.37-1.fc42", "libpq-16.8-1.fc42"} {
		call("getBuild", nil, nvr)
		call("getBuildType", nil, nvr)
	}
	for id := 58; id <= 65; id++ {
		call("getBuildType", nil, id)
		call("listArchives", map[string]any{"buildID": id})
	}
	answers := func(src hubtest.Source) []string {
		srv := httptest.NewServer(hubtest.New(src, hubtest.Options{}))
		defer srv.Close()
		c, err := hub.New(srv.URL+"/kojihub", hub.Options{Retries: -1})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, call := range calls {
			v, err := c.Call(t.Context(), call)
			if err != nil {
				t.Fatalf("%s %v: %v", call.Method, call.Args, err)
			}
			out = append(out, named(v))
		}
		return out
	}
	want, got := answers(rows), answers(tables)
	size := 0
	for i := range want {
		size += len(want[i])
		if want[i] != got[i] {
			t.Errorf("%s %v %v:\nproduction: %.2000s\nstaging:    %.2000s", calls[i].Method, calls[i].Args, calls[i].Kwargs, want[i], got[i])
		}
	}
	if size < 50_000 {
		t.Errorf("the answers are %d bytes long: too little to say anything", size)
	}
}

// own ids are those that mean the same on both sides; all others are known by their names.
var ownIDs = []string{"build_id", "rpm_id", "archive_id", "event_id", "creation_event_id"}

// named shows a value without the ids of what is known by name, and without volumes and tasks,
// which are staging's own.
func named(v hub.Value) string {
	var parts []string
	switch v.Kind() {
	case hub.Struct:
		for name, m := range v.Members() {
			id := name == "id" || strings.HasSuffix(name, "_id") || name == "build_tag" || name == "dest_tag"
			if id && !slices.Contains(ownIDs, name) || name == "volume_name" {
				continue
			}
			parts = append(parts, name+"="+named(m))
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, " ") + "}"
	case hub.Array:
		for _, m := range v.Items() {
			parts = append(parts, named(m))
		}
		return "[" + strings.Join(parts, " ") + "]"
	}
	return v.String()
}
