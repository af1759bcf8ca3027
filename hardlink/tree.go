package hardlink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"kojisnap/hardlink/source"
	"kojisnap/volumes"
)

// A sample that is large enough to tell a tree of half the builds, and costs no time on NFS.
const sampleBuilds = 40

// checkTree looks whether the read-only volume is the tree of which the database tells: of each of
// production's volumes some builds, spread over the plan and always the same, must be there, with rpms
// of the right size. A build or two may be gone since: their files will be reported. It notes the
// volumes that are not here; without DEFAULT's builds it is another tree, or none.
func (e *Engine) checkTree(plan volumes.Plan) error {
	samples := sampleBuildsOf(plan)
	e.away = e.findAway(plan, samples)
	if e.opts.ReadOnly == "" {
		return nil
	}
	s := samples[""]
	if s == nil {
		s = &sample{}
	}
	staged := e.lookForStaged(plan, s.staged)
	if staged.bad > 1 && staged.bad*10 > staged.have {
		return e.wrongTree(staged.bad, staged.have, staged.first)
	}
	if staged.have == 0 && staged.unreadable > 1 {
		return e.wrongTree(staged.unreadable, staged.unreadable, staged.first)
	}
	other := e.lookFor(s.others)
	if other.bad > 1 && other.bad*2 > other.have || other.have == 0 && other.unreadable > 1 {
		return e.wrongTree(other.bad+other.unreadable, other.have+other.unreadable, other.first)
	}
	return e.refuseWritable(plan)
}

// sample are builds of one of production's volumes that are looked for.
type sample struct {
	staged []int           // indexes of Plan.Staged
	others []volumes.Build // of Plan.Sample
}

// sampleBuildsOf are the samples of production's volumes by name, "" for DEFAULT.
func sampleBuildsOf(plan volumes.Plan) map[string]*sample {
	samples := map[string]*sample{}
	of := func(b volumes.Build) *sample {
		volume := b.Volume
		if volume == volumes.DefaultVolume {
			volume = ""
		}
		if samples[volume] == nil {
			samples[volume] = &sample{}
		}
		return samples[volume]
	}
	for i := range plan.Staged {
		s := of(plan.Staged[i].Build)
		s.staged = append(s.staged, i)
	}
	for _, b := range plan.Sample {
		s := of(b)
		s.others = append(s.others, b)
	}
	return samples
}

// looked is what became of looking for some builds.
type looked struct {
	have, bad  int // that tell something; those that are not there as the database says
	unreadable int // which says nothing of whose tree it is
	first      error
}

func (l *looked) add(err error) {
	switch {
	case err != nil && (errors.As(err, new(*danglingError)) || !source.Absent(err) && !errors.As(err, new(*sizeError))):
		l.unreadable++
	case err != nil:
		l.bad++
		l.have++
	default:
		l.have++
	}
	if err != nil && l.first == nil {
		l.first = err
	}
}

// lookForStaged looks for a file of some of the builds.
func (e *Engine) lookForStaged(plan volumes.Plan, indexes []int) (l looked) {
	for i := range spread(len(indexes)) {
		s := &plan.Staged[indexes[i]]
		for _, f := range s.Files {
			if f.Kind == volumes.KindRPM && f.Size >= 0 {
				l.add(e.look(s.Build, f.Path, f.Size))
				break
			} else if f.Kind == volumes.KindSigned {
				l.add(e.look(s.Build, f.Unsigned, -1)) // which production never prunes
				break
			}
		}
	}
	return l
}

// lookFor looks for builds of which the plan does not know the files, but that these have some.
func (e *Engine) lookFor(builds []volumes.Build) (l looked) {
	for _, b := range builds {
		l.add(e.look(b, ".", -1))
	}
	return l
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
	for _, dir := range source.Dir(e.opts.ReadOnly).BuildDirs(b) {
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
		if err != nil && source.Absent(err) {
			if link := e.dangling(filepath.Join(dir, path)); link != "" {
				err = &danglingError{link, err}
			}
		}
	}
	return err
}

// dangling is the symlink, at a build's directory or below packages above it, by which a path leads
// nowhere; "": there is none. Such a tree is production's, and lacks a mount.
func (e *Engine) dangling(path string) string {
	below := 0
	if rel, err := filepath.Rel(e.opts.ReadOnly, path); err == nil {
		below = strings.Count(rel, "/")
	}
	for ; below > 0 && filepath.Base(path) != "packages"; below-- {
		info, err := os.Lstat(path)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			if _, err := os.Stat(path); source.Absent(err) {
				return path
			}
		}
		path = filepath.Dir(path)
	}
	return ""
}

// danglingError is a file that is behind a symlink to what is not here.
type danglingError struct {
	link string
	err  error
}

func (e *danglingError) Error() string {
	return fmt.Sprintf("%v: %s leads to what is not mounted here", e.err, e.link)
}

func (e *danglingError) Unwrap() error { return e.err }

// sizeError is a file that has not the size that the database says.
type sizeError struct {
	path       string
	have, want int64
}

func (e *sizeError) Error() string {
	return fmt.Sprintf("%s has %d bytes, the database says %d", e.path, e.have, e.want)
}
