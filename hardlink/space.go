package hardlink

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"kojisnap/volumes/topdir"
)

// reserve is how much of a file system stays free for staging's own hub: it is at
// work while files are copied.
func reserve(room topdir.Room) int64 { return min(room.Size/100, 1<<30) }

// checkSpace refuses what cannot fit: all that is to be made before anything is
// written, and each batch before it is begun, for others write too. Where blocks can
// be shared it cannot know how many bytes that takes.
func (e *Engine) checkSpace(builds []BuildAction) error {
	bytes, files := space(builds)
	if files == 0 {
		return nil
	}
	if e.mayClone() {
		bytes = 0
	}
	room, err := e.top.Room()
	if err != nil {
		return err
	}
	if keep := reserve(room); bytes > room.Bytes-keep {
		return &SpaceError{Topdir: e.top.Path(), Need: bytes, Free: room.Bytes, Reserve: keep}
	}
	if files > room.Inodes {
		return &SpaceError{Topdir: e.top.Path(), Need: files, Free: room.Inodes, Inodes: true}
	}
	return nil
}

// space is what builds need on the disk: hard links need nothing.
func space(builds []BuildAction) (bytes, files int64) {
	for _, b := range builds {
		for _, f := range b.Files {
			if f.Op != OpLink {
				bytes += max(f.Bytes, 0)
				files++
			}
		}
	}
	return bytes, files
}

// mayClone tells whether a source may be on a file system that shares blocks with
// topdir's.
func (e *Engine) mayClone() bool {
	if !canClone(e.top.Path()) {
		return false
	}
	var top, st unix.Statfs_t
	if unix.Statfs(e.top.Path(), &top) != nil {
		return true
	}
	for _, source := range e.opts.Sources { // there is no directory with a URL's name
		if unix.Statfs(source, &st) == nil && st.Type == top.Type {
			return true
		}
	}
	return false
}

// full explains a disk that has become full.
func (e *Engine) full(err error, need int64) error {
	var known *SpaceError
	if errors.As(err, &known) || !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	room, rerr := e.top.Room()
	if rerr != nil {
		return errors.Join(err, rerr)
	}
	if room.Inodes == 0 {
		return &SpaceError{Topdir: e.top.Path(), Need: 1, Inodes: true}
	}
	return &SpaceError{Topdir: e.top.Path(), Need: max(need, 1), Free: room.Bytes}
}
