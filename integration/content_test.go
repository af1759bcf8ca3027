package integration_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/verify"
)

// aTag makes a tag in production at an event, with bash-5.2.37, which no compose of f42 takes, in it.
func (w *env) aTag(t testing.TB, id int, name string, event int) {
	t.Helper()
	must(t, w.prodRows.Insert("tag", hubtest.Values{"id": id, "name": name}))
	w.create(t, "tag_config", event, hubtest.Values{"tag_id": id, "arches": "x86_64", "locked": false, "maven_support": false, "maven_include_all": false})
	w.putBash(t, id, event)
}

func (w *env) putBash(t testing.TB, tag, event int) {
	t.Helper()
	w.create(t, "tag_packages", event, hubtest.Values{"tag_id": tag, "package_id": 1, "blocked": false})
	w.create(t, "tag_package_owners", event, hubtest.Values{"tag_id": tag, "package_id": 1, "owner": 1})
	w.create(t, "tag_listing", event, hubtest.Values{"tag_id": tag, "build_id": 7})
}

// create adds a versioned row to production.
func (w *env) create(t testing.TB, table string, event int, row hubtest.Values) {
	t.Helper()
	row["create_event"], row["creator_id"], row["active"] = event, 1, true
	must(t, w.prodRows.Insert(table, row))
}

// event adds an event to production, a day after the one before.
func (w *env) event(t testing.TB, id int) {
	t.Helper()
	last, err := w.prodRows.Select("events", hubtest.Values{"id": id - 1})
	must(t, err)
	must(t, w.prodRows.Insert("events", hubtest.Values{"id": id, "time": last[0]["time"].(hubtest.Time) + 24*60*60*1000000}))
}

// TestContentTags: a compose of modules is as ready as one of the tags that were asked for, new modules come
// along by themselves, and what cannot be composed is told by sync, verify and monitoring.
func TestContentTags(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	w.putBash(t, 25, 379)
	w.aTag(t, 1000, "module-new", 300)
	const nvr = "postgresql-stream-16-4220250401.abcdef12"

	// Its files are there, and are looked at.
	succeed(t, "sync", "-c", c)
	rpms, err := filepath.Glob(filepath.Join(w.topdir, "vol/staged/packages/bash/5.2.37/1.fc42/data/signed/41526f0e/x86_64/*.rpm"))
	must(t, err)
	if len(rpms) == 0 {
		t.Fatal("the content tag's own build was not copied")
	}
	for _, path := range rpms {
		if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	checks := func(code int, args ...string) map[string]verify.Check {
		t.Helper()
		o := kojisnapRun(t, append([]string{"verify", "-c", c, "--json"}, args...)...)
		var r verify.Result
		must(t, json.Unmarshal([]byte(o.stdout), &r))
		if o.code != code {
			t.Errorf("verify %q: exit code %d: %s", args, o.code, o.stderr)
		}
		all := map[string]verify.Check{}
		for _, c := range r.Checks {
			all[strings.TrimSpace(c.Name+" "+c.Tag+" "+c.Arch)] = c
		}
		return all
	}
	all := checks(0)
	for name, count := range map[string]int{"rpms module-postgresql-16 x86_64": 5, "files module-postgresql-16 x86_64": 5, "content tags f42-compose": 1, "tag module-postgresql-16": 1} {
		if c := all[name]; c.Status != verify.StatusOK || c.Count < min(count, 1) {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if _, ok := all["targets module-postgresql-16"]; ok {
		t.Error("build targets are looked for that nobody needs")
	}
	must(t, os.Remove(rpms[0]))
	if c := checks(3)["files module-postgresql-16 x86_64"]; c.Status != verify.StatusFailed || c.Bad != 1 {
		t.Errorf("a file that is missing: %+v", c)
	}
	checks(0, "--tag", "f42-extras")
	checks(3, "--tag", "f42-mod*")
	succeed(t, "sync", "-c", c)

	// The next module.
	w.event(t, lastEvent+1)
	build, err := w.prodRows.Select("build", hubtest.Values{"id": 60})
	must(t, err)
	b := maps.Clone(build[0])
	b["id"], b["version"], b["create_event"] = 1000, "17", lastEvent+1
	b["extra"] = strings.Replace(b["extra"].(string), "module-postgresql-16", "module-new", 1)
	must(t, w.prodRows.Insert("build", b))
	must(t, w.prodRows.Insert("build_types", hubtest.Values{"build_id": 1000, "btype_id": 5}))
	w.create(t, "tag_listing", lastEvent+1, hubtest.Values{"tag_id": 8, "build_id": 1000})
	// The second module has no files of its own: its archives are those of nobody.
	o := kojisnapRun(t, "sync", "-c", c, "--event", fmt.Sprint(lastEvent+1), "-v")
	if o.code != 3 || !strings.Contains(o.stderr, "module-new") || !strings.Contains(o.stdout, "postgresql-stream-17-4220250401.abcdef12: has no modulemd file") ||
		strings.Contains(o.stdout, "failed  content tags") {
		t.Errorf("a new module: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if c := checks(3)["rpms module-new x86_64"]; c.Status != verify.StatusOK || c.Count == 0 {
		t.Errorf("the new module's rpms: %+v", c)
	}
	w.update(t, "tag_listing", hubtest.Values{"build_id": 1000}, hubtest.Values{"revoke_event": lastEvent + 2, "revoker_id": 1, "active": nil})
	w.event(t, lastEvent+2)
	succeed(t, "sync", "-c", c, "--event", fmt.Sprint(lastEvent+2))

	// What is turned off is no compose's.
	w.event(t, lastEvent+3)
	off := func() string {
		t.Helper()
		o := kojisnapRun(t, "sync", "-c", c, "--event", fmt.Sprint(lastEvent+3), "--content-tags=false")
		if o.code != 3 || !strings.Contains(o.stdout, "content tags") || !strings.Contains(o.stdout, "module-postgresql-16 of module "+nvr+": it was not pulled: pull it, with --content-tags") {
			t.Errorf("turned off: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
		}
		return o.stdout + o.stderr
	}
	if first := off(); first != off() {
		t.Error("the same trouble has not the same text")
	}
	plugin(t, 2, "content tags f42-compose: 1 of 1", "-c", c)
	w.event(t, lastEvent+4)
	succeed(t, "sync", "-c", c, "--event", fmt.Sprint(lastEvent+4))
	plugin(t, 0, "last success", "-c", c)

	// What production does not have itself.
	w.event(t, lastEvent+5)
	w.update(t, "tag_config", hubtest.Values{"tag_id": 25}, hubtest.Values{"revoke_event": lastEvent + 5, "revoker_id": 1, "active": nil})
	says := "module-postgresql-16 of module " + nvr + ": production does not have it at the event"
	for i := range 2 {
		o := kojisnapRun(t, "sync", "-c", c, "--event", fmt.Sprint(lastEvent+5))
		if o.code != 3 || !strings.Contains(o.stdout, says) || strings.Contains(o.stderr, "no content tag module-postgresql-16 of module "+nvr) != (i == 0) {
			t.Errorf("gone, %d: exit code %d\n%s%s", i, o.code, o.stdout, o.stderr)
		}
	}
	plugin(t, 2, "content tags f42-compose: 1 of 1", "-c", c)
}

// TestTagPatterns: patterns choose the same wherever tags are named.
func TestTagPatterns(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-comp*", "!f42-infra*")
	other := w.pull(t, lastEvent, "f42-build")
	snap := strings.TrimSpace(succeed(t, "pull", "-c", c))
	if snap == other.ID {
		t.Fatal("patterns are of the scope of another snapshot")
	}
	// The latest is that of the patterns.
	if out := succeed(t, "show", "latest", "-c", c); !strings.HasPrefix(out, "snapshot "+snap+"\n") || !strings.Contains(out, "\nasked for !f42-infra* f42-comp*\n") || !strings.Contains(out, "\ntag f42-infra (9)\n") {
		t.Errorf("show: %s", out)
	}
	if out := succeed(t, "snapshots", "-c", c); !strings.Contains(out, "[!f42-infra* f42-comp*]") {
		t.Errorf("snapshots: %s", out)
	}
	succeed(t, "sync", "-c", c)
	if o := kojisnapRun(t, "load", "-c", c); o.code != 0 || o.stdout+o.stderr != "" {
		t.Errorf("load: exit code %d, %s%s", o.code, o.stdout, o.stderr)
	}
	if out := succeed(t, "status", "-c", c); !strings.Contains(out, snap) {
		t.Errorf("status: %s", out)
	}
	if o := kojisnapRun(t, "doctor", "-c", c); o.code != 0 || !strings.Contains(o.stdout, "last event 419, 1 tags") {
		t.Errorf("doctor: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	// Of the snapshot's tags.
	verified := func(args ...string) (tags []string) {
		t.Helper()
		var r verify.Result
		must(t, json.Unmarshal([]byte(kojisnapRun(t, append([]string{"verify", "-c", c, "--json"}, args...)...).stdout), &r))
		for _, c := range r.Checks {
			if c.Name == "tag" {
				tags = append(tags, c.Tag)
			}
		}
		return tags
	}
	for _, test := range []struct{ args, want []string }{
		{nil, []string{"f42-compose", "module-postgresql-16"}},
		{[]string{"--tag", "f42-u*", "--tag", "f42"}, []string{"f42", "f42-updates"}},
		{[]string{"--tag", "F42-MOD*"}, []string{"f42-modular", "module-postgresql-16"}},
		{[]string{"--tag", "f42-[ae]*", "--tag", "f42-*", "--tag", "!f42-*o*", "--tag", "!f42-infra"}, []string{"f42-extras", "f42-updates"}},
	} {
		if got := verified(test.args...); !slices.Equal(got, test.want) {
			t.Errorf("verify %q: of %q, want %q", test.args, got, test.want)
		}
	}
	for _, cmd := range []string{"verify", "copy"} {
		for _, test := range []struct {
			code int
			args []string
			says string
		}{
			{2, []string{"--tag", "zz*"}, `no tag that is chosen by ["zz*"]`},
			{2, []string{"--tag", "f42", "--tag", "f42-nosuch"}, "has no tag f42-nosuch; it has"},
			{2, []string{"--tag", "!"}, `--tag "!": a name or a pattern is wanted`},
			{2, []string{"--tag", "!f42"}, "none chooses a tag"},
			{2, []string{"--tag", ""}, `--tag "": a name is wanted`},
			{2, []string{"--tag", "f42\x1b"}, `--tag "f42\x1b"`},
		} {
			if o := kojisnapRun(t, append([]string{cmd, "-c", c}, test.args...)...); o.code != test.code || !strings.Contains(o.stderr, test.says) {
				t.Errorf("%s %q: exit code %d\n%s%s", cmd, test.args, o.code, o.stdout, o.stderr)
			}
		}
	}
	if o := kojisnapRun(t, "copy", "-c", c, "--tag", "f42", "--tag", "zz[*", "--dry-run"); !strings.Contains(o.stderr, `no tag of the snapshot matches "zz[*" (of patterns Koji's hub knows * and ?; [ stands for itself)`) {
		t.Errorf("copy: exit code %d\n%s", o.code, o.stderr)
	}
	// A sync that is pinned at an event before the one that a tag of the pattern stands at.
	if o := kojisnapRun(t, "sync", "-c", c, "--event", "400"); o.code != 1 || !strings.Contains(o.stderr, `tag "f42-compose" stands at event 419`) {
		t.Errorf("an older event: exit code %d\n%s", o.code, o.stderr)
	}
	// A pattern that matches nothing is a warning, all of them an error.
	for _, test := range []struct {
		code int
		tags []string
		says string
	}{
		{0, []string{"f42-comp*", "zz*"}, `no tag of production's matches --tag "zz*"`},
		{1, []string{"zz*"}, `has no tag at event 419 that is chosen by ["zz*"]`},
		{1, []string{"f42-comp*", "zz"}, `has no tag "zz" at event 419`},
		{2, []string{"!f42"}, "none chooses a tag"},
	} {
		o := kojisnapRun(t, "pull", "-c", w.config(t, test.tags...), "--full")
		if o.code != test.code || !strings.Contains(o.stderr, test.says) || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("pull of %q: exit code %d\n%s", test.tags, o.code, o.stderr)
		}
	}
}
