package hardlink

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/content"
	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/rpmfile"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/durable"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// Files get their owner and mode when they are made. This note beside the ledger has the attributes of the
// last run that was given any, and the user of that process. If Options.Attributes differ from the note, and
// in each audit, Diff compares everything of ours on the copy volume (files, symlinks, directories) and the
// directories above. An audit without attributes uses those of the note; without a mode there, a file must
// have production's mode. A file that shares production's inode is made again as a copy. Symlinks of ours on
// DEFAULT, and their directories, change only if this process's user owns them: others are staging's.
// hold them, are changed where they are this process's user's: others are staging's.
const attributesNote = ledger.Dir + "/attributes"

type noted struct {
	topdir.Attributes
	UID int `json:"uid"` // user of the process
}

// attributesFile is the note's path: each shard has its own.
func (e *Engine) attributesFile() string {
	if e.opts.Shard != "" {
		return e.ledgerFile() + ".attributes"
	}
	return attributesNote
}

// noted returns the note, nil if there is none.
func (e *Engine) noted() *noted {
	text, err := os.ReadFile(e.top.Join(e.attributesFile()))
	if err != nil {
		return nil
	}
	var n noted
	if json.Unmarshal(text, &n) != nil {
		return nil
	}
	return &n
}

// attributesChanged reports whether the last run had other attributes.
func (e *Engine) attributesChanged() bool {
	if e.opts.Attributes == (topdir.Attributes{}) {
		return false
	}
	n := e.noted()
	return n == nil || !sameAttributes(n.Attributes, e.opts.Attributes)
}

func sameAttributes(a, b topdir.Attributes) bool {
	same := a.Owner == b.Owner || a.Owner != nil && b.Owner != nil && *a.Owner == *b.Owner
	return same && a.Mode == b.Mode && a.Context == b.Context
}

// noteAttributes writes the note once everything has the attributes.
func (e *Engine) noteAttributes() error {
	if e.noted() != nil && !e.attributesChanged() {
		return nil
	}
	if _, err := e.top.Lstat(e.ledgerFile()); err != nil {
		return nil // kojisnap has made nothing yet
	}
	return durable.WriteFile(e.top.Join(e.attributesFile()), func(w io.Writer) error {
		err := json.NewEncoder(w).Encode(noted{e.opts.Attributes, os.Geteuid()})
		if f, ok := w.(*os.File); ok && err == nil {
			err = e.top.Own(f)
		}
		return err
	})
}

// auditAttributes uses the note's attributes in an audit that was given none.
func (d *differ) auditAttributes() {
	n := d.noted()
	if n == nil || d.opts.Attributes != (topdir.Attributes{}) {
		return
	}
	if n.Owner == nil || n.Owner.CanGive() {
		d.top.SetAttributes(n.Attributes)
	}
	if n.Owner == nil && (n.UID == os.Geteuid() || os.Geteuid() == 0) {
		d.left = &n.UID
	}
}

// attributes compares owners and modes of everything that is in place.
func (d *differ) attributes(ctx context.Context, a *Actions) error {
	making := map[string]bool{}
	for _, b := range a.Builds {
		making[b.Dir] = true
	}
	changes, builds := make([][]topdir.Change, len(d.plan.Staged)), make([]*BuildAction, len(d.plan.Staged))
	failed := make([]*HeldError, len(d.plan.Staged))
	err := d.parallel(ctx, len(d.plan.Staged), func(ctx context.Context, i int) error {
		s := d.plan.Staged[i]
		staged := s.Build
		staged.Volume = d.plan.CopyVolume
		dir, err := staged.Dir()
		if err != nil {
			return err
		}
		known := d.ledger.Builds[dir]
		if known == nil || !known.Complete || making[dir] {
			return nil
		}
		changes[i], builds[i], err = attributeDiffer{d}.attributesOf(s, dir, known)
		if err != nil && !ofOne(ctx, err) {
			return err
		}
		if err != nil {
			failed[i] = held("build", s.Build.NVR(), "", err, asIs)
		}
		return nil
	})
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range changes {
		if failed[i] != nil {
			a.hold(failed[i])
		}
		for _, c := range changes[i] {
			if !seen[c.Path] {
				seen[c.Path] = true
				a.Own = append(a.Own, c)
			}
		}
		if builds[i] != nil {
			a.Builds = append(a.Builds, *builds[i])
		}
	}
	a.Own = append(a.Own, attributeDiffer{d}.linksAndDirs(seen)...)
	slices.SortFunc(a.Own, func(x, y topdir.Change) int { return strings.Compare(x.Path, y.Path) })
	return nil
}

// attributeDiffer compares owners, modes and labels of what is there.
type attributeDiffer struct{ *differ }

// attributesOf compares one build. Files that share production's inode become copies.
func (d attributeDiffer) attributesOf(s volumes.StagedBuild, dir string, known *ledger.Build) (changes []topdir.Change, anew *BuildAction, err error) {
	planned := map[string]*volumes.File{}
	for i := range s.Files {
		planned[s.Files[i].Path] = &s.Files[i]
	}
	dirs := map[string]bool{}
	for p := dir; path.Base(p) != "packages" && p != "."; p = path.Dir(p) {
		dirs[p] = true
	}
	for _, e := range known.Entries {
		if e.Absent {
			continue
		}
		rel := dir + "/" + e.Path
		for p := path.Dir(rel); p != dir && p != "." && !dirs[p]; p = path.Dir(p) {
			dirs[p] = true
		}
		st, err := d.top.Lstat(rel)
		if source.Absent(err) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		_, ours, err := d.recorded(dir, e.Path, st, &ledger.Build{Entries: []ledger.Entry{e}})
		if err != nil {
			return nil, nil, err
		}
		if !ours {
			continue
		}
		var mode fs.FileMode
		isProd := false
		if st.Mode&unix.S_IFMT == unix.S_IFREG {
			mode, isProd = d.atProduction(s.Build, e.Path, st)
		}
		c := d.top.ChangeOf(rel, st, d.leftBy(st, isProd), mode)
		switch f := planned[e.Path]; {
		case c == nil:
		case isProd && f != nil:
			if anew == nil {
				anew = &BuildAction{Build: s.Build, SourceVolume: s.SourceVolume, Dir: dir}
				anew.Source, _ = s.Build.Dir() // was checked
			}
			anew.Files = append(anew.Files, FileAction{Op: OpCopy, Path: f.Path, File: f, Bytes: e.Size, Replace: true})
		case !isProd:
			changes = append(changes, *c)
		}
	}
	for p := range dirs {
		if c := d.dirChange(p); c != nil {
			changes = append(changes, *c)
		}
	}
	return changes, anew, nil
}

// dirChange returns what has to change at a directory.
func (d attributeDiffer) dirChange(rel string) *topdir.Change {
	st, err := d.top.Lstat(rel)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	return d.top.ChangeOf(rel, st, d.leftBy(st, false), 0)
}

// leftBy returns the owner that files had when no owner was given: the user of that process, and any group.
// It returns nil if that user is unknown or the file is production's.
func (d attributeDiffer) leftBy(st unix.Stat_t, isProd bool) *topdir.Owner {
	if d.left == nil || isProd {
		return nil
	}
	return &topdir.Owner{UID: *d.left, GID: int(st.Gid)}
}

// atProduction returns the mode of production's file, 0 if unknown, and whether topdir's file is the same
// inode.
func (d attributeDiffer) atProduction(b volumes.Build, file string, st unix.Stat_t) (mode fs.FileMode, same bool) {
	for _, tree := range d.sources.Dirs() {
		for _, dir := range tree.BuildDirs(b) {
			var prod unix.Stat_t
			if unix.Stat(dir+"/"+file, &prod) == nil {
				return fs.FileMode(prod.Mode & 0o777), prod.Dev == st.Dev && prod.Ino == st.Ino
			}
		}
	}
	return 0, false
}

// linksAndDirs returns changes for our symlinks on DEFAULT and in volumes that show production's, and for the
// directories that hold them, as far as this process's user owns them.
func (d attributeDiffer) linksAndDirs(seen map[string]bool) (changes []topdir.Change) {
	for link := range d.ledger.Made {
		for p := link; p != "." && p != "vol" && !seen[p]; p = path.Dir(p) {
			seen[p] = true
			st, err := d.top.Lstat(p)
			kind := st.Mode & unix.S_IFMT
			if err != nil || int(st.Uid) != os.Geteuid() || kind != unix.S_IFDIR && (kind != unix.S_IFLNK || p != link) {
				continue
			}
			if c := d.top.ChangeOf(p, st, d.leftBy(st, false), 0); c != nil {
				changes = append(changes, *c)
			}
		}
	}
	return changes
}

// own applies the changes of owners and modes.
func (r *run) own(ctx context.Context, changes []topdir.Change) error {
	for _, c := range changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := r.top.Apply(c)
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
		case err != nil && !ofOne(ctx, err):
			return err
		case err != nil:
			r.broken = append(r.broken, held("path", "", c.Path, err, asIs))
		default:
			r.report.Owned++
		}
	}
	return nil
}

// Damaged is a file that kojisnap made and that has changed since. It is made again.
type Damaged struct {
	Path string `json:"path"` // below topdir
	Why  string `json:"why"`
}

// unrepaired describes a damaged file that stays because Options.Repair is not set, and how to repair it.
func unrepaired(rel string, damage *content.DigestError) *HeldError {
	h := held("file", "", rel, damage, "it stays as it is; kojisnap copy --repair makes it again")
	h.Reason = damage.Says()
	return h
}

// repairs reports whether a damaged file below topdir is made again.
func (d *differ) repairs(rel string) bool { return d.opts.Repair || d.needsRecheck[rel] }

// reread compares the content of a file below topdir with what is planned.
func (e *Engine) reread(ctx context.Context, rel string, f volumes.File) error {
	file, err := e.top.Open(rel)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = content.Copy(discard{}, e.sources.Limit(ctx, file), f, file.Name())
	return err
}

// isOtherRPM reports whether a file below topdir is an intact rpm (its content fits its own signature header)
// but not the planned one, whatever key signed it.
func (e *Engine) isOtherRPM(ctx context.Context, rel string, f *volumes.File) (bool, error) {
	file, err := e.top.Open(rel)
	if err != nil {
		return false, err
	}
	defer file.Close()
	from := e.sources.Limit(ctx, file)
	_, sig, err := rpmfile.ReadHead(from)
	if errors.Is(err, rpmfile.ErrNotRPM) && !content.OfReading(err) {
		return false, nil
	}
	if err != nil || sig.SigMD5 == "" || f.Digest == "sigmd5:"+sig.SigMD5 {
		return false, err
	}
	h := md5.New()
	if _, err := io.Copy(h, from); err != nil {
		return false, err
	}
	return hex.EncodeToString(h.Sum(nil)) == sig.SigMD5, nil
}

// discard is io.Discard without its ReadFrom.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
