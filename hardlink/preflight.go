package hardlink

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/ledger"
	"kojisnap/volumes"
)

// Check says why no copy can be made, as far as that shows without a plan: a directory of topdir cannot
// be written, the ledger is of no use, the hub could write production's tree. It writes nothing.
func (e *Engine) Check(copyVolume string) error {
	for _, dir := range []string{".", ledger.Dir, "packages", "vol", "vol/" + copyVolume} {
		path := e.top.Join(dir)
		if err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("topdir %s: this process (uid %d) cannot write %s: %w", e.top.Path(), os.Geteuid(), path, err)
		}
	}
	if err := e.top.CheckCopyVolume(copyVolume); err != nil {
		return err
	}
	if _, err := ledger.Read(e.top.Path()); err != nil && !(errors.Is(err, ledger.ErrDamaged) && e.opts.Audit) {
		return cureLedger(err)
	}
	if e.opts.ReadOnly != "" {
		if err := e.tree.RefuseWritable(volumes.Plan{}); err != nil {
			return err
		}
	}
	return nil
}

// CheckRoom is a *SpaceError if topdir has no room for what is copied beside what stays free for staging's hub.
func (e *Engine) CheckRoom() error {
	room, err := e.top.Room()
	if err != nil {
		return err
	}
	if keep := reserve(room); room.Bytes <= keep {
		return &SpaceError{Topdir: e.top.Path(), Need: 1, Free: room.Bytes, Reserve: keep}
	}
	if room.Inodes < 1 {
		return &SpaceError{Topdir: e.top.Path(), Need: 1, Inodes: true}
	}
	return nil
}

// CheckSources says of each source, by its name, why no file can be had from it, nil if it answers.
func (e *Engine) CheckSources(ctx context.Context) map[string]error { return e.sources.Check(ctx) }
