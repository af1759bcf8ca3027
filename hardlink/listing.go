package hardlink

import (
	"fmt"
	"io/fs"
	"os"

	"kojisnap/volumes"
)

// listing is what the read-only volume has of one build. It is read when it is asked for
// first.
type listing struct {
	*differ
	build volumes.StagedBuild

	done    bool
	err     error
	paths   []string        // files and symlinks, none if there is no such build
	regular map[string]bool // those that are files, if the first source is the read-only volume
	behind  string          // the volume on which it is
}

func (l *listing) read() error {
	if l.done {
		return l.err
	}
	l.done, l.behind = true, l.build.Behind
	if l.opts.ReadOnly == "" {
		return nil
	}
	production := dirSource(l.opts.ReadOnly)
	regular := map[string]bool{}
	roots := production.buildDirs(l.build.Build)
	for i, root := range roots {
		l.paths, l.err = list(root, regular)
		if absent(l.err) && i+1 < len(roots) {
			continue
		}
		if i > 0 { // moved since: production's own symlink leads there
			l.behind = l.plan.Prod
		}
		break
	}
	if absent(l.err) {
		l.err = nil // nothing to lead to
	}
	if l.sources[0] == source(production) {
		l.regular = regular
	}
	return l.err
}

// has tells that the first source has a file, without another look. Of one that it does not
// tell nothing is known.
func (l *listing) has(path string) bool {
	return l.read() == nil && l.regular[path]
}

// list names all that is below a directory and is not a directory, sorted. The regular files
// are put into regular, unless that is nil.
func list(root string, regular map[string]bool) (paths []string, err error) {
	err = fs.WalkDir(os.DirFS(root), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("list %s: %w", root, err)
		}
		if d.IsDir() {
			return nil
		}
		paths = append(paths, p)
		if regular != nil && d.Type().IsRegular() {
			regular[p] = true
		}
		return nil
	})
	return paths, err
}
