package prodtree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kojisnap/hardlink/source"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// Tree is production's tree at Root, mounted read-only. Call Check before all other methods except
// RefuseWritable. After Check the methods may be called concurrently.
type Tree struct {
	Root      string   // production's topdir; "": there is none
	Unmounted []string // production's volumes that this site never mounts
	Writable  bool     // accept that staging's hub may be able to write it
	Owner     *topdir.Owner
	Top       *topdir.Dir // staging's
	Log       *slog.Logger

	away       map[string]*Away // production's volumes that are not here, for the last plan
	couldWrite bool             // staging's hub could write the tree
	unfit      bool             // some files cannot be linked with their wanted attributes
}

// IsWritable reports whether staging's hub could write the tree, so that moves in Koji succeed.
func (t *Tree) IsWritable() bool { return t.couldWrite }

// Fits reports whether each file that was seen can be linked with its wanted attributes.
func (t *Tree) Fits() bool { return !t.unfit }

// Away returns why a volume is not here, nil if it is.
func (t *Tree) Away(volume string) *Away { return t.away[volume] }

// This sample is large enough to recognize half a tree, and costs little time on NFS.
const sampleBuilds = 40

// Check finds out whether the read-only volume is the tree in the database. On each of production's volumes
// it looks for some builds, spread over the plan and the same each time, and for an rpm in each with the
// right size. A few builds may be gone: their missing files are reported later. It notes the volumes that are
// not here. If DEFAULT's builds are missing, the tree is another one, or none.
func (t *Tree) Check(plan volumes.Plan) error {
	samples := sampleBuildsOf(plan)
	t.away = t.findAway(plan, samples)
	if t.Root == "" {
		return nil
	}
	s := samples[""]
	if s == nil {
		s = &sample{}
	}
	staged := t.lookForStaged(plan, s.staged)
	if staged.bad > 1 && staged.bad*10 > staged.have {
		return t.wrongTree(staged.bad, staged.have, staged.first)
	}
	if staged.have == 0 && staged.unreadable > 1 {
		return t.wrongTree(staged.unreadable, staged.unreadable, staged.first)
	}
	other := t.lookFor(s.others)
	if other.bad > 1 && other.bad*2 > other.have || other.have == 0 && other.unreadable > 1 {
		return t.wrongTree(other.bad+other.unreadable, other.have+other.unreadable, other.first)
	}
	return t.RefuseWritable(plan)
}

// sample has the builds to look for on one of production's volumes.
type sample struct {
	staged []int           // indexes of Plan.Staged
	others []volumes.Build // of Plan.Sample
}

// sampleBuildsOf returns the samples by volume name, "" for DEFAULT.
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

// looked counts the results for some builds.
type looked struct {
	have, bad  int // builds that say something about the tree; those of them that differ from the database
	unreadable int // builds that say nothing about the tree
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

// lookForStaged looks for one file of each of some builds.
func (t *Tree) lookForStaged(plan volumes.Plan, indexes []int) (l looked) {
	for i := range spread(len(indexes)) {
		s := &plan.Staged[indexes[i]]
		for _, f := range s.Files {
			if f.Kind == volumes.KindRPM && f.Size >= 0 {
				l.add(t.look(s.Build, f.Path, f.Size))
				break
			} else if f.Kind == volumes.KindSigned {
				l.add(t.look(s.Build, f.Unsigned, -1)) // production never prunes this file
				break
			}
		}
	}
	return l
}

// lookFor looks for builds whose files the plan does not know. Each must have some file.
func (t *Tree) lookFor(builds []volumes.Build) (l looked) {
	for _, b := range builds {
		l.add(t.look(b, ".", -1))
	}
	return l
}

func (t *Tree) wrongTree(bad, have int, first error) error {
	return fmt.Errorf("read-only volume %s: is not the tree of this snapshot, or not all of it: of %d builds looked for %d are not there as the database says: %w",
		t.Root, have, bad, first)
}

// spread yields up to sampleBuilds of n indexes, evenly spread.
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

// look looks for a file of a build on the read-only volume. size -1: any. It also notes whether production's
// files can be linked, so that a plan knows how much room copies need.
func (t *Tree) look(b volumes.Build, path string, size int64) (err error) {
	for _, dir := range source.Dir(t.Root).BuildDirs(b) {
		info, serr := os.Stat(filepath.Join(dir, path))
		switch {
		case serr == nil && size >= 0 && info.Size() != size:
			return &sizeError{filepath.Join(dir, path), info.Size(), size}
		case serr == nil:
			if info.Mode().IsRegular() && !t.Top.FitsInfo(info) {
				t.unfit = true // linking works, but not with the wanted attributes
			}
			return nil
		case err == nil:
			err = serr
		}
		if err != nil && source.Absent(err) {
			if link := t.dangling(filepath.Join(dir, path)); link != "" {
				err = &danglingError{link, err}
			}
		}
	}
	return err
}

// dangling returns the symlink on a path, at a build's directory or above it below packages, whose target
// does not exist; "" if there is none. A tree with such a symlink is production's, but lacks a mount.
func (t *Tree) dangling(path string) string {
	below := 0
	if rel, err := filepath.Rel(t.Root, path); err == nil {
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

// danglingError says that a file is missing because a symlink on its path has no target.
type danglingError struct {
	link string
	err  error
}

func (e *danglingError) Error() string {
	return fmt.Sprintf("%v: %s leads to what is not mounted here", e.err, e.link)
}

func (e *danglingError) Unwrap() error { return e.err }

// sizeError says that a file's size differs from the database.
type sizeError struct {
	path       string
	have, want int64
}

func (e *sizeError) Error() string {
	return fmt.Sprintf("%s has %d bytes, the database says %d", e.path, e.have, e.want)
}

// Away says why one of production's volumes is not here.
type Away struct {
	Why  string
	Said bool
}

// IsAway reports whether a build cannot be read because its volume is not here.
func (t *Tree) IsAway(b volumes.Build) bool { return t.away[b.Volume] != nil }

// findAway returns which of production's volumes other than DEFAULT are not here.
func (t *Tree) findAway(plan volumes.Plan, samples map[string]*sample) map[string]*Away {
	found := map[string]*Away{}
	for _, volume := range t.Unmounted {
		found[volume] = &Away{"the configuration says that this site has no mount of it (unmounted)", true}
		if !slices.Contains(plan.Production, volume) {
			t.Log.Warn("production has no volume of a name that --unmounted gives: correct it", "volume", volume)
		}
	}
	if t.Root == "" {
		return found
	}
	for _, volume := range plan.Production {
		if volume == "" || volume == volumes.DefaultVolume || found[volume] != nil {
			continue
		}
		if why := t.lacks(plan, volume, samples[volume]); why != "" {
			found[volume] = &Away{Why: why}
		}
	}
	return found
}

// lacks says why one of production's volumes is not here; "" if it is. A build that production has moved to
// another volume since does not count.
func (t *Tree) lacks(plan volumes.Plan, volume string, s *sample) string {
	dir, err := volumes.VolumeDir(volume)
	if err != nil {
		return "" // the plan keeps the volume back already
	}
	packages := filepath.Join(t.Root, dir, "packages")
	switch err := hasNames(packages); {
	case err == io.EOF && s == nil:
		return ""
	case err == io.EOF:
		return packages + " is empty"
	case source.Absent(err):
		return packages + " is not there"
	case err != nil:
		return err.Error()
	case s == nil:
		return ""
	}
	l := t.lookForStaged(plan, s.staged)
	for _, b := range s.others {
		l.add(t.look(b, ".", -1))
	}
	if l.bad > 1 && l.bad*2 > l.have || l.have == 0 && l.unreadable > 1 {
		return fmt.Sprintf("of %d builds that were looked for on it %d are not there as the database says: %v", l.have+l.unreadable, l.bad+l.unreadable, l.first)
	}
	return ""
}

// hasNames returns io.EOF for an empty directory.
func hasNames(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	return err
}

// UnmountedVolumes returns staging's volumes that show a volume which should be mounted here and is not.
func (t *Tree) UnmountedVolumes(plan volumes.Plan) map[string]bool {
	unmounted := map[string]bool{}
	for _, v := range plan.Volumes {
		for volume, why := range t.away {
			if !why.Said && v.Source == "vol/"+volume {
				unmounted[v.Name] = true
			}
		}
	}
	return unmounted
}
