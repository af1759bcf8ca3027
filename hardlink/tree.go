package hardlink

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"kojisnap/volumes"
)

// Nowhere is a volume's symlink that leads to what production's tree does not have here.
type Nowhere struct {
	volumes.Link
	Builds int `json:"builds"` // that are on it
}

func (n Nowhere) String() string {
	return fmt.Sprintf("%s -> %s leads nowhere, and %d builds are on that volume: production has it on a mount that is not here", n.Path, n.Target, n.Builds)
}

// A sample that is large enough to tell a tree of half the builds, and costs no time on NFS.
const sampleBuilds = 40

// checkTree looks whether the read-only volume is the tree of which the database tells: some
// builds, spread over the plan and always the same, must be there, with rpms of the right size.
// A build or two may be gone since: their files will be reported. It returns the volumes that
// lead nowhere.
func (e *Engine) checkTree(plan volumes.Plan) ([]Nowhere, error) {
	if e.opts.ReadOnly == "" {
		return nil, nil
	}
	var have, bad, unreadable int
	var first error
	check := func(err error) {
		var size *sizeError
		switch {
		case err != nil && !absent(err) && !errors.As(err, &size):
			unreadable++ // which says nothing of whose tree it is
		case err != nil:
			bad++
			have++
		default:
			have++
		}
		if err != nil && first == nil {
			first = err
		}
	}
	for i := range spread(len(plan.Staged)) {
		s := plan.Staged[i]
		for _, f := range s.Files {
			if f.Kind == volumes.KindRPM && f.Size >= 0 {
				check(e.look(s.Build, f.Path, f.Size))
				break
			} else if f.Kind == volumes.KindSigned {
				check(e.look(s.Build, f.Unsigned, -1)) // which production never prunes
				break
			}
		}
	}
	if bad > 1 && bad*10 > have {
		return nil, e.wrongTree(bad, have, first)
	}
	if have == 0 && unreadable > 1 {
		return nil, e.wrongTree(unreadable, unreadable, first)
	}
	// Of other builds the plan does not know the files, but that these have some.
	have, bad, unreadable, first = 0, 0, 0, nil
	for _, b := range plan.Sample {
		check(e.look(b, ".", -1))
	}
	if bad > 1 && bad*2 > have || have == 0 && unreadable > 1 {
		return nil, e.wrongTree(bad+unreadable, have+unreadable, first)
	}
	if err := e.refuseWritable(plan); err != nil {
		return nil, err
	}
	return e.nowhere(plan), nil
}

func (e *Engine) wrongTree(bad, have int, first error) error {
	return fmt.Errorf("read-only volume %s: is not the tree of this snapshot, or not all of it: of %d builds looked for %d are not there as the database says: %w",
		e.opts.ReadOnly, have, bad, first)
}

// spread is up to sampleBuilds of n indexes, evenly spread.
func spread(n int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		most := min(n, sampleBuilds)
		for i := range most {
			if !yield(i * n / most) {
				return
			}
		}
	}
}

// look looks for a file of a build on the read-only volume. size -1: any. It learns whether
// production's files can be linked, so that a plan knows the space that copies need.
func (e *Engine) look(b volumes.Build, path string, size int64) (err error) {
	for _, dir := range dirSource(e.opts.ReadOnly).buildDirs(b) {
		info, serr := os.Stat(filepath.Join(dir, path))
		switch {
		case serr == nil && size >= 0 && info.Size() != size:
			return &sizeError{filepath.Join(dir, path), info.Size(), size}
		case serr == nil:
			if info.Mode().IsRegular() && !e.top.FitsInfo(info) {
				e.sameMount = false // links are possible, and not as they are to be
			}
			return nil
		case err == nil:
			err = serr
		}
	}
	return err
}

// sizeError is a file that has not the size that the database says.
type sizeError struct {
	path       string
	have, want int64
}

func (e *sizeError) Error() string {
	return fmt.Sprintf("%s has %d bytes, the database says %d", e.path, e.have, e.want)
}

// nowhere finds the links of volumes that lead to nothing.
func (e *Engine) nowhere(plan volumes.Plan) (list []Nowhere) {
	for _, v := range plan.Volumes {
		if _, err := os.Stat(filepath.Join(e.opts.ReadOnly, v.Source)); !absent(err) {
			continue
		}
		n := Nowhere{Link: v.Link(e.treeFromVolume())}
		for _, b := range plan.Linked {
			if b.Volume == v.Name {
				n.Builds++
			}
		}
		for _, s := range plan.Staged {
			if s.Behind == v.Name {
				n.Builds++
			}
		}
		list = append(list, n)
	}
	return list
}
