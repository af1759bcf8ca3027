package topdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// directory returns a directory's path with all symlinks resolved.
func directory(what, dir string) (string, error) {
	resolved, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s %s: does not exist: %w", what, dir, fs.ErrNotExist)
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", what, dir, err)
	}
	info, err := os.Stat(resolved)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", what, dir, err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s %s: is not a directory", what, dir)
	}
	return filepath.Abs(resolved)
}

// apart returns an error if topdir is the read-only volume or lies below it.
func apart(topdir, resolved, readOnly string) error {
	ro, err := directory("read-only volume", readOnly)
	if err != nil {
		return err
	}
	roInfo, err := os.Stat(ro)
	if err != nil {
		return err
	}
	for p := resolved; ; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("topdir %s: %w", topdir, err)
		}
		if p == ro || os.SameFile(info, roInfo) {
			if p == resolved {
				return fmt.Errorf("topdir %s: is the read-only volume %s itself", topdir, readOnly)
			}
			return fmt.Errorf("topdir %s: is below the read-only volume %s", topdir, readOnly)
		}
		if p == filepath.Dir(p) {
			break
		}
	}
	// It may be another bind mount of a part of the same tree.
	for _, sub := range []string{"packages", "vol"} {
		a, aerr := os.Stat(filepath.Join(resolved, sub))
		b, berr := os.Stat(filepath.Join(ro, sub))
		if aerr == nil && berr == nil && os.SameFile(a, b) {
			return fmt.Errorf("topdir %s: its %s is the one of the read-only volume %s", topdir, sub, readOnly)
		}
	}
	return nil
}
