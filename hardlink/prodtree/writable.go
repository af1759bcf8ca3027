package prodtree

import (
	"fmt"
	"path"
	"path/filepath"

	"kojisnap/hardlink/source"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// WritableError says that staging's hub could write production's tree.
type WritableError struct {
	Tree  string
	Path  string       // a directory that could be written
	User  topdir.Owner // of staging's hub
	Owner bool         // User was given as owner; otherwise topdir shows it
}

func (e *WritableError) Error() string {
	who := fmt.Sprintf("user %v, as topdir's files have it", e.User)
	if e.Owner {
		who = fmt.Sprintf("the owner %v that is given", e.User)
	}
	return fmt.Sprintf("production's tree %s could be written by staging's hub (%s, could write %s): what is deleted or moved in staging would go in production; "+
		"mount it read-only (mount -o bind,ro), or give --writable-source if that is meant", e.Tree, who, e.Path)
}

// RefuseWritable returns an error if staging's hub could write the tree. The hub's user is the configured
// owner of what is made below topdir, or else the owner of what the hub made there. It looks at the
// directories that the volumes show, and at those of some builds.
func (t *Tree) RefuseWritable(plan volumes.Plan) error {
	refused, err := t.writable(plan)
	if err != nil || refused == nil {
		return err
	}
	t.couldWrite = true
	if t.Writable {
		t.Log.Info("staging's hub could write production's tree", "path", refused.Path, "user", refused.User)
		return nil
	}
	return refused
}

func (t *Tree) writable(plan volumes.Plan) (*WritableError, error) {
	refused := &WritableError{Tree: t.Root}
	if o := t.Owner; o != nil {
		refused.User, refused.Owner = *o, true
	} else if o, err := t.Top.HubUser(); err != nil {
		return nil, err
	} else {
		refused.User = o
	}
	hub := topdir.NewWriter(refused.User)
	for _, dir := range t.shown(plan) {
		// A directory that cannot be read (the build is gone, the volume is not mounted) shows nothing.
		if could, err := hub.Could(dir); err == nil && could {
			refused.Path = dir
			return refused, nil
		}
	}
	return nil, nil
}

// shown returns directories of production's tree that staging's hub sees through the volumes.
func (t *Tree) shown(plan volumes.Plan) []string {
	dirs := []string{filepath.Join(t.Root, "packages")}
	for _, v := range plan.Volumes {
		dirs = append(dirs, filepath.Join(t.Root, v.Source, "packages"))
	}
	tree := source.Dir(t.Root)
	for i := range spread(len(plan.Staged)) {
		for _, dir := range tree.BuildDirs(plan.Staged[i].Build) {
			dirs = append(dirs, path.Dir(dir), dir)
		}
	}
	for _, b := range plan.Sample {
		for _, dir := range tree.BuildDirs(b) {
			dirs = append(dirs, path.Dir(dir), dir)
		}
	}
	return dirs
}
