package integration_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/seedtest"
)

// tagFiltered adds a tag to production that inherits f42 through a package filter.
func (w *env) tagFiltered(t testing.TB, name string, id int, filter string) {
	t.Helper()
	const f42, event, owner = 2, 400, 1
	must(t, w.prodRows.Insert("tag", hubtest.Values{"id": id, "name": name}))
	must(t, w.prodRows.Insert("tag_config", hubtest.Values{"tag_id": id, "arches": "x86_64", "locked": false, "maven_support": false,
		"maven_include_all": false, "create_event": event, "creator_id": owner, "active": true}))
	must(t, w.prodRows.Insert("tag_inheritance", hubtest.Values{"tag_id": id, "parent_id": f42, "priority": 0, "intransitive": false,
		"noconfig": false, "pkg_filter": filter, "create_event": event, "creator_id": owner, "active": true}))
}

// TestPackageFilters: what a copy takes of a tag is what Python's re.match lets through the package
// filter, and what production's hub lists. The names are those that Python 3.11 matched.
func TestPackageFilters(t *testing.T) {
	t.Parallel()
	w := newHubEnv(t)
	w.addTree(t)
	all := "bash broken-app cairo conflicted coreutils curl dejavu-fonts expat filesystem future-clock gcc git glib2 glibc golang gtk+ httpd " +
		"jorgen-tools kernel libffi libpq libsigc++ libxml2 mono-multi ncurses nginx openssl pango pcre2 perl php postgresql python3.13 rpm ruby rust " +
		"setup sqlite srconly systemd tzdata vim zlib fedora-workstation-image emptypkg"
	filters := []struct{ pattern, names string }{
		{`(?!g|lib|p|[a-f]).*[a-z]$`, "httpd jorgen-tools kernel mono-multi ncurses nginx openssl rpm ruby rust setup sqlite srconly systemd tzdata vim zlib"},
		{`(?x) ^ ( bash | vim ) # shells and editors`, "bash vim"},
		{`(?#editors)vim|git`, "git vim"},
		{`(?:git|gl|rpm)\Z`, "git rpm"},
		{`([a-z])[a-z]*\1$`, "golang php"},
		{`(?P<c>s).*(?P=c)`, "systemd"},
		{`p{,1}c?re2`, "pcre2"},
		{`[[:alpha:]]`, ""},
		{`(k|h)?(?(1).*l|zl)`, "kernel zlib"},
		{`[^\W\d_]+\d`, "glib2 libxml2 pcre2 python3.13"},
		{`lib(?=x|p)`, "libpq libxml2"},
		{`(?i)GTK\+|JO`, "gtk+ jorgen-tools"},
		{`.{,4}$`, "bash curl gcc git gtk+ perl php rpm ruby rust vim zlib"},
		{`c++`, "cairo conflicted coreutils curl"},
		{`(?>r|ru)by|vim`, "vim"},
		{`gi(?i)T`, "git"}, // Python before 3.11
		{``, all},
	}
	var tags []string
	for i, f := range filters {
		tags = append(tags, fmt.Sprintf("filtered-%d", i))
		w.tagFiltered(t, tags[i], 1000+i, f.pattern)
	}
	w.pull(t, lastEvent, tags...)
	for i, f := range filters {
		o := kojisnapRun(t, w.copyArgs("--source", w.prodTree, "--writable-source", "--tag", tags[i], "--dry-run", "--json")...)
		if o.code != 3 || o.stderr != "" {
			t.Errorf("%q: exit code %d: %s", f.pattern, o.code, o.stderr)
			continue
		}
		var r struct {
			Actions struct {
				Builds []struct{ Build struct{ Name string } }
			}
		}
		must(t, json.Unmarshal([]byte(o.stdout), &r))
		var got []string
		for _, b := range r.Actions.Builds {
			got = append(got, b.Build.Name)
		}
		answer, err := w.prod.Call(t.Context(), hub.Call{Method: "listTagged", Args: []any{tags[i]},
			Kwargs: map[string]any{"event": lastEvent, "inherit": true, "latest": true}})
		must(t, err)
		var listed []string
		for _, b := range answer.Items() {
			name, _ := b.Field("package_name").Str()
			listed = append(listed, name)
		}
		want := strings.Fields(f.names)
		slices.Sort(want)
		slices.Sort(got)
		slices.Sort(listed)
		if !slices.Equal(got, want) {
			t.Errorf("%q: a copy takes %q, want %q", f.pattern, got, want)
		}
		if !slices.Equal(listed, want) {
			t.Errorf("%q: the hub lists %q, want %q", f.pattern, listed, want)
		}
	}
}

// TestUndecideds: a filter that cannot be evaluated keeps back the packages that only it could
// bring, and those alone: it is told once, in a line; all else is copied, loaded and verified. Which
// builds were copied before stays copied.
func TestUndecideds(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	w.tagFiltered(t, "plain", 1000, `^(bash|vim)$`)
	w.tagFiltered(t, "named", 1001, `\N{LATIN SMALL LETTER G}(it|cc)`) // Python 3.8 and later
	w.tagFiltered(t, "slow", 1002, `glib|fedora(([a-z-])*([a-z-])*([a-z-])*)*[0-9]$`)
	w.tagFiltered(t, "broken", 1003, `*bash`)
	w.tagFiltered(t, "edited", 1004, `rust`)
	c := w.config(t, "plain", "named", "slow", "broken", "edited")

	// Without the others all is well.
	if o := kojisnapRun(t, "sync", "-c", c, "--no-verify", "--compose-tag", "edited", "--compose-tag", "plain"); o.code != 0 || o.stderr != "" {
		t.Fatalf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	w.wantStanding(t, map[string]string{"rust": "staged", "bash": "staged", "git": "prod"})

	w.update(t, "tag_inheritance", hubtest.Values{"tag_id": 1004}, hubtest.Values{"pkg_filter": `\N{LATIN SMALL LETTER R}ust`})
	o := kojisnapRun(t, "sync", "-c", c, "--no-verify", "--full", "--json")
	wantLines(t, o, 3, map[string][]string{
		`tag "named"`:  {"`\\N{LATIN SMALL LETTER G}(it|cc)`", `"f42"`, "names of characters are not known", "41 packages", "broken-app", "change the filter in production"},
		`tag "slow"`:   {"took longer than 1s", "(fedora-workstation-image)", "read-only volume"},
		`tag "broken"`: {"`*bash`", "refused by Python", "nothing to repeat at position 0"},
		`tag "edited"`: {"ust`", "1 copied, 40 on the read-only volume"},
	})
	w.wantStanding(t, map[string]string{"bash": "staged", "rust": "staged", "git": "prod", "glib2": "staged", "python3.13": "prod"})
	var report struct {
		Copy struct {
			Undecided []struct {
				Tags, Packages []string
				Refused        bool
				Reason         string
			}
		}
	}
	if seedtest.Long() { // again, where nothing is new: a pattern that takes too long takes as long each time
		o = kojisnapRun(t, "sync", "-c", c, "--no-verify", "--json")
	}
	must(t, json.Unmarshal([]byte(o.stdout), &report))
	if u := report.Copy.Undecided; o.code != 3 || len(u) != 4 {
		t.Errorf("exit code %d, undecided %+v", o.code, u)
	}
	// verify accepts each answer of staging's hub about such builds.
	o = kojisnapRun(t, "verify", "-c", c, "-v", "--tag", "plain", "--tag", "named", "--tag", "edited", "--tag", "broken")
	var failed []string
	for _, line := range strings.Split(o.stdout, "\n") {
		if strings.HasPrefix(line, "failed") {
			failed = append(failed, strings.Join(strings.Fields(line)[1:3], " "))
		}
	}
	if o.code != 3 || !slices.Equal(failed, []string{"rpms broken", "hidden broken", "modules broken"}) || !strings.Contains(o.stdout, "nothing to repeat") {
		t.Errorf("verify: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	for _, tags := range [][]string{{"plain"}, {"named", "f42"}} { // the other tag has all, for certain
		args := []string{"copy", "-c", c}
		for _, tag := range tags {
			args = append(args, "--tag", tag)
		}
		if o := kojisnapRun(t, args...); o.code != 0 || o.stderr != "" {
			t.Errorf("%q: exit code %d: %s", tags, o.code, o.stderr)
		}
	}
}

// wantStanding checks on which volume the latest builds of packages stand.
func (w *env) wantStanding(t *testing.T, want map[string]string) {
	t.Helper()
	on := map[string]map[string]bool{}
	for nvr, volume := range w.checkSymlinks(t) {
		name, _, _ := strings.Cut(nvr, "/")
		if on[name] == nil {
			on[name] = map[string]bool{}
		}
		on[name][volume] = true
	}
	for name, volume := range want {
		if !on[name][volume] || volume != "staged" && on[name]["staged"] {
			t.Errorf("builds of %s stand on %v, want %s", name, on[name], volume)
		}
	}
}

// wantLines checks the exit code, and that standard error has a line for each key, which names what
// belongs to it, and no other.
func wantLines(t *testing.T, o outcome, code int, want map[string][]string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(o.stderr, "\n"), "\n")
	if o.code != code || len(lines) != len(want) {
		t.Errorf("exit code %d, %d lines:\n%s", o.code, len(lines), o.stderr)
	}
	for key, parts := range want {
		i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, key) })
		if i < 0 {
			t.Errorf("no line names %s:\n%s", key, o.stderr)
			continue
		}
		for _, part := range parts {
			if !strings.Contains(lines[i], part) {
				t.Errorf("no %s in: %s", part, lines[i])
			}
		}
	}
}
