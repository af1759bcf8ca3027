package hubtest

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// buildDir is a build's directory below topdir.
func buildDir(build *Struct) string {
	dir := path.Join("packages", asString(build.Val("name")), asString(build.Val("version")), asString(build.Val("release")))
	if volume := asString(build.Val("volume_name")); volume != "" && volume != "DEFAULT" {
		dir = path.Join("vol", volume, dir)
	}
	return dir
}

// getBuildLogs lists the regular files below a build's data/logs in Options.Topdir, each directory's
// sorted; without a topdir it lists nothing. data/logs may be a symlink to a directory; as with Koji's
// os.walk, no other symlink is followed or listed.
func getBuildLogs(c *call) any {
	build := c.build(c.arg("build"), true)
	logs := []any{}
	if c.srv.opts.Topdir == "" {
		return logs
	}
	rel := path.Join(buildDir(build), "data/logs")
	top := filepath.Join(c.srv.opts.Topdir, rel)
	switch info, err := os.Stat(top); {
	case errors.Is(err, fs.ErrNotExist):
		return logs
	case err == nil && !info.IsDir():
		generic("Not a directory: %s", top)
	}
	var walk func(dir string)
	walk = func(dir string) {
		entries, _ := os.ReadDir(filepath.Join(top, dir)) // what cannot be read is passed over
		for _, e := range entries {
			if e.Type().IsRegular() {
				// Koji joins them so: of what is in data/logs itself the path has a component ".".
				logs = append(logs, NewStruct("name", e.Name(), "dir", dir, "path", rel+"/"+dir+"/"+e.Name()))
			}
		}
		for _, e := range entries {
			if e.IsDir() {
				walk(path.Join(dir, e.Name()))
			}
		}
	}
	walk(".")
	return logs
}
