package overlay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/oneline"
	"kojisnap/volumes/clone"
	"kojisnap/volumes/topdir"
)

const probeDir = "probe" // an overlay of its own, so that nothing of a probe is in the clone

const (
	enough    = 1 << 20 // a file to try links with is large enough if it has so many bytes
	mostLooks = 5000    // so many names are looked at for one
)

// probe finds out how a link costs no data, by one of a large file in an overlay that is removed again.
func (p *Provider) probe(ctx context.Context, dir string, a *about) error {
	file, size, err := largeFile(ctx, a.Lower.Path)
	if err != nil {
		return err
	}
	if file == "" {
		return fmt.Errorf("lower %s: no file was found in its packages to try a link with", a.Lower.Path)
	}
	var why []error
	for _, mode := range p.modes(a.Lower, dir) {
		own, err := p.tryLink(dir, a.Lower.Path, file, mode)
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return fmt.Errorf("no room for a clone in %s: %w", p.Dir, err)
		}
		if err == nil && own*10 <= size {
			a.Mode, a.Probe = mode, fmt.Sprintf("a link of %d bytes wrote %d", size, own)
			return nil
		}
		if err == nil {
			err = fmt.Errorf("a link of %s, %d bytes, wrote %d", file, size, own)
		}
		why = append(why, fmt.Errorf("with %s: %w", mode, err))
	}
	return fmt.Errorf("links in an overlay of %s in %s copy the data: %w; put dir on the XFS or Btrfs of lower, or on a file system with extended attributes and a kernel that has metacopy",
		a.Lower.Path, p.Dir, oneline.Of(errors.Join(why...)))
}

// modes are the ways to try. A link by metacopy is made in half the time of a reflink, but has the content of the lower
// file for as long as it lives: where production may replace that file, reflinks come first. A file can be reflinked only
// within one file system that can.
func (p *Provider) modes(lower clone.Lower, dir string) []string {
	l, err := topdir.MountOf(lower.Path)
	d, derr := topdir.MountOf(dir)
	switch {
	case err != nil, derr != nil, l.Device != d.Device, l.Type != "xfs" && l.Type != "btrfs":
		return []string{metacopy}
	case lower.Live && !p.Metacopy:
		return []string{reflink, metacopy}
	}
	return []string{metacopy, reflink}
}

// tryLink links a file of the lower tree in an overlay, and returns the bytes that this wrote.
func (p *Provider) tryLink(dir, lower, file, mode string) (own int64, err error) {
	if err := unmount(dir); err != nil { // a killed probe's
		return 0, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	if err := root.RemoveAll(probeDir); err != nil {
		return 0, err
	}
	for _, name := range []string{"", "/upper", "/work", "/root"} {
		if err := root.Mkdir(probeDir+name, 0o755); err != nil {
			return 0, err
		}
	}
	defer func() {
		err = errors.Join(err, unmount(dir), root.RemoveAll(probeDir))
	}()
	probe := filepath.Join(dir, probeDir)
	if err := mount(probe, "upper", "work", "root", lower, mode); err != nil {
		return 0, err
	}
	if err := p.step("probe"); err != nil {
		return 0, err
	}
	const link = "kojisnap-link"
	if err := os.Link(filepath.Join(probe, "root", file), filepath.Join(probe, "root", link)); err != nil {
		return 0, err
	}
	f, err := os.Open(filepath.Join(probe, "upper", link))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return written(int(f.Fd()))
}

// largeFile finds a file in the packages of a tree, by a bounded search: the first of enough bytes, or else the largest.
// It reads no directory to its end: that of production's packages is long, and on a file server.
func largeFile(ctx context.Context, tree string) (rel string, size int64, err error) {
	s := search{tree: tree, left: mostLooks}
	err = s.below(ctx, "packages")
	return s.rel, s.size, err
}

type search struct {
	tree string
	left int // so many names may still be looked at
	rel  string
	size int64
}

func (s *search) below(ctx context.Context, dir string) error {
	f, err := os.Open(filepath.Join(s.tree, dir))
	if err != nil {
		return nil // another directory serves as well
	}
	defer f.Close()
	for s.left > 0 && s.size < enough {
		entries, err := f.ReadDir(32)
		if err != nil {
			return ctx.Err()
		}
		for _, e := range entries {
			rel := filepath.Join(dir, e.Name())
			if s.left--; s.left < 0 || s.size >= enough {
				break
			}
			if e.IsDir() {
				if err := s.below(ctx, rel); err != nil {
					return err
				}
			} else if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Size() > s.size {
				s.rel, s.size = rel, info.Size()
			}
		}
	}
	return ctx.Err()
}
