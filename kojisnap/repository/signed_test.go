package repository_test

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	keyed "kojisnap/kojisnap/store/signed"
)

func signingKey(t *testing.T) keyed.Options {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if _, err := keyed.Generate(file); err != nil {
		t.Fatal(err)
	}
	key, err := keyed.ReadPrivate(file)
	if err != nil {
		t.Fatal(err)
	}
	return keyed.Options{Sign: &key}
}

// TestPruneSigned: a signature goes with its snapshot, also where a prune was cut off in between; one that
// a writer has just put, before its manifest, stays.
func TestPruneSigned(t *testing.T) {
	eachStoreInTime(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		s := &tampered{Store: open(t)}
		withKey := keyed.New(s, signingKey(t))
		ids := []string{pullTo(t, withKey, 390, nil), pullTo(t, withKey, 400, nil), pullTo(t, withKey, pulltest.LastEvent, nil)}
		pair := func(i int) []string {
			return []string{"snapshots/" + ids[i] + ".json", "snapshots/" + ids[i] + ".json.sig"}
		}
		const orphan = "snapshots/7-0123456789ab.json.sig"
		if err := s.Put(t.Context(), orphan, strings.NewReader("of a writer")); err != nil {
			t.Fatal(err)
		}
		prune := func(keep int) (*repository.PruneResult, error) {
			t.Helper()
			return repository.Prune(t.Context(), s, repository.PruneOptions{Keep: keep})
		}
		want := func(names ...string) {
			t.Helper()
			if got := objects(t, s, "snapshots/"); !reflect.DeepEqual(got, names) {
				t.Errorf("there are %q, want %q", got, names)
			}
		}
		if _, err := prune(2); err != nil {
			t.Fatal(err)
		}
		want(append(append(pair(1), pair(2)...), orphan)...)

		killed := errors.New("killed")
		s.before = func(op, name string) error {
			if op == "delete" && strings.HasSuffix(name, ".sig") {
				return killed
			}
			return nil
		}
		if _, err := prune(1); !errors.Is(err, killed) {
			t.Fatal(err)
		}
		s.before = nil
		left := append([]string{pair(1)[1]}, pair(2)...)
		want(append(left, orphan)...)
		if all, err := repository.Snapshots(t.Context(), withKey); err != nil || len(all) != 1 {
			t.Errorf("%d snapshots, %v", len(all), err)
		}
		s.age = 2 * repository.PruneAge
		r, err := prune(1)
		if err != nil {
			t.Fatal(err)
		}
		want(pair(2)...)
		if got := []string{pair(1)[1], orphan}; !reflect.DeepEqual(r.Parts, got) {
			t.Errorf("removed parts %q, want %q", r.Parts, got)
		}
	})
}

// TestPullSignedResumes: a pull with a key goes on with what one with that key has left when it was cut off,
// and with nothing that somebody else put in its place, as that would be in what it signs.
func TestPullSignedResumes(t *testing.T) {
	own := signingKey(t)
	for name, cut := range map[string]func(below store.Store) store.Store{
		"own":      func(below store.Store) store.Store { return keyed.New(below, own) },
		"unsigned": func(below store.Store) store.Store { return below },
		"another":  func(below store.Store) store.Store { return keyed.New(below, signingKey(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			broken := true
			server := pulltest.Breaking(t, &broken)
			c := pulltest.Client(t, server)
			below := pulltest.NewStore(t)
			opt := pull.Options{Tags: pulltest.WayTags, Event: 400, Program: "test"}
			if _, err := pull.Pull(t.Context(), c, cut(below), opt); err == nil {
				t.Fatal("half of a reply was enough")
			}
			asked := server.Calls()["getBuild"]
			broken = false
			withKey := keyed.New(below, own)
			r, err := pull.Pull(t.Context(), c, withKey, opt)
			if err != nil {
				t.Fatal(err)
			}
			if again := server.Calls()["getBuild"] - asked; (again < asked/2) != (name == "own") {
				t.Errorf("of %d builds %d were asked for again", asked, again)
			}
			got, err := repository.Open(t.Context(), withKey, r.Snapshot)
			if err != nil {
				t.Fatal(err)
			}
			want := pulltest.Pull(t, c, pulltest.NewStore(t), 400, pulltest.WayTags...)
			if !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) {
				t.Error("not what a pull at once gives")
			}
		})
	}
}

// TestPullSignedCutOff: a pull that is cut off before its manifest leaves no snapshot; the next one makes it.
func TestPullSignedCutOff(t *testing.T) {
	s := &tampered{Store: pulltest.NewStore(t)}
	withKey := keyed.New(s, signingKey(t))
	c, _ := pulltest.Production(t, hubtest.Options{})
	opt := pull.Options{Tags: []string{scope()}, Event: pulltest.LastEvent, Program: "test"}
	killed := errors.New("killed")
	s.before = func(op, name string) error {
		if _, is := snapfile.IDOfObject(name); is && op == "create" {
			return killed
		}
		return nil
	}
	if _, err := pull.Pull(t.Context(), c, withKey, opt); !errors.Is(err, killed) {
		t.Fatal(err)
	}
	if got := objects(t, s, "snapshots/"); len(got) != 1 || !strings.HasSuffix(got[0], ".json.sig") {
		t.Errorf("there are %q, want one signature", got)
	}
	if _, err := repository.Open(context.Background(), withKey, "latest"); !errors.Is(err, repository.ErrNoSnapshot) {
		t.Errorf("a signature alone is %v", err)
	}
	s.before = nil
	r, err := pull.Pull(t.Context(), c, withKey, opt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repository.Open(t.Context(), withKey, r.Snapshot); err != nil {
		t.Error(err)
	}
	// Without the key the store is as any other.
	if _, err := repository.Open(t.Context(), s, r.Snapshot); err != nil {
		t.Error(err)
	}
}
