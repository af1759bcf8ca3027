// Package pulltest gives tests the recorded production hub, and snapshots of it.
package pulltest

import (
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/dir"
)

// LastEvent is the newest event of the recorded hub.
const LastEvent = 419

// Production is a hub that answers from the recorded rows.
func Production(t testing.TB, opts hubtest.Options) (*hub.Client, *hubtest.Memory) {
	t.Helper()
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	return Client(t, hubtest.New(rows, opts)), rows
}

func Client(t testing.TB, h *hubtest.Server) *hub.Client {
	t.Helper()
	return ClientWith(t, h, hub.Options{Retries: -1})
}

func ClientWith(t testing.TB, h *hubtest.Server, o hub.Options) *hub.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := hub.New(srv.URL+"/kojihub", o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func NewStore(t testing.TB) *dir.Store {
	t.Helper()
	s, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func Pull(t testing.TB, c *hub.Client, s *dir.Store, event int64, tags ...string) *snapfile.Snapshot {
	t.Helper()
	r, err := pull.Pull(t.Context(), c, s, pull.Options{Tags: tags, Event: event, Program: "test"})
	if err != nil {
		t.Fatal(err)
	}
	snap, err := repository.Open(t.Context(), s, r.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func SnapshotRows(t testing.TB, snap *snapfile.Snapshot, name string) []string {
	t.Helper()
	var lines []string
	rows := snap.Rows(t.Context(), name)
	defer rows.Close()
	for rows.Next() {
		lines = append(lines, strings.TrimSuffix(string(rows.Line()), "\n"))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

func PullWith(t *testing.T, c *hub.Client, s *dir.Store, o pull.Options) (*pull.Result, *snapfile.Snapshot) {
	t.Helper()
	r, err := pull.Pull(t.Context(), c, s, o)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := repository.Open(t.Context(), s, r.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	return r, snap
}

var WayTags = []string{"f42-candidate", "f42-compose", "f42-infra", "f43-build"}

// Breaking is a hub that sends half of each reply with signatures while broken is set.
func Breaking(t *testing.T, broken *bool) *hubtest.Server {
	t.Helper()
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	return hubtest.New(rows, hubtest.Options{Tamper: func(method string, body []byte) []byte {
		if *broken && strings.Contains(string(body), "sighash") {
			return body[:len(body)/2]
		}
		return body
	}})
}

// ModularProduction is the recorded hub with the content tag of its module.
func ModularProduction(t testing.TB) (*hub.Client, *hubtest.Memory, *hubtest.Server) {
	t.Helper()
	_, rows := Production(t, hubtest.Options{})
	Must(t, generate.AddContentTag(rows))
	server := hubtest.New(rows, hubtest.Options{})
	return Client(t, server), rows, server
}

// Builds of production's that no tag of f42-compose's scope has.
const (
	NamedKernel  = "kernel-6.14.5-300.fc42"     // id 36; signed, on DEFAULT
	NamedImage   = "layered-image-1-1"          // id 61; an archive that has rpms and archives in it
	NamedDraft   = "draftpkg-1-1.fc42,draft_72" // id 72
	NamedGone    = "caret-snap-1.0^20250401gitabcdef0-0.1.fc42"
	NamedFailed  = "failed-build-1-1"
	NamedRunning = "reserved-build-1-1"
)

// Source is what the stagings of a test are made of.
type Source struct {
	Snap *snapfile.Snapshot
	Prod string
}

func NewSource(t testing.TB, tags ...string) Source {
	t.Helper()
	c, _, _ := ModularProduction(t)
	dir := filepath.Join(t.TempDir(), "prod")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := kojiprod.ExtractTree(dir); err != nil {
		t.Fatal(err)
	}
	return Source{Snap: Pull(t, c, NewStore(t), LastEvent, tags...), Prod: dir}
}

func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Tmpfs is a mount of its own.
func Tmpfs(t testing.TB, size string) string {
	t.Helper()
	NeedRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755,size="+size); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skip("needs the right to mount: CAP_SYS_ADMIN")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: works as another user, mounts")
	}
}
