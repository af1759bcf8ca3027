package hubtest

import (
	"io/fs"
	"os"
	"path"
	"strings"
)

// buildDir is a build's directory below topdir.
func buildDir(build *Struct) string {
	dir := path.Join("packages", asString(build.Val("name")), asString(build.Val("version")), asString(build.Val("release")))
	if volume := asString(build.Val("volume_name")); volume != "" && volume != "DEFAULT" {
		dir = path.Join("vol", volume, dir)
	}
	return dir
}

// getBuildLogs lists the files below a build's data/logs in Options.Topdir;
// without one it lists nothing.
func getBuildLogs(c *call) any {
	build := c.build(c.arg("build"), true)
	logs := []any{}
	if c.srv.opts.Topdir == "" {
		return logs
	}
	root, err := os.OpenRoot(c.srv.opts.Topdir)
	if err != nil {
		exception("OSError", "%v", err)
	}
	defer root.Close()
	top := path.Join(buildDir(build), "data/logs")
	fs.WalkDir(root.FS(), top, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // Koji's os.walk passes over what it cannot read
		}
		dir := strings.TrimPrefix(strings.TrimPrefix(path.Dir(name), top), "/")
		if dir == "" {
			dir = "."
		}
		logs = append(logs, NewStruct("name", d.Name(), "dir", dir, "path", name))
		return nil
	})
	return logs
}
