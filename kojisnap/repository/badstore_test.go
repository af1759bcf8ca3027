package repository_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/durable"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/kojisnap/store/s3"
	"kojisnap/kojisnap/store/s3/s3test"
)

// oneLine checks that an error is told in one line that names what it has to.
func oneLine(t testing.TB, err error, names ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	for _, name := range append(names, " ") {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %q", err, name)
		}
	}
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "tmp-kojisnap") {
		t.Errorf("not a clear line: %q", err)
	}
}

// TestFullStore pulls into a real file system with so much room, then some pages more, until it is
// enough: the earlier snapshot stays readable each time, and with room the same pull completes.
func TestFullStore(t *testing.T) {
	mount := pulltest.Tmpfs(t, "4m")
	template := pulltest.NewStore(t)
	c, _ := pulltest.Production(t, hubtest.Options{})
	pullFrom(t, c, template, 300, nil)
	opt := pull.Options{Tags: []string{"f42-compose"}, Event: pulltest.LastEvent, Program: "test"}
	met := map[string]bool{}
	// try returns the kind of object that there was no room for.
	try := func(pages int, opt pull.Options) (where string) {
		t.Helper()
		at := filepath.Join(mount, "store")
		pulltest.Must(t, os.CopyFS(at, os.DirFS(template.String())))
		defer os.RemoveAll(at)
		s, err := dir.Open(at)
		pulltest.Must(t, err)
		before := objects(t, s, "snapshots/")
		filler := fill(t, mount, pages)
		defer os.Remove(filler)
		_, err = pull.Pull(t.Context(), c, s, opt)
		if err == nil {
			return ""
		}
		put := putRE.FindStringSubmatch(err.Error())
		if oneLine(t, err, at, "make room"); !errors.Is(err, syscall.ENOSPC) || put == nil {
			t.Fatalf("%d pages: %v", pages, err)
		}
		if got := objects(t, s, "snapshots/"); !slices.Equal(got, before) {
			t.Errorf("%d pages: snapshots %q", pages, got)
		}
		checkWhole(t, s)
		if left := objects(t, s, "locks/"); len(left) > 0 {
			t.Errorf("%d pages: %q is left", pages, left)
		}
		noTemps(t, at)
		if !met[put[1]] {
			met[put[1]] = true
			pulltest.Must(t, os.Remove(filler))
			if _, err := pull.Pull(t.Context(), c, s, opt); err != nil {
				t.Errorf("with room again: %v", err)
			}
			checkWhole(t, s)
		}
		return put[1]
	}
	// A manifest is of more than 4 pages.
	for pages := 0; try(pages, opt) != ""; pages += 4 {
	}
	if got, want := slices.Sorted(maps.Keys(met)), []string{"locks", "pulls", "segments", "snapshots"}; !slices.Equal(got, want) {
		t.Errorf("the file system was full at %q, want %q", got, want)
	}
	opt.Tags = []string{"f43-build"} // without a base
	if where := try(2, opt); where != "pulls" {
		t.Errorf("the file system was full at %q", where)
	}
}

var putRE = regexp.MustCompile(`(?:put|create) (\w+)/`)

// fill fills a file system but for some pages.
func fill(t testing.TB, mount string, pages int) (filler string) {
	t.Helper()
	filler = filepath.Join(mount, "filler")
	f, err := os.Create(filler)
	pulltest.Must(t, err)
	defer f.Close()
	page := make([]byte, os.Getpagesize())
	size := 0
	for err == nil {
		size++
		_, err = f.Write(page)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	pulltest.Must(t, f.Truncate(int64((size-1-pages)*len(page))))
	return filler
}

func noTemps(t testing.TB, at string) {
	t.Helper()
	pulltest.Must(t, filepath.WalkDir(at, func(path string, d fs.DirEntry, err error) error {
		if durable.IsTemp(filepath.Base(path)) {
			t.Errorf("%s is left", path)
		}
		return err
	}))
}

// TestFullServer is TestFullStore at two places, on a server.
func TestFullServer(t *testing.T) {
	mount := pulltest.Tmpfs(t, "4m")
	s := s3test.StartIn(t, mount).Open(t)
	c, _ := pulltest.Production(t, hubtest.Options{})
	pullFrom(t, c, s, 300, nil)
	before := objects(t, s, "snapshots/")
	for pages, where := range map[int]string{0: "put locks/", 12: "put pulls/"} {
		filler := fill(t, mount, pages)
		_, err := pull.Pull(t.Context(), c, s, pull.Options{Tags: []string{"f42-compose"}, Event: pulltest.LastEvent, Program: "test"})
		if oneLine(t, err, where, s.String(), "no room", "make room"); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%d pages: %v", pages, err)
		}
		if got := objects(t, s, "snapshots/"); !slices.Equal(got, before) {
			t.Errorf("%d pages: snapshots %q", pages, got)
		}
		checkWhole(t, s)
		if left := objects(t, s, "locks/"); len(left) > 0 {
			t.Errorf("%d pages: %q is left", pages, left)
		}
		pulltest.Must(t, os.Remove(filler))
	}
	pullFrom(t, c, s, pulltest.LastEvent, nil)
	checkWhole(t, s)
}

// TestPruneFull: a prune makes room where there is none, not even for its lease.
func TestPruneFull(t *testing.T) {
	mount := pulltest.Tmpfs(t, "4m")
	at, err := dir.Open(mount)
	pulltest.Must(t, err)
	s := &tampered{Store: at, age: 48 * time.Hour}
	pullTo(t, s, 300, nil)
	latest := pullTo(t, s, pulltest.LastEvent, nil)
	fill(t, mount, 0)
	if err := s.Put(t.Context(), "ledgers/stg", strings.NewReader("1")); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the file system is not full: %v", err)
	}
	r, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.Kept, []string{latest}) || len(r.Removed) != 1 || len(r.Segments) == 0 {
		t.Errorf("%+v", r)
	}
	checkWhole(t, s)
	pulltest.Must(t, s.Put(t.Context(), "ledgers/stg", strings.NewReader("1")))
}

// TestReadOnlyStore: who may only read a store can do all that only reads, and a pull finds out
// before it asks the hub for anything but its version.
func TestReadOnlyStore(t *testing.T) {
	test := func(t *testing.T, writer, reader store.Store, protect func(), want string) {
		rows, err := hubtest.Rows(kojiprod.Rows())
		pulltest.Must(t, err)
		server := hubtest.New(rows, hubtest.Options{})
		c := pulltest.Client(t, server)
		early, late := pullFrom(t, c, writer, 300, nil), pullFrom(t, c, writer, 390, nil)
		before, asked := objects(t, writer, ""), server.Calls()
		protect()
		opt := pull.Options{Tags: []string{"f42-compose"}, Event: pulltest.LastEvent, Program: "test"}
		for _, full := range []bool{false, true} {
			opt.Full = full
			_, err := pull.Pull(t.Context(), c, reader, opt)
			oneLine(t, err, reader.String(), "the store takes nothing", want)
		}
		for method, n := range server.Calls() {
			if n -= asked[method]; n > 0 && method != "getKojiVersion" {
				t.Errorf("the hub was asked %s, %d times", method, n)
			}
		}
		opt.Full, opt.DryRun = false, true
		if r, err := pull.Pull(t.Context(), c, reader, opt); err != nil || r.Base != late {
			t.Errorf("a dry run: %+v, %v", r, err)
		}
		all, err := repository.Snapshots(t.Context(), reader)
		if err != nil || len(all) != 2 || all[0].ID != late || all[1].ID != early {
			t.Fatalf("snapshots: %v, %v", all, err)
		}
		checkWhole(t, reader)
		if d, err := repository.Diff(t.Context(), all[1], all[0], nil); err != nil || len(d.Relations) == 0 {
			t.Errorf("diff: %+v, %v", d, err)
		}
		if r, err := repository.Prune(t.Context(), reader, repository.PruneOptions{Keep: 1, DryRun: true}); err != nil || len(r.Removed) != 1 {
			t.Errorf("what a prune would do: %+v, %v", r, err)
		}
		_, err = repository.Prune(t.Context(), reader, repository.PruneOptions{Keep: 1})
		oneLine(t, err, reader.String(), "the store takes nothing", want)
		if after := objects(t, reader, ""); !slices.Equal(after, before) {
			t.Errorf("%q, before: %q", after, before)
		}
	}
	t.Run("dir", func(t *testing.T) {
		mount := pulltest.Tmpfs(t, "4m")
		s, err := dir.Open(mount)
		pulltest.Must(t, err)
		protect := func() { pulltest.Must(t, unix.Mount("", mount, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")) }
		test(t, s, s, protect, "read-only file system")
	})
	t.Run("s3", func(t *testing.T) {
		srv := s3test.Start(t)
		at := srv.URL(t)
		writer, err := s3.Open(t.Context(), at, s3.Options{})
		pulltest.Must(t, err)
		reader := srv.OpenAs(t, at, "s3:GetObject", "s3:ListBucket")
		test(t, writer, reader, func() {}, "access denied")
	})
}

// TestPruneDenied: a prune that may not remove tells so, and removes nothing; one that may not
// list uploads removes all else.
func TestPruneDenied(t *testing.T) {
	srv := s3test.Start(t)
	for _, may := range []struct {
		name    string
		actions []string
		denied  bool
	}{
		{"put only", []string{"s3:GetObject", "s3:PutObject", "s3:ListBucket"}, true},
		{"no uploads", []string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"}, false},
	} {
		t.Run(may.name, func(t *testing.T) {
			at := srv.URL(t)
			admin, err := s3.Open(t.Context(), at, s3.Options{})
			pulltest.Must(t, err)
			early := pullTo(t, admin, 300, nil)
			pullTo(t, admin, pulltest.LastEvent, nil)
			warned := new(warnings)
			s := &tampered{Store: srv.OpenAs(t, at, may.actions...), age: 48 * time.Hour}
			r, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1, Log: slog.New(warned)})
			checkWhole(t, admin)
			if may.denied {
				oneLine(t, err, "delete snapshots/"+early+".json in "+s.String(), "access denied")
				if got := objects(t, admin, "snapshots/"); len(got) != 2 {
					t.Errorf("snapshots: %q", got)
				}
				warned.check(t, "stays until it lapses")
				return
			}
			if err != nil || !slices.Equal(r.Removed, []string{early}) || len(r.Segments) == 0 {
				t.Errorf("%+v, %v", r, err)
			}
			warned.check(t, "half-written stays")
		})
	}
}

// warnings are the lines of a log from level warn on.
type warnings struct {
	mu   sync.Mutex
	text []string
}

func (w *warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	w.text = append(w.text, text)
	return nil
}
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler { return w }
func (w *warnings) WithGroup(string) slog.Handler      { return w }

// check compares the warnings with what each has to say.
func (w *warnings) check(t testing.TB, want ...string) {
	t.Helper()
	if !slices.EqualFunc(w.text, want, strings.Contains) {
		t.Errorf("warnings: %q, want %q", w.text, want)
	}
}

// twoSnapshots are of one hub: at event 300 in the store, and at the last event in another one.
func twoSnapshots(t *testing.T) (c *hub.Client, s *dir.Store, early, late *snapfile.Snapshot) {
	c, _ = pulltest.Production(t, hubtest.Options{})
	s = pulltest.NewStore(t)
	return c, s, pulltest.Pull(t, c, s, 300, "f42-compose"), pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, "f42-compose")
}

func flipped(body []byte) []byte {
	body[len(body)/2] ^= 1
	return body
}

func cut(body []byte) []byte { return body[:len(body)/2] }

// TestDamagedSegments damages the only snapshot that a pull could go on from. Whoever reads it is
// told; a pull says so, goes on without it, and puts again what both need.
func TestDamagedSegments(t *testing.T) {
	c, s, early, late := twoSnapshots(t)
	object := func(relation string) string { return early.Relation(relation).Segments[0].Object() }
	path := func(relation string) string { return filepath.Join(s.String(), object(relation)) }
	read := func(relation string) []byte {
		body, err := os.ReadFile(path(relation))
		pulltest.Must(t, err)
		return body
	}
	others, columns := read("package"), read("archivetypes")
	cases := []struct {
		relation string // has the same rows in both
		change   func([]byte) []byte
		says     string
	}{
		{"archivetypes", cut, "is damaged: "},
		{"channels", flipped, "is damaged: "},
		{"permissions", func([]byte) []byte { return nil }, "is damaged: "},
		{"tag", func([]byte) []byte { return others }, "is damaged: more than "}, // what the manifest says is all that is read
		{"btype", func([]byte) []byte { return columns }, "is damaged: more than "},
		{"volume", nil, "no such file"},
	}
	for _, test := range cases {
		if late.Relation(test.relation).Segments[0].Object() != object(test.relation) {
			t.Fatalf("%s: the snapshots share no segment", test.relation)
		}
		if test.change == nil {
			pulltest.Must(t, os.Remove(path(test.relation)))
		} else {
			pulltest.Must(t, os.WriteFile(path(test.relation), test.change(read(test.relation)), 0o644))
		}
		err := readAll(t, early, test.relation)
		oneLine(t, err, object(test.relation), test.says)
		if damaged := new(*snapfile.DamagedError); errors.As(err, damaged) != (test.change != nil) {
			t.Errorf("%s: %T: %v", test.relation, err, err)
		}
	}
	warned := new(warnings)
	id := pullFrom(t, c, s, pulltest.LastEvent, slog.New(warned))
	warned.check(t, "not going on from a snapshot")
	got, err := repository.Open(t.Context(), s, id)
	pulltest.Must(t, err)
	// With what was revoked since the damaged one, which a database may hold.
	whole := pulltest.NewStore(t)
	pulltest.Pull(t, c, whole, 300, "f42-compose")
	_, want := pulltest.PullWith(t, c, whole, pull.Options{Tags: []string{"f42-compose"}, Event: pulltest.LastEvent, Full: true, Program: "test"})
	if !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) || got.Manifest.Parent != "" {
		t.Error("not what a pull of everything gives")
	}
	checkWhole(t, s)
}

// TestDamagedManifests: a manifest that cannot be read stops whoever looks for snapshots, but not a
// pull. A prune removes nothing.
func TestDamagedManifests(t *testing.T) {
	c, s, early, late := twoSnapshots(t)
	object, err := snapfile.ManifestObject(early.ID)
	pulltest.Must(t, err)
	body, err := os.ReadFile(filepath.Join(s.String(), object))
	pulltest.Must(t, err)
	pulltest.Must(t, s.Delete(t.Context(), object))
	replaced := func(from, to string) []byte { return []byte(strings.Replace(string(body), from, to, 1)) }
	warned, expect := new(warnings), []string(nil)
	for _, test := range []struct {
		id   string // empty: the one that the bytes have
		body []byte
		says string
	}{
		{"300-000000000001", cut(slices.Clone(body)), "SHA-256"},
		{early.ID, flipped(slices.Clone(body)), "SHA-256"},
		{"300-000000000002", nil, "SHA-256"},
		{"", replaced(`"version": 2`, `"version": 99`), "update kojisnap"},
		{"", replaced(`"version": 2`, `"version": 0`), "version 0"},
		{"", replaced(`"hub"`, `"who": "knows", "hub"`), `unknown field "who"`},
		{"", replaced(`"event": 300`, `"event": 301`), "it is of event 301"},
		{"", replaced(`"sha256": "`, `"sha256": "../../`), "bad segment"},
	} {
		if test.id == "" {
			test.id = snapfile.ID(300, test.body)
		}
		object, err := snapfile.ManifestObject(test.id)
		pulltest.Must(t, err)
		pulltest.Must(t, s.Put(t.Context(), object, strings.NewReader(string(test.body))))
		_, err = repository.Open(t.Context(), s, test.id)
		oneLine(t, err, test.id, test.says)
		if damaged := new(*snapfile.DamagedError); errors.As(err, damaged) == errors.Is(err, snapfile.ErrNewer) {
			t.Errorf("%T: %v", err, err)
		}
		expect = append(expect, "not going on from a snapshot")
	}
	before := objects(t, s, "")
	_, err = repository.Snapshots(t.Context(), s)
	oneLine(t, err, s.String())
	_, latest := repository.Open(t.Context(), s, "latest")
	_, prune := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
	for _, other := range []error{latest, prune} {
		if other == nil || other.Error() != err.Error() {
			t.Errorf("%v, and %v", other, err)
		}
	}
	if after := objects(t, s, ""); !slices.Equal(after, before) {
		t.Errorf("left %q of %q", after, before)
	}
	id := pullFrom(t, c, s, pulltest.LastEvent, slog.New(warned))
	warned.check(t, expect...)
	got, err := repository.Open(t.Context(), s, id)
	pulltest.Must(t, err)
	if !reflect.DeepEqual(got.Manifest.Relations, late.Manifest.Relations) || got.Manifest.Parent != "" {
		t.Error("not what a pull of everything gives")
	}
}

// readAll reads a relation as a load does.
func readAll(t testing.TB, snap *snapfile.Snapshot, name string) error {
	rows := snap.Rows(t.Context(), name)
	defer rows.Close()
	var row [][]byte
	for rows.Next() {
		var err error
		if row, err = rows.Fields(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// TestLeftByOthers pulls and prunes where another machine left what it had begun, and where
// somebody keeps what is none of ours.
func TestLeftByOthers(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	want := pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, "f42-compose")
	eachStore(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		s := open(t)
		put := func(name, body string) {
			t.Helper()
			pulltest.Must(t, s.Put(t.Context(), name, strings.NewReader(body)))
		}
		put("locks/write-", "\x00\xff garbage")
		put("locks/of-whom", "")
		put("segments/"+strings.Repeat("0", 64)+".zst", "no segment")
		put(want.Relation("build").Segments[0].Object(), "half of") // as no store of ours leaves it
		put("segments/notes.txt", "somebody's own")
		put("snapshots/300-nothing.json", "{")
		put("snapshots/notes.txt", "somebody's own")
		put("pulls/state", "{}")
		put("pulls/0123456789abcdef/state", "of another version")
		before := objects(t, s, "")
		id := pullTo(t, s, pulltest.LastEvent, nil)
		snap, err := repository.Open(t.Context(), s, id)
		pulltest.Must(t, err)
		if !reflect.DeepEqual(snap.Manifest.Relations, want.Manifest.Relations) {
			t.Error("not what a pull into an empty store gives")
		}
		needed := checkWhole(t, s)
		for _, name := range before {
			if !slices.Contains(objects(t, s, ""), name) {
				t.Errorf("the pull removed %s", name)
			}
		}
		// The holder of the lease may still write.
		r, err := repository.Prune(t.Context(), &tampered{Store: s, age: 48 * time.Hour}, repository.PruneOptions{Keep: 1})
		if err != nil || !r.Writing || len(r.Segments) > 0 || !slices.Equal(r.Parts, []string{"pulls/0123456789abcdef/state", "pulls/state"}) {
			t.Errorf("prune: %+v, %v", r, err)
		}
		pulltest.Must(t, s.Delete(t.Context(), "locks/write-"))
		r, err = repository.Prune(t.Context(), &tampered{Store: s, age: 48 * time.Hour}, repository.PruneOptions{Keep: 1})
		if err != nil || r.Writing || !slices.Equal(r.Segments, []string{"segments/" + strings.Repeat("0", 64) + ".zst"}) {
			t.Errorf("prune: %+v, %v", r, err)
		}
		left := append([]string{"locks/of-whom", "segments/notes.txt", "snapshots/300-nothing.json", "snapshots/" + id + ".json", "snapshots/notes.txt"}, needed...)
		slices.Sort(left)
		if got := objects(t, s, ""); !slices.Equal(got, left) {
			t.Errorf("left:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(left, "\n"))
		}
	})
}

// TestLeasesOfTheFuture: a host whose clock was wrong hinders nobody.
func TestLeasesOfTheFuture(t *testing.T) {
	s := pulltest.NewStore(t)
	pullTo(t, s, 300, nil)
	for _, name := range []string{"locks/write-future", "locks/prune-future"} {
		pulltest.Must(t, s.Put(t.Context(), name, strings.NewReader("gone 1\n")))
		then := time.Now().AddDate(10, 0, 0)
		pulltest.Must(t, os.Chtimes(filepath.Join(s.String(), name), then, then))
	}
	pullTo(t, s, pulltest.LastEvent, nil) // does not wait
	r, err := repository.Prune(t.Context(), &tampered{Store: s, age: 48 * time.Hour}, repository.PruneOptions{Keep: 1})
	if err != nil || r.Writing || len(r.Segments) == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if left := objects(t, s, "locks/"); len(left) > 0 {
		t.Errorf("leases left: %q", left)
	}
}

// TestPruneLeftovers: parts of pulls that nobody goes on with, and what writers that were killed
// left half-written, go when they are 24 hours old.
func TestPruneLeftovers(t *testing.T) {
	test := func(t *testing.T, at store.Store, leave func(name string) string) {
		s, warned := &tampered{Store: at}, new(warnings)
		pullTo(t, s, 300, nil)
		parts := []string{"pulls/0123456789abcdef/history-00", "pulls/0123456789abcdef/state"}
		for _, name := range parts {
			pulltest.Must(t, s.Put(t.Context(), name, strings.NewReader("of a pull that was cut off")))
		}
		half := []string{leave("pulls/0123456789abcdef/history-01"), leave("segments/" + strings.Repeat("0", 64) + ".zst"), leave("snapshots/300-0123456789ab.json")}
		all := objects(t, s, "")
		prune := func(age time.Duration, dryRun bool) *repository.PruneResult {
			t.Helper()
			s.age = age
			r, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 2, DryRun: dryRun, Log: slog.New(warned)})
			pulltest.Must(t, err)
			return r
		}
		if r := prune(23*time.Hour, false); len(r.Parts)+len(r.Unfinished) > 0 || !slices.Equal(objects(t, s, ""), all) {
			t.Errorf("after 23 hours: %+v", r)
		}
		said := prune(25*time.Hour, true)
		if !slices.Equal(said.Parts, parts) || !slices.Equal(said.Unfinished, half) || !slices.Equal(objects(t, s, ""), all) {
			t.Errorf("after 25 hours: %+v, want %q and %q", said, parts, half)
		}
		if done := prune(25*time.Hour, false); !reflect.DeepEqual(done, said) {
			t.Errorf("done: %+v\nsaid: %+v", done, said)
		}
		if left := objects(t, s, "pulls/"); len(left) > 0 {
			t.Errorf("parts left: %q", left)
		}
		// A pull takes away what is half-written too.
		leave("segments/" + strings.Repeat("1", 64) + ".zst")
		pullTo(t, s, pulltest.LastEvent, nil)
		if r := prune(25*time.Hour, false); len(r.Unfinished) > 0 {
			t.Errorf("after a pull: %q", r.Unfinished)
		}
		checkWhole(t, s)
		warned.check(t)
	}
	t.Run("dir", func(t *testing.T) {
		s := pulltest.NewStore(t)
		test(t, s, func(name string) string {
			t.Helper()
			name = filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".tmp-kojisnap-0123456789abcdef")
			pulltest.Must(t, os.WriteFile(filepath.Join(s.String(), name), []byte("half of"), 0o600))
			return name
		})
	})
	t.Run("s3", func(t *testing.T) {
		srv := s3test.Start(t)
		if srv.Endpoint == "" {
			t.Skip("KOJISNAP_TEST_S3 is given: no uploads are begun there that another could not end")
		}
		s := srv.Open(t)
		bucket, prefix, _ := strings.Cut(strings.TrimPrefix(s.String(), "s3://"), "/")
		test(t, s, func(name string) string {
			t.Helper()
			_, err := srv.Client().CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: &bucket, Key: aws.String(prefix + "/" + name)})
			pulltest.Must(t, err)
			return name + " uploaded in part"
		})
	})
}

// TestTwoWriters: two pulls of the same tags at once, and one of others, do each other no harm.
func TestTwoWriters(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		s := open(t)
		c, _ := pulltest.Production(t, hubtest.Options{})
		var wg sync.WaitGroup
		for _, tag := range []string{"f42-compose", "f42-compose", "f43-build"} {
			wg.Go(func() {
				_, err := pull.Pull(t.Context(), c, s, pull.Options{Tags: []string{tag}, Event: pulltest.LastEvent, Program: "test"})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		checkWhole(t, s)
		rows := map[string]string{}
		all, err := repository.Snapshots(t.Context(), s)
		pulltest.Must(t, err)
		for _, snap := range all {
			tag := snap.Manifest.Scope.Tags[0]
			of := strings.Join(pulltest.SnapshotRows(t, snap, "tag_listing"), "\n")
			if was, ok := rows[tag]; ok && was != of {
				t.Errorf("two snapshots of %s differ", tag)
			}
			rows[tag] = of
		}
		if len(rows) != 2 {
			t.Errorf("snapshots of %d scopes", len(rows))
		}
		if left := append(objects(t, s, "locks/"), objects(t, s, "pulls/")...); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	})
}

// TestDamagedParts cuts a pull off and damages what it left: that is asked for again, and harms
// nothing.
func TestDamagedParts(t *testing.T) {
	rows, err := hubtest.Rows(kojiprod.Rows())
	pulltest.Must(t, err)
	broken := true
	server := hubtest.New(rows, hubtest.Options{Tamper: func(method string, body []byte) []byte {
		if broken && method == "listUsers" { // of the last step
			return body[:len(body)/2]
		}
		return body
	}})
	c := pulltest.Client(t, server)
	left := pulltest.NewStore(t)
	opt := pull.Options{Tags: pulltest.WayTags, Event: 400, Program: "test"}
	if _, err := pull.Pull(t.Context(), c, left, opt); err == nil {
		t.Fatal("half of a reply was enough")
	}
	broken = false
	calls := func(s *dir.Store) (*snapfile.Snapshot, int) {
		before := server.Calls()["getBuild"]
		snap := pulltest.Pull(t, c, s, 400, pulltest.WayTags...)
		return snap, server.Calls()["getBuild"] - before
	}
	want, whole := calls(pulltest.NewStore(t))
	again := pulltest.NewStore(t)
	pulltest.Must(t, os.CopyFS(again.String(), os.DirFS(left.String())))
	if _, n := calls(again); n >= whole {
		t.Fatalf("%d builds were asked for with parts, %d without", n, whole)
	}
	parts := []func([]byte) []byte{
		cut,
		func(b []byte) []byte { return b[:len(b)-1] },
		func(b []byte) []byte { return nil },
		func(b []byte) []byte { return []byte("build\tfalse\t1\t2\n\t{}\n") },
		func(b []byte) []byte { b[0] ^= 1; return b },
		flipped,
		func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	}
	state := func(member, value string) []func([]byte) []byte {
		re := regexp.MustCompile(`"` + member + `":("[^"]*"|\d+)`)
		return []func([]byte) []byte{func(b []byte) []byte { return re.ReplaceAll(b, []byte(`"`+member+`":`+value)) }}
	}
	for _, test := range []struct {
		name   string
		state  bool
		change []func([]byte) []byte // one after the other, of each object the next
	}{
		{"parts", false, parts},
		{"parts otherwise", false, slices.Concat(parts[4:], parts[:4])},
		{"state cut", true, parts[:1]},
		{"state of a later version", true, state("version", "999")},
		{"state of another hub", true, state("hub", `"https://koji.example.com/kojihub"`)},
		{"state of another Koji", true, state("koji_version", `"1.21.0"`)},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := pulltest.NewStore(t)
			pulltest.Must(t, os.CopyFS(s.String(), os.DirFS(left.String())))
			changed := 0
			for _, name := range objects(t, s, "pulls/") {
				if strings.HasSuffix(name, "/state") != test.state {
					continue
				}
				body, err := os.ReadFile(filepath.Join(s.String(), name))
				pulltest.Must(t, err)
				damaged := test.change[changed%len(test.change)](slices.Clone(body))
				if slices.Equal(damaged, body) {
					t.Fatalf("%s is as it was", name)
				}
				pulltest.Must(t, os.WriteFile(filepath.Join(s.String(), name), damaged, 0o644))
				changed++
			}
			if changed == 0 || !test.state && changed < 4 {
				t.Fatalf("there were %d objects to damage", changed)
			}
			got, n := calls(s)
			if !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) {
				t.Error("not what a pull of everything gives")
			}
			asked := whole
			if !test.state {
				asked-- // what the module build's content tag is, the state tells
			}
			if n != asked {
				t.Errorf("%d builds were asked for, want %d; a pull of everything asks for %d", n, asked, whole)
			}
			if left := objects(t, s, "pulls/"); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}
