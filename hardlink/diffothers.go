package hardlink

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kojisnap/volumes"
)

// diffOthers adds symlinks for what production has of the build apart from the
// planned files.
func (e *Engine) diffOthers(a *Actions, action *BuildAction, s volumes.StagedBuild, prod string) error {
	if e.opts.ReadOnly == "" {
		return nil
	}
	planned := map[string]bool{}
	for _, f := range s.Files {
		planned[f.Path] = true
	}
	rel, err := s.Build.Rel()
	if err != nil {
		return err
	}
	behind := s.Behind
	roots := dirSource(e.opts.ReadOnly).buildDirs(s.Build)
	var others []string
	for i, root := range roots {
		others, err = list(root)
		if absent(err) && i+1 < len(roots) {
			continue
		}
		if i > 0 { // moved since: production's own symlink leads there
			behind = prod
		}
		break
	}
	if absent(err) {
		return nil // nothing to lead to
	}
	if err != nil {
		return err
	}
	for _, p := range others {
		if planned[p] {
			continue
		}
		if err := volumes.CheckPath("file name", p); err != nil {
			a.Kept = append(a.Kept, Kept{fmt.Sprintf("%q", rel+"/"+p), "no symlink to it: " + err.Error()})
			continue
		}
		// From vol/VOLUME/packages/N/V/R and what p adds, up to vol.
		target := strings.Repeat("../", 5+strings.Count(p, "/")) + behind + "/" + rel + "/" + p
		fa := FileAction{Op: OpSymlink, Path: p, Target: target}
		if !action.New {
			if _, err := e.top.Lstat(action.Dir + "/" + p); err == nil {
				continue // there: ours, or what staging made of it
			} else if !absent(err) {
				return err
			}
		}
		action.Files = append(action.Files, fa)
	}
	slices.SortFunc(action.Files, func(x, y FileAction) int { return strings.Compare(x.Path, y.Path) })
	return nil
}

// list names all that is below a directory and is not a directory, sorted.
func list(root string) ([]string, error) {
	resolved, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, err
	}
	var paths []string
	err = fs.WalkDir(os.DirFS(resolved), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, p)
		}
		return err
	})
	return paths, err
}
