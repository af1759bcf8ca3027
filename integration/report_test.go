package integration_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/report"
	"kojisnap/kojisnap/report/reporttest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
)

// TestReport: the report says what the syncs came to, as page, text and JSON alike; the page that it writes is sound
// HTML, and stands up to a browser in all widths, in the dark and without a mouse.
func TestReport(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	dbtest.Exec(t, w.dsn, `INSERT INTO package (name) VALUES ('bash');
		INSERT INTO build (volume_id, pkg_id, version, release, state, completion_time, owner)
			SELECT 0, p.id, '5.3.0', '2.fc42', 1, now(), u.id FROM package p, users u WHERE p.name = 'bash' AND u.name = 'stgadmin'`)
	config := w.reportConfig(t)
	page := filepath.Join(t.TempDir(), "report.html")
	read := func(state kojisnap.State, says string) report.Env {
		t.Helper()
		return w.reports(t, config, page, state, says)
	}

	// Before the first load, and after it.
	if e := read(kojisnap.StateNotReady, "NOT READY: nothing was loaded yet"); e.Event != 0 || len(e.Syncs) != 0 {
		t.Errorf("before the first load: %+v", e)
	}
	succeed(t, "sync", "-c", config)
	e := read(kojisnap.StateReady, "READY at event ")
	if e.Event < lastEvent || len(e.Syncs) != 1 || e.Syncs[0].Rows == 0 || e.Syncs[0].Bytes == 0 || e.Changes != nil || len(e.Troubles) > 0 {
		t.Errorf("after the first sync: %+v", e)
	}
	if c := e.Cost; c.Last.Requests == 0 || c.Last.Received == 0 || c.Last.Sent == 0 || c.Last.Rows == 0 || c.Last != c.All {
		t.Errorf("what it cost production: %+v", c)
	}
	if f := e.Files; f.Topdir != w.topdir || f.Copies == 0 || f.Bytes == 0 || f.Free == 0 || f.Room < f.Free || f.Last.Files == 0 || f.Last.Hardlinked+f.Last.Reflinked+f.Last.Copied+f.Last.Spliced != f.Last.Files {
		t.Errorf("files: %+v", f)
	}
	ok := slices.IndexFunc(e.Checks, func(c report.Cell) bool {
		return c.Name == "rpms" && c.Arch == "x86_64" && c.Status == "ok" && c.Count > 5
	})
	if ok < 0 {
		t.Errorf("no check of rpms that is ok: %+v", e.Checks)
	}

	// The record of an earlier kojisnap has only the checks that are not ok.
	dbtest.Exec(t, w.dsn, "UPDATE kojisnap.sync SET report = report - 'passed' - 'lists'")
	old := read(kojisnap.StateReady, "READY at event ")
	if len(old.Checks) == 0 || len(old.Checks) >= len(e.Checks) || slices.ContainsFunc(old.Checks, func(c report.Cell) bool { return c.Status == "ok" }) || !old.Checked.Equal(e.Checked) {
		t.Errorf("of an old record: %+v", old.Checks)
	}

	// Production goes on.
	mutator, err := generate.NewMutator(w.prodRows, generate.MutatorOptions{Seed: 3, Tags: []string{"f42-compose"}, Pace: time.Minute})
	must(t, err)
	goOn := func() {
		t.Helper()
		for range 12 {
			_, err := mutator.Step()
			must(t, err)
		}
	}
	w.decide(t)
	runs := 1
	for i := range 5 {
		if goOn(); i == 1 || i == 4 || seedtest.Long() {
			kojisnapRun(t, "sync", "-c", config)
			runs++
		}
	}
	if e = read("", ""); e.Changes == nil || e.Changes.New.Total+e.Changes.Moved.Total+e.Changes.Added.Total+e.Changes.Gone.Total == 0 || len(e.Syncs) != runs {
		t.Errorf("changes: %+v", e.Changes)
	}
	for _, kind := range []string{"conflicts", "left out", "decisions"} {
		if !slices.ContainsFunc(e.Own, func(o report.Own) bool {
			return o.Kind == kind && o.Total > 0 && len(o.Entries) == o.Total && o.Consequence != ""
		}) {
			t.Errorf("no %s of staging's own", kind)
		}
	}
	w.weeks(t, runs)

	// Copies are lost, and rows are not as production's: all of them are named, not only the first.
	w.lose(t, "coreutils", "setup")
	dbtest.Exec(t, w.dsn, "UPDATE rpminfo SET size = size + 1 WHERE arch = 'x86_64' AND id IN (SELECT r.id FROM rpminfo r JOIN tag_listing l USING (build_id) WHERE l.active AND r.arch = 'x86_64' ORDER BY r.id LIMIT 12)")
	goOn()
	if o := kojisnapRun(t, "sync", "-c", config); o.code != 3 {
		t.Logf("exit code %d: %s", o.code, o.stderr)
	}
	e = read(kojisnap.StateNotReady, "NOT READY: ")
	rows := slices.IndexFunc(e.Checks, func(c report.Cell) bool { return c.Name == "rpms" && c.Arch == "x86_64" && c.Status == "failed" })
	if rows < 0 || e.Checks[rows].Bad < 6 || len(e.Checks[rows].Entries) != e.Checks[rows].Bad || e.Checks[rows].Cure == "" {
		t.Errorf("rpms: %+v", e.Checks)
	}
	if e.Every != 1800 || !slices.ContainsFunc(e.Syncs, func(s report.SyncPoint) bool { return s.Missed == 3 }) {
		t.Errorf("the schedule: every %d s", e.Every)
	}
	body := w.read(t, page)
	shown := htmlText(body)
	for _, name := range e.Checks[rows].Entries {
		if !strings.Contains(shown, name) {
			t.Errorf("the page does not name %q", name)
		}
	}
	// Old records have no lists: only the last sync's has them.
	if n := one(t, w.dsn, "SELECT count(*) FROM kojisnap.sync WHERE report ?| array['lists', 'passed']"); n != "1" {
		t.Errorf("%s records have all checks", n)
	}

	// Several environments on one page: one whose database is gone, and one that only the store knows.
	must(t, repository.UpdateEnvironment(t.Context(), w.store, "perf", func(e *repository.Environment) {
		e.Event, e.Pin, e.Loaded = 400, 400, time.Now().Add(-3*time.Hour)
		e.Sync = &repository.EnvironmentSync{Finished: time.Now().Add(-2 * time.Hour), Succeeded: time.Now().Add(-2 * time.Hour), Checks: map[string]int{"ok": 9}}
	}))
	several := filepath.Join(t.TempDir(), "several.toml")
	must(t, os.WriteFile(several, []byte(strings.Replace(w.read(t, config), "env    = \"stg\"\n", "", 1)+
		"[env.stg]\n[env.dev]\ndb = \"host=127.0.0.1 port=1 dbname=koji password=sesame connect_timeout=2\"\n"), 0o644))
	all := filepath.Join(t.TempDir(), "all.html")
	o := kojisnapRun(t, "report", "-c", several, "-o", all, "--json")
	var many report.Facts
	must(t, json.Unmarshal([]byte(o.stdout), &many))
	var states []string
	for _, e := range many.Environments {
		states = append(states, fmt.Sprint(e.Name, " ", e.Verdict.State, " ", e.StoreOnly))
	}
	if !slices.Equal(states, []string{"dev unknown false", "stg not ready false", "perf ready true"}) || o.code != 0 {
		t.Errorf("environments: %q: %s", states, o.stderr)
	}
	pages := map[string][]byte{"real": []byte(body), "several": []byte(w.read(t, all))}
	for _, page := range pages {
		reporttest.Parse(t, page)
		if strings.Contains(string(page), "sesame") {
			t.Error("the page has a password")
		}
	}
	// A host that knows only the store.
	var stored report.Facts
	must(t, json.Unmarshal([]byte(succeed(t, "report", "--store", w.store.String(), "--json")), &stored))
	states = nil
	for _, e := range stored.Environments {
		states = append(states, fmt.Sprint(e.Name, " ", e.Verdict.State, " ", e.StoreOnly))
	}
	if !slices.Equal(states, []string{"perf ready true", "stg not ready true"}) {
		t.Errorf("in the store: %q", states)
	}
	if o := kojisnapRun(t, "report", "-c", several, "--db", "dbname=x"); o.code != 2 || !strings.Contains(o.stderr, "--env") {
		t.Errorf("the database of which environment: exit code %d: %s", o.code, o.stderr)
	}
	if o := kojisnapRun(t, "report", "--store", t.TempDir()); o.code != 2 || !strings.Contains(o.stderr, "no database") {
		t.Errorf("of nothing: exit code %d: %s", o.code, o.stderr)
	}
	if e := w.reports(t, several, all, kojisnap.StateNotReady, "NOT READY: ", "--env", "stg"); len(e.Config) < 20 {
		t.Errorf("the configuration: %+v", e.Config)
	}

	// An environment whose database is gone is on the page; nothing is, when the page cannot be written.
	gone := kojisnapRun(t, "report", "-c", config, "--db", "host=127.0.0.1 port=1 dbname=koji connect_timeout=2", "--env", "stg", "--json")
	var facts report.Facts
	must(t, json.Unmarshal([]byte(gone.stdout), &facts))
	if gone.code != 0 || len(facts.Environments) != 1 || facts.Environments[0].Verdict.State != kojisnap.StateNotReady || !facts.Environments[0].StoreOnly || len(facts.Environments[0].Troubles) != 1 {
		t.Errorf("without the database: exit code %d, %+v", gone.code, facts)
	}
	for _, args := range [][]string{{"-o", filepath.Dir(page)}, {"-o", "/proc/report.html"}, {"-o", "-", "--json"}, {"extra"}} {
		if o := kojisnapRun(t, append([]string{"report", "-c", config}, args...)...); o.code == 0 || !strings.Contains(o.stdout+o.stderr, "report") && !strings.Contains(o.stderr, "extra") && !strings.Contains(o.stdout, "-o") {
			t.Errorf("report %q: exit code %d, %s%s", args, o.code, o.stdout, o.stderr)
		}
	}
	if after := w.read(t, page); after != body {
		t.Error("the page changed")
	}
	if seedtest.Long() {
		reporttest.Browse(t, pages) // as package report's tests do with pages that have all there can be
	}
}

// TestReportChanges: the builds that came, moved and went with the last load are named, each with its tags, and each
// once; what was only tagged again is no change.
func TestReportChanges(t *testing.T) {
	t.Parallel()
	w := newLoadedEnv(t)
	c := w.config(t, "f42-compose")
	const next = lastEvent + 1
	nvr := func(path string) string { return strings.ReplaceAll(path, "/", "-") }
	changes := func() *report.Changes {
		t.Helper()
		var f report.Facts
		must(t, json.Unmarshal([]byte(succeed(t, "report", "-c", c, "--json")), &f))
		return f.Environments[0].Changes
	}
	if have := changes(); have != nil {
		t.Errorf("after the first load: %+v", have)
	}
	w.event(t, next)
	var paths []string
	var ids []any
	for range 4 {
		var taken []string
		for _, p := range paths {
			taken = append(taken, strings.Split(p, "/")[0])
		}
		paths = append(paths, w.untagLatest(t, next, taken...))
		ids = append(ids, w.buildID(t, paths[len(paths)-1]))
	}
	// The first is gone. The second moves. The third is tagged again at once, the fourth too, and into another tag.
	for i, tags := range [][]int{nil, {8}, {2}, {2, 8}} {
		for _, tag := range tags {
			w.create(t, "tag_listing", next, hubtest.Values{"tag_id": tag, "build_id": ids[i]})
		}
	}
	row, err := w.prodRows.Select("build", hubtest.Values{"id": ids[3]})
	must(t, err)
	made := maps.Clone(row[0])
	made["id"], made["release"], made["create_event"] = 1000, "99.fc42", next
	must(t, w.prodRows.Insert("build", made))
	w.create(t, "tag_listing", next, hubtest.Values{"tag_id": 2, "build_id": 1000})
	names := map[int]string{}
	for _, id := range []int{2, 8} {
		tag, err := w.prodRows.Select("tag", hubtest.Values{"id": id})
		must(t, err)
		names[id] = tag[0]["name"].(string)
	}
	kojisnapRun(t, "pull", "-c", c, "--event", fmt.Sprint(next))
	kojisnapRun(t, "load", "-c", c)
	have := changes()
	if have == nil {
		t.Fatal("nothing is known")
	}
	last := strings.Split(paths[3], "/")
	want := map[string][]report.BuildChange{
		"gone": {{Build: nvr(paths[0]), From: []string{names[2]}}}, "moved": {{Build: nvr(paths[1]), Into: []string{names[8]}, From: []string{names[2]}}},
		"added": {{Build: nvr(paths[3]), Into: []string{names[8]}}}, "new": {{Build: last[0] + "-" + last[1] + "-99.fc42", Into: []string{names[2]}}},
	}
	for what, list := range map[string]report.BuildList{"gone": have.Gone, "moved": have.Moved, "added": have.Added, "new": have.New} {
		if !reflect.DeepEqual(list.Builds, want[what]) || list.Total != 1 {
			t.Errorf("%s: %+v, want %+v", what, list, want[what])
		}
	}
	if have.FromEvent != lastEvent || have.Event != next {
		t.Errorf("from %d to %d", have.FromEvent, have.Event)
	}
	if text := succeed(t, "report", "-c", c); !strings.Contains(text, "  moved "+nvr(paths[1])+" into "+names[8]+" out of "+names[2]+"\n") {
		t.Errorf("text: %s", text)
	}
	// The earlier snapshot is gone.
	must(t, w.store.Delete(t.Context(), "snapshots/"+have.From+".json"))
	var f report.Facts
	must(t, json.Unmarshal([]byte(succeed(t, "report", "-c", c, "--json")), &f))
	if e := f.Environments[0]; e.Changes != nil || !slices.ContainsFunc(e.Troubles, func(s string) bool { return strings.Contains(s, have.From) }) {
		t.Errorf("without the earlier snapshot: %+v, %q", e.Changes, e.Troubles)
	}
}

// reportConfig is config with production as it goes on.
func (w *env) reportConfig(t *testing.T) string {
	t.Helper()
	text := w.read(t, w.config(t, "f42-compose"))
	path := filepath.Join(t.TempDir(), "report.toml")
	must(t, os.WriteFile(path, []byte(strings.Replace(text, fmt.Sprintf("event = %d\n", lastEvent), "margin = \"0s\"\n", 1)), 0o644))
	return path
}

// reports makes all forms of a report, which must agree, and returns the environment.
func (w *env) reports(t *testing.T, config, page string, state kojisnap.State, says string, flags ...string) report.Env {
	t.Helper()
	flags = append(flags, "-c", config)
	if _, err := os.Stat(page); err != nil || seedtest.Long() { // later, both forms are of one run
		if o := kojisnapRun(t, append([]string{"report", "-o", page}, flags...)...); o.code != 0 || o.stdout+o.stderr != "" {
			t.Errorf("report -o: exit code %d, %s%s", o.code, o.stdout, o.stderr)
		}
	}
	var facts report.Facts
	must(t, json.Unmarshal([]byte(succeed(t, append([]string{"report", "--json", "-o", page}, flags...)...)), &facts))
	text := succeed(t, append([]string{"report"}, flags...)...)
	body := w.read(t, page)
	if len(facts.Environments) != 1 {
		t.Fatalf("%d environments", len(facts.Environments))
	}
	e := facts.Environments[0]
	if state != "" && (e.Verdict.State != state || !strings.HasPrefix(e.Verdict.Text, says)) || e.Name != "stg" {
		t.Errorf("environment %s: %+v, want %s, %q", e.Name, e.Verdict, state, says)
	}
	// Ages go on between the calls.
	verdict := regexp.MustCompile(`[0-9]+ (s|min|h) old`).ReplaceAllString(e.Verdict.Text, "")
	words := []string{"stg", strings.TrimRight(verdict, ", ")}
	for _, c := range e.Checks {
		words = append(words, c.Name, c.Tag)
		words = append(words, c.Entries...)
	}
	for _, c := range e.Verdict.Causes {
		words = append(words, c.Cure)
	}
	if e.Event > 0 {
		words = append(words, fmt.Sprint("event ", e.Event), e.Snapshot)
	}
	plain := htmlText(body)
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("the text does not say %q: %s", word, text)
		}
		if !strings.Contains(plain, word) {
			t.Errorf("the page does not say %q", word)
		}
	}
	return e
}

// htmlText is the text of a page.
func htmlText(page string) string {
	page = regexp.MustCompile(`(?s)<style>.*?</style>|<[^>]*>`).ReplaceAllString(page, "")
	for from, to := range map[string]string{"&#34;": `"`, "&#39;": "'", "&lt;": "<", "&gt;": ">", "&#43;": "+", "&amp;": "&"} {
		page = strings.ReplaceAll(page, from, to)
	}
	return page
}

// lose removes copies of packages in production and staging.
func (w *env) lose(t *testing.T, packages ...string) {
	t.Helper()
	for _, p := range packages {
		for _, pattern := range []string{"packages/" + p + "/*/*/data/signed/*/x86_64/*.rpm", "packages/" + p + "/*/*/x86_64/*.rpm"} {
			files, err := filepath.Glob(filepath.Join(w.prodTree, pattern))
			must(t, err)
			for _, f := range files {
				must(t, os.Remove(f))
			}
		}
		must(t, os.RemoveAll(filepath.Join(w.topdir, "vol/staged/packages", p)))
	}
}

// decide lets staging untag some builds of production's.
func (w *env) decide(t *testing.T) {
	t.Helper()
	dbtest.Exec(t, w.dsn, `UPDATE tag_listing SET active = NULL, revoke_event = get_event(), revoker_id = (SELECT id FROM users WHERE name = 'stgadmin')
		WHERE active AND (tag_id, build_id) IN (SELECT tag_id, build_id FROM tag_listing l JOIN tag t ON t.id = l.tag_id WHERE active AND t.name LIKE 'f42%' ORDER BY build_id LIMIT 6)`)
}

// weeks makes days of some runs, which are the syncs so far: one each half-hour, now and then one that failed, three that were missed.
func (w *env) weeks(t *testing.T, runs int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	const days = 52
	last := one(t, w.dsn, "SELECT max(id) FROM kojisnap.sync")
	// The newest keeps its place: the copies are before it.
	dbtest.Exec(t, w.dsn, fmt.Sprintf("UPDATE kojisnap.sync SET id = id + %d", days))
	var sql strings.Builder
	slot := 0
	for i := days; i >= 1; i-- {
		slot++
		if i == 20 {
			slot += 3
		}
		exit, text := 0, ""
		switch {
		case i%17 == 3:
			exit, text = 5, "pull: the hub does not answer"
		case i%23 == 9:
			exit, text = 3, "files f42-compose x86_64: 3 of 212"
		}
		took := 45 + rnd.IntN(70)
		fmt.Fprintf(&sql, `INSERT INTO kojisnap.sync SELECT %d, now() - %d * interval '30 minutes', now() - %d * interval '30 minutes' + %d * interval '1 second', %d, '%s',
			snapshot, event, run, version, who, report - 'passed' - 'lists' FROM kojisnap.sync WHERE id = %d + %d;`, i, slot+runs, slot+runs, took, exit, text, days, 1+rnd.IntN(runs-1))
	}
	for i := range runs {
		fmt.Fprintf(&sql, "UPDATE kojisnap.sync SET started = now() - %d * interval '30 minutes', finished = now() - %d * interval '30 minutes' + (finished - started) * 20 WHERE id = %d;", runs-i, runs-i, days+1+i)
	}
	dbtest.Exec(t, w.dsn, sql.String())
	if last != fmt.Sprint(runs) {
		t.Fatalf("%s syncs", last)
	}
}
