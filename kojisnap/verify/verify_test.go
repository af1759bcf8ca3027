package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/verify"
	"kojisnap/volumes"
)

// floor is above every id of production.
const floor = 990000000

// staging is a staging Koji as pull, copy and load leave it: production's rows, with the
// builds on staging's volumes, and a topdir.
type staging struct {
	snap *snapfile.Snapshot
	rows *hubtest.Memory
	hub  *hub.Client
	prod string // production's topdir
	top  string
}

func newStaging(t testing.TB, from pulltest.Source, want compose.Want) *staging {
	t.Helper()
	s := &staging{snap: from.Snap, prod: from.Prod, top: filepath.Join(t.TempDir(), "koji")}
	pulltest.Must(t, os.Mkdir(s.top, 0o755))
	pulltest.Must(t, os.Chmod(filepath.Dir(s.top), 0o755))
	if _, err := kojisnap.Copy(t.Context(), s.snap, nil, kojisnap.CopyOptions{Want: want, Topdir: s.top, Sources: []string{s.prod}, WritableSource: true}); err != nil {
		t.Fatal(err)
	}
	s.hub, s.rows = pulltest.Production(t, hubtest.Options{})
	s.repoint(t)
	return s
}

// clone is another staging like s as it was made, of hard links to its files: they are to be
// replaced, not changed.
func (s *staging) clone(t testing.TB) *staging {
	t.Helper()
	c := &staging{snap: s.snap, prod: s.prod, top: filepath.Join(t.TempDir(), "koji")}
	pulltest.Must(t, filepath.WalkDir(s.top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := c.top + strings.TrimPrefix(path, s.top)
		switch {
		case d.IsDir():
			return os.Mkdir(to, 0o755)
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, to)
		}
		return os.Link(path, to)
	}))
	c.hub, c.rows = pulltest.Production(t, hubtest.Options{})
	c.repoint(t)
	return c
}

// repoint does what load does to volumes, and what the overlay does to channels.
func (s *staging) repoint(t testing.TB) {
	t.Helper()
	ledger, err := ledger.Read(s.top)
	pulltest.Must(t, err)
	copied := map[string]bool{}
	for _, b := range ledger.Staged() {
		copied[b.Build.NVR()] = true
	}
	if len(copied) == 0 {
		t.Fatal("no build was copied")
	}
	ids := map[string]int{"prod": floor, "staged": floor + 1, "prod_archive01": floor + 2, "prod_ssd02": floor + 3}
	for name, id := range ids {
		pulltest.Must(t, s.rows.Insert("volume", hubtest.Values{"id": id, "name": name}))
	}
	pulltest.Must(t, s.rows.Insert("users", hubtest.Values{"id": floor, "name": "kojisnap", "status": 1, "usertype": 0}))
	pulltest.Must(t, generate.AddContentTag(s.rows))
	packages, volumeNames := names(t, s.rows, "package"), names(t, s.rows, "volume")
	builds, err := s.rows.Select("build", hubtest.Values{"state": 1})
	pulltest.Must(t, err)
	for _, b := range builds {
		nvr := fmt.Sprintf("%s-%s-%s", packages[b["pkg_id"]], b["version"], b["release"])
		volume := volumes.Mapping{}.Staging(volumeNames[b["volume_id"]])
		if copied[nvr] {
			volume = "staged"
		}
		s.update(t, "build", hubtest.Values{"id": b["id"]}, hubtest.Values{"volume_id": ids[volume]})
	}
}

func names(t testing.TB, rows *hubtest.Memory, table string) map[any]string {
	t.Helper()
	list, err := rows.Select(table, nil)
	pulltest.Must(t, err)
	m := map[any]string{}
	for _, r := range list {
		m[r["id"]] = r["name"].(string)
	}
	return m
}

func (s *staging) update(t testing.TB, table string, where, set hubtest.Values) {
	t.Helper()
	n, err := s.rows.Update(table, where, set)
	pulltest.Must(t, err)
	if n == 0 {
		t.Fatalf("no row of %s has %v", table, where)
	}
}

func (s *staging) verify(t testing.TB, change func(*verify.Options)) *verify.Result {
	t.Helper()
	o := verify.Options{Hub: s.hub, Snapshot: s.snap, Topdir: s.top}
	if change != nil {
		change(&o)
	}
	r, err := verify.Verify(t.Context(), o)
	pulltest.Must(t, err)
	return r
}

// notOK shows the checks that are not ok, with topdir as TOP. That nothing builds for the tag
// is left out.
func (s *staging) notOK(r *verify.Result) string {
	var b strings.Builder
	for _, c := range r.Checks {
		if c.Status == verify.StatusOK || c.Name == "targets" {
			continue
		}
		where := strings.TrimRight(c.Name+" "+c.Tag+" "+c.Arch, " ")
		fmt.Fprintf(&b, "%s %s: %d of %d, %d digests\n", c.Status, where, c.Bad, c.Count, c.Digests)
		for _, e := range c.Examples {
			fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(e, s.top, "TOP"))
		}
	}
	return b.String()
}

func check(t testing.TB, r *verify.Result, name, tag, arch string) verify.Check {
	t.Helper()
	i := slices.IndexFunc(r.Checks, func(c verify.Check) bool { return c.Name == name && c.Tag == tag && c.Arch == arch })
	if i < 0 {
		t.Fatalf("no check %s %s %s in\n%s", name, tag, arch, show(r.Checks))
	}
	return r.Checks[i]
}

func show(checks []verify.Check) string {
	var b strings.Builder
	for _, c := range checks {
		j, _ := json.Marshal(c)
		b.Write(append(j, '\n'))
	}
	return b.String()
}

var signedOnly = compose.Want{SigKeys: []string{"41526f0e"}}

var signed = compose.Want{SigKeys: []string{"41526F0E", ""}}

func TestVerifyReady(t *testing.T) {
	from := pulltest.NewSource(t, "f42-compose", "f43-build")
	s := newStaging(t, from, signed)
	for _, test := range []struct {
		name   string
		change func(*verify.Options)
	}{
		{"snapshot", func(*verify.Options) {}},
		{"digest", func(o *verify.Options) { o.Digest = true }},
		{"hub", func(o *verify.Options) { o.Against, _, _ = pulltest.ModularProduction(t) }},
		{"hub alone", func(o *verify.Options) {
			o.Against, _, _ = pulltest.ModularProduction(t)
			o.Snapshot, o.Event, o.Tags = nil, pulltest.LastEvent, []string{"f42-compose", "f43-build"}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := s.verify(t, func(o *verify.Options) {
				o.Want = signed
				test.change(o)
			})
			if !r.Ready() || r.DigestMismatch() {
				t.Error("not ready")
			}
			if got, want := s.notOK(r), "warning repo f43-build: 1 of 1, 0 digests\n"; got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			counts := map[string]int{}
			for _, c := range r.Checks {
				counts[c.Name] += c.Count
			}
			want := map[string]int{"tag": 3, "inheritance": 17, "rpms": 428, "signatures": 428, "unsigned": 428, "hidden": 102, "modules": 1, "content tags": 1, "external repos": 4,
				"channel createrepo": 1, "targets": 1, "repo": 1, "files": 428, "sources": 87, "module files": 2, "links": 262, "room": 0, "placement": 428}
			if test.name == "hub alone" { // it names no content tag
				for name, n := range map[string]int{"tag": 1, "rpms": 4, "signatures": 4, "unsigned": 4, "hidden": 1, "files": 4, "sources": 1, "placement": 4} {
					want[name] -= n
				}
			}
			if !maps.Equal(counts, want) {
				t.Errorf("checked %v, want %v", counts, want)
			}
			left, err := filepath.Glob(filepath.Join(s.top, ".kojisnap-verify*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// The result as JSON says whether staging is ready.
func TestVerifyResultJSON(t *testing.T) {
	r := &verify.Result{Event: 7, Hub: "http://h", Against: "snapshot E-1", Checks: []verify.Check{
		{Name: "files", Tag: "f42", Arch: "src", Status: verify.StatusFailed, Count: 3, Bad: 1, Digests: 1, Detail: "1 of 3", Examples: []string{"a"}}}}
	got, err := json.Marshal(r)
	pulltest.Must(t, err)
	want := `{"ready":false,"digest_mismatch":true,"event":7,"hub":"http://h","against":"snapshot E-1","checks":[` +
		`{"name":"files","tag":"f42","arch":"src","status":"failed","count":3,"bad":1,"digests":1,"detail":"1 of 3","examples":["a"]}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// That staging could not be asked is an error, not a verdict.
func TestVerifyErrors(t *testing.T) {
	from := pulltest.NewSource(t, "f42-compose")
	s := newStaging(t, from, compose.Want{})
	file := filepath.Join(t.TempDir(), "file")
	pulltest.Must(t, os.WriteFile(file, nil, 0o644))
	full := filepath.Dir(file)
	for _, test := range []struct {
		name      string
		change    func(o *verify.Options)
		err       string // is in the message
		temporary bool
	}{
		{"no hub", func(o *verify.Options) { o.Hub = nil }, "no hub of staging", false},
		{"nothing to compare with", func(o *verify.Options) { o.Snapshot = nil }, "neither a snapshot nor a hub", false},
		{"no event", func(o *verify.Options) { o.Snapshot, o.Against = nil, s.hub }, "no event given", false},
		{"no tags", func(o *verify.Options) { o.Snapshot, o.Against, o.Event = nil, s.hub, 400 }, "no tags given", false},
		{"unknown tag", func(o *verify.Options) { o.Tags = []string{"f99"} }, `has no tag f99; it has f41`, false},
		{"no topdir", func(o *verify.Options) { o.Topdir = "/nowhere" }, "topdir: stat /nowhere", false},
		{"topdir is a file", func(o *verify.Options) { o.Topdir = file }, "is not a directory", false},
		{"compose without topdir", func(o *verify.Options) { o.Topdir, o.ComposeDir = "", "/tmp/x" }, "needs staging's topdir", false},
		{"compose in a volume", func(o *verify.Options) { o.ComposeDir = filepath.Join(s.top, "vol/staged/compose") }, "where Koji keeps its files", false},
		{"compose in production's tree", func(o *verify.Options) { o.ComposeDir = filepath.Join(s.prod, "compose") }, "where Koji keeps its files", false},
		{"compose directory not empty", func(o *verify.Options) { o.ComposeDir = full }, "is not empty", false},
		{"unknown user", func(o *verify.Options) { o.ComposeUser = "no such user" }, `user "no such user"`, false},
		{"topurl", func(o *verify.Options) { o.TopURL = "ftp://x" }, "want http://", false},
		{"hub offline", func(o *verify.Options) {
			o.Hub = pulltest.Client(t, hubtest.New(s.rows, hubtest.Options{Offline: func() string { return "database outage" }}))
		}, "offline", true},
		{"production's hub offline", func(o *verify.Options) {
			o.Against = pulltest.Client(t, hubtest.New(s.rows, hubtest.Options{Offline: func() string { return "database outage" }}))
		}, "offline", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := verify.Options{Hub: s.hub, Snapshot: s.snap, Topdir: s.top}
			test.change(&o)
			_, err := verify.Verify(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "\n") || hub.Temporary(err) != test.temporary {
				t.Errorf("got %v (temporary %t), want %q (temporary %t)", err, hub.Temporary(err), test.err, test.temporary)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := verify.Verify(ctx, verify.Options{Hub: s.hub, Snapshot: s.snap, Topdir: s.top}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// topurl is a server of topdir, or of something else.
func TestVerifyTopURL(t *testing.T) {
	s := newStaging(t, pulltest.NewSource(t, "f42-compose"), signed)
	serve := func(topdir string) string {
		srv := httptest.NewServer(hubtest.New(s.rows, hubtest.Options{Topdir: topdir}))
		t.Cleanup(srv.Close)
		return srv.URL + "/kojifiles"
	}
	other := filepath.Join(t.TempDir(), "other")
	pulltest.Must(t, os.CopyFS(filepath.Join(other, "vol/staged"), os.DirFS(filepath.Join(s.top, "vol/staged"))))
	pulltest.Must(t, filepath.WalkDir(other, func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".rpm" && d.Type().IsRegular() {
			err = os.Truncate(path, 100)
		}
		return err
	}))
	for _, test := range []struct {
		name, url, topdir string
		bad               bool
		digests           bool
	}{
		{"topdir", serve(s.top), s.top, false, false},
		{"topdir that is not here", serve(s.top), "", false, false},
		{"production's", serve(s.prod), s.top, true, false},
		{"production's, no topdir here", serve(s.prod), "", true, false},
		{"other files", serve(other), s.top, true, true},
		{"nobody answers", "http://127.0.0.1:1/kojifiles", s.top, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := s.verify(t, func(o *verify.Options) { o.Want, o.Topdir, o.TopURL = signed, test.topdir, test.url })
			c := check(t, r, "topurl", "", "")
			if c.Count < 10 || (c.Bad == c.Count) != test.bad || (c.Bad > 0) != test.bad || (c.Digests == c.Count) != test.digests || r.Ready() == test.bad {
				t.Errorf("got %s", show([]verify.Check{c}))
			}
		})
	}
}
