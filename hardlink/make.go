package hardlink

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/content"
	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/rpmfile"
	"kojisnap/hardlink/source"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// devices remembers for which file systems of sources something does not work.
type devices struct {
	mu  sync.Mutex
	not map[uint64]bool // by st_dev
}

func (d *devices) has(dev uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.not[dev]
}

func (d *devices) add(dev uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.not == nil {
		d.not = map[uint64]bool{}
	}
	d.not[dev] = true
}

// fileMaker makes one file from a source: by hard link, reflink, copy or splice.
type fileMaker struct{ *Engine }

// make makes and verifies a file in a directory of temporary names, from the first source that gives it with
// the planned content. If no source gives a signed copy, it splices one. It returns the way and the ledger's
// entry. If make fails, there is no file.
func (e fileMaker) make(ctx context.Context, b volumes.Build, f volumes.File, dir *topdir.Subdir) (how Op, entry ledger.Entry, err error) {
	tried := source.Attempts{Build: b, Path: f.Path, Within: f.Kind == volumes.KindOther}
	err = e.sources.Ask(ctx, b, f.Path, &tried, func(in *source.Input) (err error) {
		how, entry, err = e.take(in, f, dir)
		return err
	})
	if err == nil || !tried.Over(err) || f.Key == "" || f.AsIs {
		return how, entry, err
	}
	return e.splice(ctx, b, f, dir, &tried)
}

// take makes the file from one source.
func (e fileMaker) take(in *source.Input, f volumes.File, dir *topdir.Subdir) (Op, ledger.Entry, error) {
	if f.Kind == volumes.KindOther {
		if err := isListed(in, f); err != nil {
			return "", ledger.Entry{}, err
		}
	}
	if in.File != nil {
		how, err := e.share(in, f, dir)
		if err != nil {
			return "", ledger.Entry{}, err
		}
		if how == OpLink {
			return how, ledger.Entry{Path: f.Path, Size: in.Size, MTime: in.Mtime.UnixNano(), Digest: ledger.Content(&f)}, nil
		}
	}
	return e.write(in, in.Mode, in.Mtime, f, dir)
}

// share makes a hard link if production's inode has the right attributes: kojisnap never changes that inode.
func (e fileMaker) share(in *source.Input, f volumes.File, dir *topdir.Subdir) (Op, error) {
	if e.noLink.has(in.Dev) {
		return "", nil
	}
	if fits, err := e.top.Fits(in.File); err != nil || !fits {
		return "", err
	}
	err := dir.LinkFile(in.File, path.Base(f.Path))
	switch {
	case err == nil:
	case errors.Is(err, unix.EXDEV):
		e.noLink.add(in.Dev)
		return "", nil
	case otherWay(err):
		return "", nil
	default:
		return "", err
	}
	_, err = content.Copy(io.Discard, in, f, in.Name)
	if err == nil {
		err = in.Unchanged()
	}
	if err != nil {
		dir.Remove(path.Base(f.Path))
		return "", err
	}
	return OpLink, nil
}

// write makes the file by reflink or copy.
func (e fileMaker) write(in *source.Input, mode os.FileMode, mtime time.Time, f volumes.File, dir *topdir.Subdir) (how Op, entry ledger.Entry, err error) {
	out, err := dir.Create(path.Base(f.Path))
	if err != nil {
		return "", entry, err
	}
	defer func() {
		if err != nil {
			out.Close() // closing twice is harmless
			dir.Remove(path.Base(f.Path))
		}
	}()
	how = OpCopy
	if in.File == nil {
		how = OpFetch
	}
	var dst io.Writer = out
	src := in.Reader
	if in.File != nil && e.clone(out, in) {
		// Read the clone: the source may have changed since.
		how, dst, src = OpReflink, io.Discard, in.Limited(out)
	}
	n, err := content.Copy(dst, src, f, in.Name)
	if err == nil && f.Kind == volumes.KindOther && in.File != nil {
		err = in.Unchanged()
	}
	if err != nil {
		return "", entry, err
	}
	entry, err = finish(out, n, e.top.FileMode(mode), mtime, f)
	return how, entry, err
}

// finish sets the written file's mode, and its source's mtime.
func finish(out *os.File, size int64, mode os.FileMode, mtime time.Time, f volumes.File) (ledger.Entry, error) {
	if err := setTime(int(out.Fd()), mtime); err != nil {
		return ledger.Entry{}, fmt.Errorf("set the time of %s: %w", out.Name(), err)
	}
	// The file system may store the time less exactly.
	var st unix.Stat_t
	if err := unix.Fstat(int(out.Fd()), &st); err != nil {
		return ledger.Entry{}, err
	}
	if os.FileMode(st.Mode).Perm() != mode {
		if err := out.Chmod(mode); err != nil {
			return ledger.Entry{}, err
		}
	}
	if st.Size != size {
		return ledger.Entry{}, fmt.Errorf("write %s: has %d bytes after %d were written", out.Name(), st.Size, size)
	}
	if err := out.Close(); err != nil { // NFS reports a full disk here
		return ledger.Entry{}, err
	}
	return ledger.Entry{Path: f.Path, Size: st.Size, MTime: st.Mtim.Nano(), Digest: ledger.Content(&f)}, nil
}

// setTime is futimens(3).
func setTime(fd int, t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	times := [2]unix.Timespec{ts, ts}
	if _, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// clone shares the source's blocks, if the file system can.
func (e fileMaker) clone(out *os.File, in *source.Input) bool {
	if e.noClone.has(in.Dev) {
		return false
	}
	err := unix.IoctlFileClone(int(out.Fd()), int(in.File.Fd()))
	if err == nil {
		return true
	}
	if err != unix.ENOSPC && err != unix.EDQUOT {
		e.noClone.add(in.Dev)
	}
	return false // the copy reports why, if it fails, too
}

// splice makes a signed copy from the signature header and the unsigned rpm, as koji.splice_rpm_sighdr does:
// production prunes signed copies and keeps the headers. Like Koji's, it has the unsigned rpm's mode and
// time.
func (e fileMaker) splice(ctx context.Context, b volumes.Build, f volumes.File, dir *topdir.Subdir, tried *source.Attempts) (how Op, entry ledger.Entry, err error) {
	var sig []byte
	err = e.sources.Ask(ctx, b, f.Sig, tried, func(in *source.Input) (err error) {
		sig, err = signatureOf(in, f)
		return err
	})
	if err != nil {
		return "", entry, err
	}
	err = e.sources.Ask(ctx, b, f.Unsigned, tried, func(in *source.Input) error {
		lead, _, err := rpmfile.ReadHead(in)
		if errors.Is(err, rpmfile.ErrNotRPM) && !content.OfReading(err) {
			err = &content.DigestError{Path: in.Name, What: "format", Want: "an rpm", Have: fmt.Sprintf("%q", err), Own: true}
		}
		if err != nil {
			return err
		}
		spliced := &source.Input{Name: in.Name + " with " + f.Sig,
			Reader: io.MultiReader(bytes.NewReader(lead), bytes.NewReader(sig), in)}
		_, entry, err = e.write(spliced, in.Mode, in.Mtime, f, dir)
		return err
	})
	return OpSplice, entry, err
}

// signatureOf reads and checks the cached signature header of a signed copy.
func signatureOf(in *source.Input, f volumes.File) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(in, rpmfile.MaxSignature))
	if err != nil {
		return nil, err
	}
	sum := md5.Sum(raw)
	if have := "md5:" + hex.EncodeToString(sum[:]); have != f.SigDigest {
		return nil, &content.DigestError{Path: in.Name, What: "md5", Want: f.SigDigest, Have: have}
	}
	s, err := rpmfile.ReadSignature(bytes.NewReader(raw))
	if err != nil || len(s.Raw) != len(raw) {
		return nil, &content.DigestError{Path: in.Name, What: "format", Want: "a padded signature header", Have: fmt.Sprintf("%d bytes of another kind", len(raw)), Own: true}
	}
	return raw, nil
}

// canClone guesses whether a directory's file system shares blocks, by its kind: btrfs and XFS may.
func canClone(dir string) bool {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false
	}
	return st.Type == unix.BTRFS_SUPER_MAGIC || st.Type == unix.XFS_SUPER_MAGIC
}
