package repository_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/kojisnap/store/s3"
	"kojisnap/kojisnap/store/s3/s3test"
)

var errTrouble = errors.New("trouble of the store's")

// troubled is a store with trouble at one operation: the one of a kind that comes as number at.
type troubled struct {
	*dir.Store
	kind   string // as kindOf says
	at     int
	do     trouble
	cancel context.CancelFunc // of the pull's context

	mu   sync.Mutex
	seen map[string]int // operations, by kind
	met  bool           // the trouble
}

// trouble of an operation.
type trouble string

const (
	notDone   trouble = "not done"  // it fails
	halfDone  trouble = "half done" // it succeeds, but that gets lost; of what is read, the rest does
	cancelled trouble = "cancelled" // the pull is told to end
)

func kindOf(op, name string) string {
	kind, rest, _ := strings.Cut(name, "/")
	if op == "clean" {
		kind = "all"
	}
	if strings.HasSuffix(rest, "/state") {
		kind += "/state"
	}
	return op + " " + kind
}

// meet runs an operation, which may be the one with trouble.
func (s *troubled) meet(op, name string, run func() error) error {
	s.mu.Lock()
	kind := kindOf(op, name)
	now := kind == s.kind && s.seen[kind] == s.at
	s.seen[kind]++
	s.met = s.met || now
	s.mu.Unlock()
	if !now {
		return run()
	}
	trouble := fmt.Errorf("%s %s: %w", op, name, errTrouble)
	switch s.do {
	case cancelled:
		s.cancel()
		return run()
	case halfDone:
		return errors.Join(run(), trouble)
	}
	return trouble
}

func (s *troubled) Put(ctx context.Context, name string, src io.ReadSeeker) error {
	return s.meet("put", name, func() error { return s.Store.Put(ctx, name, src) })
}

func (s *troubled) Create(ctx context.Context, name string, src io.ReadSeeker) error {
	return s.meet("create", name, func() error { return s.Store.Create(ctx, name, src) })
}

func (s *troubled) Delete(ctx context.Context, name string) error {
	return s.meet("delete", name, func() error { return s.Store.Delete(ctx, name) })
}

func (s *troubled) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	var r io.ReadCloser // nil where there is nothing to read from
	trouble := s.meet("get", name, func() error {
		body, err := s.Store.Get(ctx, name)
		if err == nil {
			r = body
		}
		return err
	})
	if r == nil || trouble == nil {
		return r, trouble
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, 10), iotest.ErrReader(trouble)), r}, nil
}

func (s *troubled) List(ctx context.Context, prefix string) (list []store.Entry, err error) {
	err = s.meet("list", prefix, func() error {
		list, err = s.Store.List(ctx, prefix)
		return err
	})
	return list, err
}

func (s *troubled) Clean(ctx context.Context, prefix string, before time.Time, remove bool) (left []string, err error) {
	err = s.meet("clean", prefix, func() error {
		left, err = s.Store.Clean(ctx, prefix, before, remove)
		return err
	})
	return left, err
}

// TestTroubleAnywhere gives a pull trouble at an operation of each kind that it makes on a store.
// Whatever comes of it, the snapshots that are listed are whole, no lease stays that could be taken
// back, and the next pull gives what one without trouble gives.
func TestTroubleAnywhere(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	opt := pull.Options{Tags: []string{scope()}, Event: pulltest.LastEvent, Program: "test"}
	next := func(s store.Store) (*pull.Result, error) { return pull.Pull(t.Context(), c, s, opt) }
	for _, test := range []struct {
		name, earlier string // tag of an earlier snapshot
		kinds         []string
		troubles      []trouble
	}{
		{"of everything", "f43-build", []string{
			"clean all", "create snapshots", "delete locks", "delete pulls", "delete pulls/state", "get pulls/state", "get snapshots",
			"list locks", "list pulls", "list snapshots", "put locks", "put pulls", "put pulls/state", "put segments",
		}, []trouble{notDone, halfDone, cancelled}},
		{"from a base", scope(), []string{"create snapshots", "get segments", "put segments"}, []trouble{notDone}},
	} {
		t.Run(test.name, func(t *testing.T) {
			template := pulltest.NewStore(t)
			pulltest.Pull(t, c, template, 300, test.earlier)
			attempt := func(kind string, at int, do trouble) (*troubled, *pull.Result, error) {
				copied := pulltest.NewStore(t)
				pulltest.Must(t, os.CopyFS(copied.String(), os.DirFS(template.String())))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s := &troubled{Store: copied, kind: kind, at: at, do: do, cancel: cancel, seen: map[string]int{}}
				r, err := pull.Pull(ctx, c, s, opt)
				return s, r, err
			}
			calm, r, err := attempt("", 0, notDone)
			pulltest.Must(t, err)
			want, err := repository.Open(t.Context(), calm.Store, r.Snapshot)
			pulltest.Must(t, err)
			for _, kind := range test.kinds {
				at := calm.seen[kind] / 2
				for _, do := range test.troubles {
					switch {
					case do == notDone, kind == "put locks", kind == "put segments", kind == "create snapshots":
					case kind != "get snapshots" || do != halfDone:
						continue // as good as not done
					}
					s, _, err := attempt(kind, at, do)
					if err := checkTrouble(t, s, want, err, next); err != nil {
						t.Errorf("%s, number %d, %s: %v", kind, at, do, err)
					}
				}
			}
		})
	}
}

// checkTrouble says what is wrong after a pull that met trouble and ended so.
func checkTrouble(t *testing.T, s *troubled, want *snapfile.Snapshot, ended error, next func(s store.Store) (*pull.Result, error)) error {
	t.Helper()
	if !s.met {
		return errors.New("there was no such operation")
	}
	done := len(objects(t, s.Store, "snapshots/")) == 2
	op, what, _ := strings.Cut(s.kind, " ")
	// What is done for those who come later stops no pull that has its snapshot.
	forLater := op == "delete" || op == "clean" || s.kind == "list pulls"
	known := errTrouble
	if s.do == cancelled {
		known = context.Canceled
	}
	switch {
	case ended == nil && !(done && forLater):
		return errors.New("no error")
	case ended == nil:
	case !errors.Is(ended, known), done && s.kind != "create snapshots":
		return ended
	case s.do == notDone && !strings.Contains(ended.Error(), strings.TrimSuffix(what, "/state")):
		return fmt.Errorf("%q does not name the object", ended)
	}
	checkWhole(t, s.Store)
	if left := objects(t, s.Store, "locks/"); len(left) > 0 && (s.kind != "delete locks" || s.do != notDone) {
		return fmt.Errorf("%q is left", left)
	}
	if ended == nil {
		return nil
	}
	r, err := next(s.Store)
	if err != nil {
		return fmt.Errorf("the next pull: %w", err)
	}
	checkWhole(t, s.Store)
	got, err := repository.Open(t.Context(), s.Store, r.Snapshot)
	if err != nil {
		return err
	}
	if done {
		return nil // that pull went on from what this one made
	}
	if !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) {
		return errors.New("the next pull does not give what one without trouble gives")
	}
	if left := objects(t, s.Store, "pulls/"); len(left) > 0 {
		return fmt.Errorf("the next pull left %q", left)
	}
	return nil
}

// TestEveryBit damages a segment and a manifest, at one byte after the other, and cuts them off
// there. Who compares or opens snapshots is told in one line that names the object, unless the rows
// are the same still: the frame that tells a segment's format is skipped.
func TestEveryBit(t *testing.T) {
	_, s, early, late := twoSnapshots(t)
	want, err := repository.Diff(t.Context(), early, late, nil)
	pulltest.Must(t, err)
	var small *snapfile.Segment // of what a comparison reads, but large enough to be compressed
	for _, d := range want.Relations {
		segs := early.Relation(d.Relation).Segments
		if len(segs) > 0 && segs[0].Compressed > 150 && (small == nil || segs[0].Compressed < small.Compressed) {
			small = &segs[0]
		}
	}
	manifest, err := snapfile.ManifestObject(early.ID)
	pulltest.Must(t, err)
	for _, test := range []struct {
		object string
		step   int // from a byte to the next
		same   int // bits at most that mean nothing
		read   func() (same bool, err error)
	}{
		{small.Object(), 3, 10, func() (bool, error) {
			got, err := repository.Diff(t.Context(), early, late, nil)
			return reflect.DeepEqual(got, want), err
		}},
		{manifest, 97, 0, func() (bool, error) {
			got, err := repository.Open(t.Context(), s, early.ID)
			return err == nil && reflect.DeepEqual(got.Manifest, early.Manifest), err
		}},
	} {
		path := filepath.Join(s.String(), test.object)
		whole, err := os.ReadFile(path)
		pulltest.Must(t, err)
		same := 0
		for i := 0; i < len(whole); i += test.step {
			bad := slices.Clone(whole)
			bad[i] ^= 1 << (i % 8)
			for _, body := range [][]byte{bad, whole[:i]} {
				pulltest.Must(t, os.WriteFile(path, body, 0o644))
				equal, err := test.read()
				if err == nil && equal && len(body) == len(whole) {
					same++
					continue
				}
				oneLine(t, err, test.object, "is damaged: ")
				if damaged := new(*snapfile.DamagedError); !errors.As(err, damaged) {
					t.Errorf("byte %d of %s: %v", i, test.object, err)
				}
			}
		}
		if same > test.same || len(whole) < 30*test.step {
			t.Errorf("%s of %d bytes: %d times nothing was found", test.object, len(whole), same)
		}
		pulltest.Must(t, os.WriteFile(path, whole, 0o644))
		if equal, err := test.read(); err != nil || !equal {
			t.Errorf("whole again: %v", err)
		}
	}
}

// TestPruneOutOfInodes: a file system without room for another file does not even take a prune's
// lease. What the prune removes first makes room for that.
func TestPruneOutOfInodes(t *testing.T) {
	mount := pulltest.Tmpfs(t, "4m,nr_inodes=300")
	at, err := dir.Open(filepath.Join(mount, "store"))
	pulltest.Must(t, err)
	s := &tampered{Store: at, age: 48 * time.Hour}
	pullTo(t, s, 300, nil)
	latest := pullTo(t, s, pulltest.LastEvent, nil)
	for n := 0; err == nil; n++ {
		var f *os.File
		if f, err = os.Create(filepath.Join(mount, fmt.Sprint("filler-", n))); err == nil {
			f.Close()
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	c, _ := pulltest.Production(t, hubtest.Options{})
	_, err = pull.Pull(t.Context(), c, s, pull.Options{Tags: []string{scope()}, Event: pulltest.LastEvent, Program: "test"})
	if oneLine(t, err, at.String(), "make room"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("pull: %v", err)
	}
	r, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
	pulltest.Must(t, err)
	if !slices.Equal(r.Kept, []string{latest}) || len(r.Removed) != 1 || len(r.Segments) == 0 {
		t.Errorf("%+v", r)
	}
	checkWhole(t, s)
	if left := objects(t, s, "locks/"); len(left) > 0 {
		t.Errorf("leases left: %q", left)
	}
}

// TestPullMayNotDelete: who may not remove objects can pull, again and again. What stays is told.
func TestPullMayNotDelete(t *testing.T) {
	srv := s3test.Start(t)
	at := srv.URL(t)
	admin, err := s3.Open(t.Context(), at, s3.Options{})
	pulltest.Must(t, err)
	c, _ := pulltest.Production(t, hubtest.Options{})
	pullFrom(t, c, admin, 300, nil)
	s := srv.OpenAs(t, at, "s3:GetObject", "s3:PutObject", "s3:ListBucket")
	for i, stays := range [][]string{
		{"parts of the pull stay", "stays until it lapses"},
		{"cut off has left stays", "parts of the pull stay", "stays until it lapses"},
	} {
		warned := new(warnings)
		id := pullFrom(t, c, s, pulltest.LastEvent-1+int64(i), slog.New(warned))
		warned.check(t, stays...)
		if _, err := repository.Open(t.Context(), admin, id); err != nil {
			t.Error(err)
		}
	}
	checkWhole(t, admin)
	if left := objects(t, admin, "locks/"); len(left) != 2 {
		t.Errorf("leases: %q", left)
	}
}
