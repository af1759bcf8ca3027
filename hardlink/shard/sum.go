package shard

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	"kojisnap/hardlink/ledger"
	"kojisnap/volumes"
)

// Total is what a shard's files come to: those that rows of the database name.
type Total struct {
	Files   int    `json:"files"`
	Bytes   int64  `json:"bytes"`   // as far as the database knows sizes: not of signed copies and signature headers
	Content string `json:"content"` // SHA-256, in hex, of each file's path and digest, sorted by build and path
}

// summing adds up files. All of a build come one after the other, sorted by path.
type summing struct {
	sum  Total
	hash hash.Hash
}

func (s *summing) add(dir string, f *volumes.File) {
	if s.hash == nil {
		s.hash = sha256.New()
	}
	s.sum.Files++
	s.sum.Bytes += max(f.Size, 0)
	io.WriteString(s.hash, dir)
	io.WriteString(s.hash, "/")
	io.WriteString(s.hash, f.Path)
	io.WriteString(s.hash, "\t")
	io.WriteString(s.hash, ledger.Content(f))
	io.WriteString(s.hash, "\n")
}

func (s *summing) result() Total {
	if s.hash == nil {
		s.hash = sha256.New()
	}
	s.sum.Content = hex.EncodeToString(s.hash.Sum(nil))
	return s.sum
}

// planOf makes the plan of a shard's files. decided are the builds, by id, that staging decided about itself.
func planOf(want volumes.Want, builds []Build, decided map[int64]string) (volumes.Plan, error) {
	in := volumes.Input{Builds: make([]volumes.BuildFiles, 0, len(builds))}
	for i := range builds {
		if _, own := decided[builds[i].ID]; own {
			in.Decided = append(in.Decided, builds[i].Build)
		} else {
			in.Builds = append(in.Builds, builds[i].BuildFiles)
		}
	}
	return volumes.NewPlan(in, want)
}

// planned sums up the files of a shard. With a ledger, only those count that are in place by it, of builds that are complete; and
// left are the builds that are not.
func planned(want volumes.Want, builds []Build, have *proof) (Total, error) {
	plan, err := planOf(want, builds, nil)
	if err != nil {
		return Total{}, err
	}
	var s summing
	for i := range plan.Staged {
		b := &plan.Staged[i]
		b.Build.Volume = plan.CopyVolume
		dir, err := b.Build.Dir()
		if err != nil {
			return Total{}, err
		}
		if have != nil && !have.whole(dir, b) {
			have.left = append(have.left, b.Build.NVR())
			continue
		}
		for j := range b.Files {
			s.add(dir, &b.Files[j])
		}
	}
	return s.result(), nil
}

// proof compares a plan with a ledger.
type proof struct {
	ledger  *ledger.Ledger
	decided map[string]bool // directories of builds that staging decided about: these count as done
	left    []string        // N-V-R
}

// whole reports whether all files of a build are in place. If an optional one is not, the ledger says that production does not
// have it.
func (p *proof) whole(dir string, b *volumes.StagedBuild) bool {
	if p.decided[dir] {
		return true
	}
	known := p.ledger.Builds[dir]
	if known == nil || !known.Complete || known.Pending {
		return false
	}
	_, _, ok := known.Has(b.Files)
	return ok
}

func (s Total) String() string {
	return fmt.Sprintf("%d files, %d bytes, %.16s", s.Files, s.Bytes, s.Content)
}
