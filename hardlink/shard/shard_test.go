package shard_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/hardlink/shard"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openTop(t testing.TB) *topdir.Dir {
	t.Helper()
	top, err := topdir.Open(t.TempDir(), "")
	must(t, err)
	t.Cleanup(func() { top.Close() })
	return top
}

// synthetic are builds with rows of any kind, hostile ones among them.
func synthetic(n int) []shard.Build {
	random := rand.New(rand.NewPCG(1, 2))
	var builds []shard.Build
	id := int64(0)
	for i := range n {
		id += 1 + random.Int64N(900)
		b := shard.Build{ID: id}
		b.Build = volumes.Build{Name: fmt.Sprintf("package%d", i%7), Version: fmt.Sprint(i), Release: "1.fc42", Volume: []string{"DEFAULT", "archive01"}[i%2]}
		for j := range random.IntN(4) {
			r := volumes.RPMFile{RPM: volumes.RPM{Name: b.Name, Version: b.Version, Release: b.Release, Arch: []string{"src", "x86_64", "noarch", "aarch64"}[j]},
				Size: random.Int64N(1 << 20), PayloadHash: fmt.Sprintf("%032x", random.Uint64())}
			for k := range random.IntN(3) {
				r.Sigs = append(r.Sigs, volumes.Signature{Key: []string{"", "105ef944"}[k], Hash: fmt.Sprintf("%032x", random.Uint64())})
			}
			b.RPMs = append(b.RPMs, r)
		}
		if i%5 == 0 {
			b.Archives = append(b.Archives, volumes.ArchiveFile{Path: "images/disk.qcow2", BType: "image", Size: 7, Checksum: fmt.Sprintf("%064x", random.Uint64()), ChecksumType: 2})
		}
		builds = append(builds, b)
	}
	builds[3].Name = "odd\tname\\with\nall"
	builds[4].Archives = []volumes.ArchiveFile{{Path: "", BType: "maven", Err: errors.New(`archive 7: group id "../x"`)}}
	return builds
}

// fill adds the rows in an order that mixes builds, with rows of builds that are not there.
func fill(builds []shard.Build) func(context.Context, *shard.Spool) error {
	return func(_ context.Context, s *shard.Spool) error {
		for j := range 40 {
			for i := len(builds) - 1; i >= 0; i-- {
				b := &builds[i]
				id := b.ID*1000 + int64(j)
				if j < len(b.RPMs) {
					if err := s.RPM(b.ID, id, &b.RPMs[j]); err != nil {
						return err
					}
				}
				if j < len(b.Archives) {
					if err := s.Archive(b.ID, id, &b.Archives[j]); err != nil {
						return err
					}
				}
			}
		}
		if err := s.RPM(1<<40, 1, &volumes.RPMFile{RPM: volumes.RPM{Name: "of-no-build"}}); err != nil {
			return err
		}
		for _, b := range builds {
			if err := s.Build(b.ID, b.Build); err != nil {
				return err
			}
		}
		return nil
	}
}

func manifest(snapshot string) shard.Manifest {
	return shard.Manifest{Snapshot: snapshot, Event: 7, Want: shard.Want{CopyVolume: "staged", SigKeys: []string{"105ef944"}}}
}

// TestPlan: a plan has each build once, with all of its rows, in blocks and halves of blocks by size; the same rows in another order give
// the same shards.
func TestPlan(t *testing.T) {
	builds := synthetic(200)
	for _, test := range []struct {
		most   int64
		halves bool
	}{{0, false}, {1 << 20, true}} {
		top := openTop(t)
		plan, err := shard.Make(t.Context(), top, manifest("1-abc"), test.most, fill(builds))
		must(t, err)
		var all []shard.Build
		halved := false
		for i, info := range plan.Shards {
			got, err := plan.Read(info)
			must(t, err)
			for _, b := range got {
				if fmt.Sprintf("%05d", b.ID>>12) != info.ID[:5] {
					t.Errorf("build %d is in shard %s", b.ID, info.ID)
				}
			}
			if i > 0 && info.ID <= plan.Shards[i-1].ID || info.Builds != len(got) || info.Digest == "" {
				t.Errorf("shard %+v", info)
			}
			if test.most > 0 && info.Bytes > test.most && len(got) > 1 {
				t.Errorf("shard %s has %d bytes", info.ID, info.Bytes)
			}
			halved = halved || len(info.ID) > 5
			all = append(all, got...)
		}
		if halved != test.halves {
			t.Errorf("halved: %v", halved)
		}
		if len(all) != len(builds) {
			t.Fatalf("%d builds of %d", len(all), len(builds))
		}
		for i := range all {
			if want, have := fmt.Sprintf("%+v", builds[i]), fmt.Sprintf("%+v", all[i]); want != have {
				t.Errorf("\n%s\n%s", want, have)
			}
		}
		backwards := slices.Clone(builds)
		slices.Reverse(backwards)
		again, err := shard.Make(t.Context(), openTop(t), manifest("2-abc"), test.most, fill(backwards))
		must(t, err)
		if !slices.Equal(again.Shards, plan.Shards) {
			t.Errorf("%+v, %+v", again.Shards, plan.Shards)
		}
		if open, err := shard.Open(top.Path(), manifest("1-abc")); err != nil || len(open.Shards) != len(plan.Shards) {
			t.Errorf("%v", err)
		}
		if _, err := shard.Open(top.Path(), manifest("9-abc")); !errors.Is(err, shard.ErrNoPlan) {
			t.Errorf("the plan of another snapshot: %v", err)
		}
	}
}

// TestParts: whatever N is, N workers have each shard exactly once, the largest first, and about the same number of bytes.
func TestParts(t *testing.T) {
	plan := &shard.Plan{}
	random := rand.New(rand.NewPCG(3, 4))
	var total int64
	for i := range 97 {
		bytes := random.Int64N(1000)
		total += bytes
		plan.Shards = append(plan.Shards, shard.Info{ID: fmt.Sprintf("%05d", i), Total: shard.Total{Bytes: bytes}})
	}
	for _, n := range []int{1, 2, 3, 7, 16, 97, 200} {
		seen := map[string]int{}
		for i := 1; i <= n; i++ {
			var bytes int64
			own := plan.Of(shard.Part{I: i, N: n})
			for j, s := range own {
				seen[s.ID]++
				bytes += s.Bytes
				if j > 0 && own[j-1].Bytes < s.Bytes {
					t.Errorf("%d/%d: %s after a smaller one", i, n, s.ID)
				}
			}
			if bytes > total/int64(n)+1000 {
				t.Errorf("%d/%d has %d of %d bytes", i, n, bytes, total)
			}
		}
		if len(seen) != len(plan.Shards) {
			t.Errorf("%d workers have %d shards", n, len(seen))
		}
		for id, times := range seen {
			if times != 1 {
				t.Errorf("shard %s is %d times in %d parts", id, times, n)
			}
		}
	}
	for _, bad := range []string{"", "0/4", "5/4", "x/y", "1", "1/", "/4", "-1/4", "1/-4", "01/4", "1/4/2", " 1/4", "1/99999999999", "4+1/4", "-1+1/4", "+1/4", "1+2/4", "1+1+1/4"} {
		if p, err := shard.ParsePart(bad); err == nil {
			t.Errorf("%q is %v", bad, p)
		}
	}
	for text, want := range map[string]string{"4/4": "4/4", "0+1/4": "1/4", "3+1/4": "4/4"} {
		if p, err := shard.ParsePart(text); err != nil || p.String() != want {
			t.Errorf("%s is %v, %v", text, p, err)
		}
	}
}

// TestDamagedPlan: a plan that was changed, cut or mixed with another is an error that names the file.
func TestDamagedPlan(t *testing.T) {
	top := openTop(t)
	plan, err := shard.Make(t.Context(), top, manifest("1-abc"), 0, fill(synthetic(50)))
	must(t, err)
	differ := synthetic(50)
	for i := range differ { // so that each shard differs, whichever is the first
		differ[i].Version = "another"
	}
	other, err := shard.Make(t.Context(), top, manifest("2-abc"), 0, fill(differ))
	must(t, err)
	info := plan.Shards[0]
	path := func(snapshot string) string {
		found, err := filepath.Glob(filepath.Join(top.Path(), ".kojisnap/plans", snapshot+"-*", info.ID+".zst"))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		return found[0]
	}
	good, err := os.ReadFile(path("1-abc"))
	must(t, err)
	foreign, err := os.ReadFile(path("2-abc"))
	must(t, err)
	for name, text := range map[string][]byte{"empty": nil, "cut": good[:len(good)/2], "cut at the end": good[:len(good)-1], "no zstd": []byte("rubbish"), "another plan's": foreign} {
		must(t, os.WriteFile(path("1-abc"), text, 0o644))
		if builds, err := plan.Read(info); err == nil || !strings.Contains(err.Error(), "remove the directory") {
			t.Errorf("%s: %d builds, %v", name, len(builds), err)
		}
	}
	must(t, os.Remove(path("1-abc")))
	if _, err := plan.Read(info); !errors.Is(err, shard.ErrNoPlan) {
		t.Errorf("%v", err)
	}
	if _, err := other.Shard("77777"); err == nil {
		t.Error("a shard that the plan does not have")
	}
}

// TestInterruptedPlan: a plan that is not finished is none, and what it left goes with the next.
func TestInterruptedPlan(t *testing.T) {
	top := openTop(t)
	stop := errors.New("stop")
	_, err := shard.Make(t.Context(), top, manifest("1-abc"), 0, func(context.Context, *shard.Spool) error { return stop })
	if !errors.Is(err, stop) {
		t.Error(err)
	}
	plans := filepath.Join(top.Path(), ".kojisnap/plans")
	must(t, os.MkdirAll(filepath.Join(plans, "new-123/x"), 0o755)) // of a killed run
	for i := range 6 {
		m := manifest(fmt.Sprintf("%d-abc", i))
		m.Event = int64(i)
		_, err = shard.Make(t.Context(), top, m, 0, fill(synthetic(10)))
		must(t, err)
	}
	list, err := filepath.Glob(filepath.Join(plans, "*-*"))
	if err != nil || len(list) != 3 {
		t.Errorf("%q, %v", list, err)
	}
	latest, err := shard.Latest(top.Path())
	if err != nil || latest.Snapshot != "5-abc" {
		t.Errorf("%v, %v", latest, err)
	}
}

func openAt(t testing.TB, dir string) *topdir.Dir {
	t.Helper()
	top, err := topdir.Open(dir, "")
	must(t, err)
	t.Cleanup(func() { top.Close() })
	return top
}
