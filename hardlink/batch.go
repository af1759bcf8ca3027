package hardlink

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/progress"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// making is a build that is being made.
type making struct {
	BuildAction
	staged volumes.Build
	temp   string

	mu      sync.Mutex
	entries []ledger.Entry
	made    []FileAction // Op and Bytes say how each was made
	linked  []string     // directories that are replaced by a symlink
	absent  int
	missing []*source.MissingError // of optional files
	held    []error                // optional files that were kept back
	err     error                  // why the build is left out
}

// makeBatch makes all files of a batch under temporary names.
func (r *run) makeBatch(ctx context.Context, builds []BuildAction, counter progress.FileCounter) ([]*making, error) {
	ms := make([]*making, len(builds))
	for i, b := range builds {
		ms[i] = &making{BuildAction: b, staged: b.Build, temp: r.tempName()}
		ms[i].staged.Volume = r.volume
	}
	return ms, r.makeAll(ctx, ms, counter)
}

// committer names the files of batches. One syncfs serves the content of a batch and the names of the batch
// before.
type committer struct {
	*run
	named   *ledger.Batch // entries whose files have their names, perhaps not yet on the disk
	durable *ledger.Batch // entries whose files and names are on the disk, and that the ledger does not have yet

	all, unreadable int // numbers of builds: all of the run, and those whose files cannot be read
}

func (c *committer) commit(ms []*making) error {
	lines := c.durable
	c.durable = &ledger.Batch{}
	for _, m := range ms {
		for _, missing := range m.missing {
			if m.err == nil && source.DeniedByAll(missing.Err) { // the file may exist: all sources refuse everything
				m.err = fmt.Errorf("left out: %w", missing)
			}
		}
		if m.err != nil {
			if err := c.breaks(m); err != nil {
				return err
			}
			continue
		}
		lines.Build(m.staged)
		for _, entry := range append(m.BuildAction.entries, m.entries...) {
			lines.Entry(entry)
		}
	}
	if err := c.ledger.Append(lines); err != nil {
		return err
	}
	if err := c.top.Sync(); err != nil {
		return err
	}
	c.durable, c.named = c.named, &ledger.Batch{}
	failed := make([]error, len(ms))
	err := c.parallel(context.Background(), len(ms), func(ctx context.Context, i int) error {
		if ms[i].err != nil {
			c.discard(ms[i].temp)
			return nil
		}
		failed[i] = c.publish(ms[i])
		if failed[i] != nil && !ofOne(ctx, failed[i]) {
			return failed[i]
		}
		return nil
	})
	for i, m := range ms {
		if failed[i] != nil {
			c.discard(m.temp)
			m.err = held("build", m.Build.NVR(), "", failed[i], stays)
			if err := c.breaks(m); err != nil {
				return err
			}
		}
		if m.err == nil {
			c.broken = append(c.broken, m.held...)
			c.named.Build(m.staged)
			for _, dir := range m.linked {
				c.named.DirLinked(dir)
			}
			c.named.Complete()
			if m.Stub {
				c.named.Unlink(m.Dir)
			}
			if m.again {
				c.named.Entry(m.any(c.known))
			}
		}
	}
	return err
}

// breaks notes that a build is left out.
func (c *committer) breaks(m *making) error {
	c.broken = append(c.broken, m.err)
	if source.OfTree(m.err) {
		c.unreadable++
		if tooMany(c.unreadable, c.all) {
			return &manyError{c.unreadable, c.all, "builds could not be read", m.err}
		}
	}
	if !m.New {
		return nil
	}
	return c.leave(m.Build, m.SourceVolume)
}

// discard removes a temporary file or directory. What it cannot remove is reported at the end of the run.
func (r *run) discard(temp string) {
	if err := r.top.RemoveAll(temp); err != nil {
		r.opts.Log.Debug("a temporary directory stays for now", "path", r.top.Join(temp), "err", err)
	}
}

// any returns one ledger entry of a build in place. Appended after the build's C line, it makes the next run
// look at the build again.
func (m *making) any(known *ledger.Ledger) ledger.Entry {
	entries := append(m.entries, m.BuildAction.entries...)
	if b := known.Builds[m.Dir]; b != nil {
		entries = append(entries, b.Entries...)
	}
	for _, e := range entries {
		if e.Target == "" {
			return e
		}
	}
	return append(entries, ledger.Entry{Path: ".kojisnap-again", Absent: true})[0]
}

// end makes the last names durable.
func (c *committer) end() error {
	if c.named.Empty() {
		return c.ledger.Append(c.durable)
	}
	if err := c.top.Sync(); err != nil {
		return err
	}
	c.durable.Add(c.named)
	return c.ledger.Append(c.durable)
}

// makeAll makes the files of some builds. It stores an error about one build in the build's err, and returns
// an error that concerns all.
func (r *run) makeAll(ctx context.Context, ms []*making, counter progress.FileCounter) error {
	err := r.parallel(ctx, len(ms), func(_ context.Context, i int) error { return r.prepare(ms[i]) })
	if err != nil {
		return err
	}
	// A piece has files of one build, mostly of one directory: workers that create files in the same
	// directory wait for each other.
	type piece struct {
		m     *making
		files []FileAction
	}
	var pieces []piece
	const pieceFiles, pieceBytes = 32, 16 << 20
	for _, m := range ms {
		p, bytes := piece{m: m}, int64(0)
		for _, f := range m.Files {
			if f.Op == OpSymlink {
				continue
			}
			p.files = append(p.files, f)
			if bytes += f.Bytes; bytes >= pieceBytes || len(p.files) == pieceFiles {
				pieces = append(pieces, p)
				p, bytes = piece{m: m}, 0
			}
		}
		if len(p.files) > 0 {
			pieces = append(pieces, p)
		}
	}
	return r.parallel(ctx, len(pieces), func(ctx context.Context, i int) error {
		return r.makePiece(ctx, pieces[i].m, pieces[i].files, counter)
	})
}

func (r *run) makePiece(ctx context.Context, m *making, files []FileAction, counter progress.FileCounter) error {
	var dir *topdir.Subdir // of the file before
	defer func() {
		if dir != nil {
			dir.Close()
		}
	}()
	for _, f := range files {
		if m.failed() {
			return nil
		}
		if rel := path.Join(m.temp, path.Dir(f.Path)); dir == nil || dir.Rel() != rel {
			next, err := r.top.OpenDir(rel)
			if err != nil {
				return err
			}
			if dir != nil {
				dir.Close()
			}
			dir = next
		}
		if err := r.makeOne(ctx, m, f, dir, counter); err != nil {
			return err
		}
	}
	return nil
}

func (m *making) failed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err != nil
}

// prepare makes a build's directories and symlinks.
func (r *run) prepare(m *making) error {
	if m.err = r.collides(m); m.err != nil {
		return nil
	}
	err := r.makeFrame(m)
	if ofName(err) {
		m.err = leftOut(m.Build, err)
		return nil
	}
	return err
}

func (r *run) makeFrame(m *making) error {
	if err := r.top.Mkdir(m.temp); err != nil {
		return err
	}
	made := map[string]bool{}
	for _, f := range m.Files {
		if dir := path.Dir(f.Path); !made[dir] {
			made[dir] = true
			if err := r.top.Mkdir(path.Join(m.temp, dir)); err != nil {
				return err
			}
		}
		if f.Op == OpSymlink {
			if !f.Dir { // with Dir, the symlink is made when it replaces the directory
				if err := r.top.Symlink(f.Target, m.temp+"/"+f.Path); err != nil {
					return err
				}
			}
			m.entries = append(m.entries, ledger.Entry{Path: f.Path, Target: f.Target})
			m.made = append(m.made, f)
		}
	}
	return nil
}

func (r *run) makeOne(ctx context.Context, m *making, f FileAction, dir *topdir.Subdir, counter progress.FileCounter) error {
	how, entry, err := fileMaker{r.Engine}.make(ctx, m.Build, *f.File, dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	missing := (*source.MissingError)(nil)
	switch {
	case err == nil:
		f.Op, f.Bytes = how, entry.Size
		m.entries = append(m.entries, entry)
		m.made = append(m.made, f)
		counter.AddFile(entry.Size)
		return nil
	case errors.As(err, &missing) && f.File.Optional:
		m.missing = append(m.missing, missing)
		m.absent++
		m.entries = append(m.entries, ledger.Entry{Path: f.Path, Digest: ledger.Content(f.File), Absent: true})
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case f.File.Optional && (source.OfTree(err) || f.File.Kind == volumes.KindOther && errors.Is(err, source.ErrChanged)):
		m.again = true
		m.held = append(m.held, held("file", m.Build.NVR(), f.Path, err, noOptional))
		return nil
	case ofName(err):
		if m.err == nil {
			m.err = leftOut(m.Build, err)
		}
		return nil
	case ofBuild(err):
		if m.err == nil {
			m.err = fmt.Errorf("left out: %w", err)
		}
		return nil
	}
	return fmt.Errorf("build %q: %w", m.Build.NVR(), err)
}

func leftOut(b volumes.Build, err error) error { return held("build", b.NVR(), "", err, stays) }

// ofBuild reports whether an error is about a file at the sources, so that other builds may still succeed.
// Such an error names its build.
func ofBuild(err error) bool {
	var failed *source.Error
	var missing *source.MissingError
	return errors.As(err, &failed) || errors.As(err, &missing)
}

// publish gives the verified files of a build their final names.
func (r *run) publish(m *making) error {
	if m.New {
		if err := r.top.Mkdir(path.Dir(m.Dir)); err != nil {
			return err
		}
		if m.Stub {
			if err := r.replaceLink(m.temp, m.Dir); err != nil {
				return err
			}
			r.discard(m.temp)
		} else if err := r.top.RenameNew(m.temp, m.Dir); err != nil {
			return err
		}
	} else if err := r.publishFiles(m); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Absent += m.absent
	r.report.Builds++
	for _, f := range m.made {
		r.report.count(f.Op, max(f.Bytes, 0))
	}
	return nil
}

func (r *run) publishFiles(m *making) error {
	for _, dir := range m.Dirs {
		if err := r.replaceLink(m.temp+"/"+dir, m.Dir+"/"+dir); err != nil {
			return err
		}
	}
	for _, f := range m.made {
		if m.replaces(f.Path) {
			continue // it got its name with its directory
		}
		if f.Dir {
			done, err := r.publishLogs(m, f)
			if err != nil {
				return err
			}
			if done {
				m.linked = append(m.linked, f.Path)
			}
			continue
		}
		from, to := m.temp+"/"+f.Path, m.Dir+"/"+f.Path
		if err := r.top.Mkdir(path.Dir(to)); err != nil {
			return err
		}
		rename := r.top.RenameNew
		if f.Replace {
			rename = r.top.Rename
		}
		if err := rename(from, to); err != nil {
			return err
		}
	}
	r.discard(m.temp)
	return nil
}

// replaceLink replaces a symlink by a directory, in one step where the file system can.
func (r *run) replaceLink(dir, link string) error {
	err := r.top.Exchange(dir, link)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if err := r.top.Remove(link); err != nil {
		return err
	}
	return r.top.RenameNew(dir, link)
}
