package hardlink

import (
	"path"

	"kojisnap/hardlink/prodtree"
	"kojisnap/hardlink/source"
	"kojisnap/volumes"
)

// listing is what the read-only volume has of one build. It is read when it is asked for
// first.
type listing struct {
	*differ
	build volumes.StagedBuild

	done     bool
	paths    []string            // files and symlinks, none if there is no such build
	unlisted []prodtree.Unlisted // directories that cannot be read
	regular  map[string]bool     // those that are files, if the first source is the read-only volume
	behind   string              // the volume on which it is
}

func (l *listing) read() {
	if l.done {
		return
	}
	l.done, l.behind = true, l.build.SourceVolume
	if l.opts.ReadOnly == "" {
		return
	}
	production := source.Dir(l.opts.ReadOnly)
	roots := production.BuildDirs(l.build.Build)
	for i, root := range roots {
		t := prodtree.NewListing(root)
		t.Above, t.Whole = above(l.build.Files), logsDir
		t.List(".")
		if t.Missing() && i+1 < len(roots) {
			continue
		}
		if i > 0 { // moved since: production's own symlink leads there
			l.behind = l.plan.Prod
		}
		if t.Missing() {
			break // nothing to lead to
		}
		l.paths, l.unlisted = t.Paths, t.Unlisted
		if l.sources.First() == production {
			l.regular = t.Regular
		}
		break
	}
}

// has tells that the first source has a file, without another look. Of one that it does not
// tell nothing is known.
func (l *listing) has(path string) bool {
	l.read()
	return l.regular[path]
}

// hides tells whether a file may be in a directory that cannot be read.
func (l *listing) hides(file string) bool {
	l.read()
	for _, u := range l.unlisted {
		for dir := path.Dir(file); ; dir = path.Dir(dir) {
			if dir == u.Path {
				return true
			}
			if dir == "." {
				break
			}
		}
	}
	return false
}

// above are the directories above files.
func above(files []volumes.File) map[string]bool {
	dirs := map[string]bool{}
	for i := range files {
		for dir := path.Dir(files[i].Path); dir != "." && !dirs[dir]; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	return dirs
}
