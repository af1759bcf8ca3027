package volumes

import "path/filepath"

// Link is a symlink that a plan wants below topdir.
type Link struct {
	Path   string `json:"path"`   // relative to topdir
	Target string `json:"target"` // what it says
}

// VolumeLink is a staging volume that shows the builds of one of production's volumes and
// nothing else of its tree: vol/NAME is a directory with one symlink, packages. So no tool of
// Koji that goes through the volumes (kojira, prune-signed-copies) meets production's repos,
// dist repos or work there.
type VolumeLink struct {
	Name   string `json:"name"`   // of the staging volume
	Source string `json:"source"` // the volume's directory below production's topdir: "." or vol/X
}

// Link is the symlink vol/NAME/packages. tree is production's topdir: an absolute path, or a
// path relative to vol/NAME.
func (v VolumeLink) Link(tree string) Link {
	return Link{Path: "vol/" + v.Name + "/packages", Target: filepath.Join(tree, v.Source, "packages")}
}
