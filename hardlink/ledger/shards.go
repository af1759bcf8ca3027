package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/durable"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/volumes/topdir"
)

// A copy of all builds works by shards: blocks of builds by id. Each shard has a ledger of its own, in the same format,
// so that workers neither wait for each other nor have more in memory than their shard. A build is in one ledger alone:
// if a shard's has it, the topdir's own does not count. Take moves builds from one to another.
//
// Locks: whoever works with the topdir's own ledger has the topdir's lock alone; workers of shards share it, and each has
// its shard's lock alone.
const ShardDir = Dir + "/ledger.d"

// ShardFile is the ledger of a shard, below topdir.
func ShardFile(shard string) string { return ShardDir + "/" + shard }

var shardRE = regexp.MustCompile(`^[0-9]{1,19}[ab]*$`)

// CheckShard refuses names that no shard has.
func CheckShard(shard string) error {
	if len(shard) > 60 || !shardRE.MatchString(shard) {
		return fmt.Errorf("%q is not the name of a shard", shard)
	}
	return nil
}

// Shards returns the names of the shards that have a ledger, sorted; nil if there are none.
func Shards(topdir string) ([]string, error) {
	list, err := os.ReadDir(filepath.Join(topdir, ShardDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ledgers of shards: %w", err)
	}
	var names []string
	for _, e := range list {
		if e.Type().IsRegular() && CheckShard(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// EachShard calls f with the ledger of each shard, one after the other, so that only one is in memory.
func EachShard(ctx context.Context, topdir string, f func(shard string, l *Ledger) error) error {
	names, err := Shards(topdir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		l, err := ReadFile(topdir, ShardFile(name))
		if err != nil {
			return err
		}
		if err := f(name, l); err != nil {
			return err
		}
	}
	return nil
}

// LockShard keeps others from working on a shard, and on the topdir's own ledger, until unlock is called. Other shards may be
// worked on.
func LockShard(top *topdir.Dir, shard string) (unlock func(), err error) {
	if err := CheckShard(shard); err != nil {
		return nil, err
	}
	common, err := flock(top, Dir+"/lock", unix.LOCK_SH, errLocked)
	if err != nil {
		return nil, err
	}
	own, err := flock(top, ShardFile(shard)+".lock", unix.LOCK_EX, &ShardLockedError{shard})
	if err != nil {
		common.Close()
		return nil, err
	}
	return func() { own.Close(); common.Close() }, nil
}

// ShardLockedError says that another process works on a shard. It is lockfile.ErrLocked.
type ShardLockedError struct{ Shard string }

func (e *ShardLockedError) Error() string { return "another kojisnap works on shard " + e.Shard }

func (e *ShardLockedError) Is(target error) bool { return target == lockfile.ErrLocked }

// flock opens and locks a file below topdir, without waiting.
func flock(top *topdir.Dir, file string, how int, locked error) (*os.File, error) {
	if err := top.EnsureDir(filepath.Dir(file)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(top.Join(file), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	if err := top.Own(f); err != nil {
		f.Close()
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			return nil, fmt.Errorf("topdir %s: %w", top.Path(), locked)
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

// Wait locks a file of ours below topdir for this process alone, and waits for others as long as ctx allows.
func Wait(ctx context.Context, top *topdir.Dir, file string) (unlock func(), err error) {
	for {
		f, err := flock(top, file, unix.LOCK_EX, lockfile.ErrLocked)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, lockfile.ErrLocked) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Wanted says what Take moves.
type Wanted struct {
	Builds map[string]bool // builds' directories relative to topdir
	Links  map[string]bool // paths of symlinks on DEFAULT
}

// Take moves builds, with their symlinks on DEFAULT, to the ledger of a shard: from the topdir's own, and from those of shards
// of which this one is a half, or that are halves of it. The caller has the shard's lock. A kill at any moment leaves each
// build in one ledger at least, and the shard's counts; the next call ends the move. moved counts builds.
func Take(ctx context.Context, top *topdir.Dir, shard string, want Wanted) (moved int, err error) {
	others, err := related(top.Path(), shard)
	if err != nil {
		return 0, err
	}
	for _, file := range append([]string{File}, others...) {
		l, err := ReadFile(top.Path(), file)
		if err != nil {
			return moved, err
		}
		if !l.hasAny(want) && (file != File || l.Shards) {
			continue
		}
		n, err := take(ctx, top, shard, file, want)
		moved += n
		if err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// related returns the ledgers of shards that share builds with one.
func related(topdir, shard string) (files []string, err error) {
	names, err := Shards(topdir)
	for _, name := range names {
		if name != shard && (strings.HasPrefix(name, shard) || strings.HasPrefix(shard, name)) && strings.Trim(name, "ab") == strings.Trim(shard, "ab") {
			files = append(files, ShardFile(name))
		}
	}
	return files, err
}

func (l *Ledger) hasAny(want Wanted) bool {
	for dir := range l.Builds {
		if want.Builds[dir] {
			return true
		}
	}
	for link := range l.Links {
		if want.Links[link] {
			return true
		}
	}
	return false
}

func take(ctx context.Context, top *topdir.Dir, shard, file string, want Wanted) (moved int, err error) {
	unlock, err := Wait(ctx, top, ShardDir+"/take.lock")
	if err != nil {
		return 0, err
	}
	defer unlock()
	if file != File {
		other, err := flock(top, file+".lock", unix.LOCK_EX, &ShardLockedError{filepath.Base(file)})
		if err != nil {
			return 0, err
		}
		defer other.Close()
	} else if err := declare(top); err != nil {
		return 0, err
	}
	from, w, err := OpenFile(top, file, nil)
	if err != nil {
		return 0, err
	}
	defer w.Close()
	to, tw, err := OpenFile(top, ShardFile(shard), nil)
	if err != nil {
		return 0, err
	}
	defer tw.Close()
	var in, out Batch
	for _, dir := range slices.Sorted(maps.Keys(from.Builds)) {
		if !want.Builds[dir] {
			continue
		}
		moved++
		b := *from.Builds[dir]
		out.Build(b.Build)
		out.Gone()
		if to.Builds[dir] == nil {
			b.Pending = true // the shard has to look at it: it wants more files than the tags did
			in.all(&b)
		}
	}
	takeLinks(from, to, want.Links, &in, &out)
	if err := tw.Append(&in); err != nil {
		return 0, err
	}
	return moved, w.Append(&out)
}

// takeLinks moves symlinks on DEFAULT.
func takeLinks(from, to *Ledger, want map[string]bool, in, out *Batch) {
	links := slices.DeleteFunc(slices.Sorted(maps.Keys(from.Links)), func(link string) bool { return !want[link] })
	for _, link := range links {
		out.Unlink(link)
	}
	in.links(from, slices.DeleteFunc(links, func(link string) bool { return len(to.Links[link]) > 0 }))
}

// declare notes in the topdir's own ledger that shards have their own: earlier versions of kojisnap, which know of none, refuse
// that. There is always such a ledger afterwards.
func declare(top *topdir.Dir) error {
	l, w, err := Open(top, nil)
	if err != nil {
		return err
	}
	defer w.Close()
	if l.Shards {
		return nil
	}
	l.Shards = true
	err = durable.WriteFile(top.Join(File), func(w io.Writer) error {
		_, err := l.WriteTo(w)
		if f, ok := w.(*os.File); ok && err == nil {
			err = top.Own(f)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

// InShards returns those of these directories of builds that the ledgers of shards have.
func InShards(ctx context.Context, topdir string, dirs map[string]bool) (map[string]bool, error) {
	have := map[string]bool{}
	err := EachShard(ctx, topdir, func(_ string, l *Ledger) error {
		for dir := range l.Builds {
			if dirs[dir] {
				have[strings.Clone(dir)] = true
			}
		}
		return nil
	})
	return have, err
}

// Twice returns the builds' directories and the symlinks on DEFAULT that the ledger has although the ledger of a shard has their
// builds. inShards are directories of builds on the copy volume.
func (l *Ledger) Twice(copyVolume string, inShards map[string]bool) (dirs, links []string) {
	for _, dir := range slices.Sorted(maps.Keys(l.Builds)) {
		if inShards[dir] {
			dirs = append(dirs, dir)
		}
	}
	for _, link := range slices.Sorted(maps.Keys(l.Links)) {
		if inShards["vol/"+copyVolume+"/"+link] {
			links = append(links, link)
		}
	}
	return dirs, links
}

// Settle ends moves to shards that a kill interrupted: it removes from the topdir's own ledger what it has Twice. The caller has not
// the topdir's lock.
func Settle(top *topdir.Dir, copyVolume string, inShards map[string]bool) error {
	unlock, err := Lock(top)
	if err != nil {
		return err
	}
	defer unlock()
	l, w, err := Open(top, nil)
	if err != nil {
		return err
	}
	defer w.Close()
	var out Batch
	dirs, links := l.Twice(copyVolume, inShards)
	for _, dir := range dirs {
		out.Build(l.Builds[dir].Build)
		out.Gone()
	}
	for _, link := range links {
		out.Unlink(link)
	}
	return w.Append(&out)
}
