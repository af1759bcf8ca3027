package hardlink

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// Op is how a file is made, or what becomes of it.
type Op string

const (
	OpLink    Op = "hardlink"
	OpReflink Op = "reflink"
	OpCopy    Op = "copy"
	OpSplice  Op = "splice" // a signed copy of signature header and unsigned rpm
	OpFetch   Op = "fetch"
	OpSymlink Op = "symlink"
)

// Actions is the work that Diff found: data that --dry-run prints and Apply executes. The zero value is no
// work.
type Actions struct {
	CopyVolume  string                 `json:"copy_volume,omitempty"`
	Volumes     []LinkAction           `json:"volumes,omitempty"`
	Builds      []BuildAction          `json:"builds,omitempty"`
	Links       []LinkAction           `json:"links,omitempty"`
	RemoveLinks []volumes.Link         `json:"remove_links,omitempty"`
	Remove      []RemoveAction         `json:"remove,omitempty"`
	Stale       []StaleFile            `json:"stale,omitempty"`    // files of wanted builds that are removed
	Own         []topdir.Change        `json:"own,omitempty"`      // owners and modes that have to change
	Strays      []Stray                `json:"strays,omitempty"`   // copies that failed moves in Koji left behind
	Kept        []Kept                 `json:"kept,omitempty"`     // kojisnap did not make it, so it stays
	Nowhere     []Nowhere              `json:"nowhere,omitempty"`  // production's volumes that are not here
	Missing     []*source.MissingError `json:"missing,omitempty"`  // wanted files that no source has: their builds are left out
	LeftOut     []volumes.Build        `json:"left_out,omitempty"` // builds that are not copied for that reason; Volume is the volume that has them now
	Held        []*HeldError           `json:"-"`                  // what else is kept back; results list it together with Missing
	Present     int                    `json:"present"`            // files that are there already
	Absent      int                    `json:"absent"`             // optional files that production does not have
	Damaged     []Damaged              `json:"damaged,omitempty"`  // files that kojisnap made and that are damaged since: they are made again
	Adopted     int                    `json:"adopted,omitempty"`  // present files and symlinks that the ledger did not have
	Rebuilt     string                 `json:"rebuilt,omitempty"`  // why the ledger is rebuilt
	Leaving     []volumes.Build        `json:"leaving,omitempty"`  // builds on the copy volume that this plan no longer wants
	Grace       []GraceBuild           `json:"grace,omitempty"`    // unwanted builds on the copy volume that stay for some time yet

	logs       map[string]*ledger.Build // by directory: see seenLogs
	away       []string                 // production's volume of each build that is left out because that volume is not mounted
	removal    bool                     // made by DiffRemove
	retargeted bool                     // symlinks of builds change to the path that the hub has for topdir

	known   *ledger.Ledger // the ledger that Diff compared with
	instead *ledger.Ledger // the rebuilt ledger, if there is one
	notes   ledger.Batch   // what the ledger learns about files that are there already
}

// GraceBuild is a build that no plan has wanted since a time, and that stays until another.
type GraceBuild struct {
	Build volumes.Build `json:"build"` // on the copy volume
	Dir   string        `json:"dir"`
	Since time.Time     `json:"since"`
	Until time.Time     `json:"until"`
}

// add adds the actions for one build.
func (a *Actions) add(r *Actions) {
	a.Builds = append(a.Builds, r.Builds...)
	a.Kept = append(a.Kept, r.Kept...)
	a.Missing = append(a.Missing, r.Missing...)
	a.LeftOut = append(a.LeftOut, r.LeftOut...)
	a.Held = append(a.Held, r.Held...)
	a.away = append(a.away, r.away...)
	maps.Copy(a.logs, r.logs)
	a.Damaged = append(a.Damaged, r.Damaged...)
	a.Present += r.Present
	a.Absent += r.Absent
	a.Adopted += r.Adopted
	a.notes.Add(&r.notes)
}

// LinkAction makes a symlink, or changes its target.
type LinkAction struct {
	volumes.Link
	Switch bool `json:"switch,omitempty"`
	// Convert: a directory replaces the symlink of a volume.
	Convert bool `json:"convert,omitempty"`
	// Mend: the symlink is gone, usually because a delete or a move in Koji failed.
	Mend bool `json:"mend,omitempty"`

	stray *Stray // the directory in its place
}

// BuildAction makes files of a build on the copy volume. An action without files marks a build as complete:
// an earlier run was killed just before it did so.
type BuildAction struct {
	Build        volumes.Build `json:"build"`  // with production's volume
	SourceVolume string        `json:"behind"` // the staging volume that leads to production's files of it
	Source       string        `json:"source"` // production's directory of it, relative to production's topdir
	Dir          string        `json:"dir"`    // relative to topdir
	New          bool          `json:"new"`    // the build has no directory yet: the finished one is renamed into place
	Files        []FileAction  `json:"files,omitempty"`
	Dirs         []string      `json:"dirs,omitempty"` // symlinks of ours in it that become directories
	Stub         bool          `json:"stub,omitempty"` // a symlink of ours is in the place of its directory

	single  *ledger.Build  // the entries that are replaced when a FileAction with Dir replaces their directory by a symlink
	entries []ledger.Entry // entries for the ledger besides those of Files
	again   bool           // some of it was kept back: the next run has to look at the build again
}

// replaces tells whether a file is in a directory that takes the place of a symlink.
func (b *BuildAction) replaces(file string) bool {
	return slices.ContainsFunc(b.Dirs, func(dir string) bool { return strings.HasPrefix(file, dir+"/") })
}

// FileAction makes a file of a build. Op is the expected way: a hard link that cannot be made becomes a
// reflink or a copy.
type FileAction struct {
	Op      Op            `json:"op"`
	Path    string        `json:"path"`            // below the build's directory
	Bytes   int64         `json:"bytes,omitempty"` // -1: not known
	Target  string        `json:"target,omitempty"`
	Replace bool          `json:"replace,omitempty"` // a damaged file or a symlink of ours is there
	Dir     bool          `json:"dir,omitempty"`     // this symlink replaces a directory of our symlinks
	File    *volumes.File `json:"file,omitempty"`    // the planned file with size and digest; nil for a symlink
}

// RemoveAction removes a build from the copy volume that no plan wants any longer.
type RemoveAction struct {
	Build volumes.Build `json:"build"` // on the copy volume
	Dir   string        `json:"dir"`
	Files int           `json:"files"`
	Bytes int64         `json:"bytes"`
	Stub  string        `json:"stub,omitempty"` // what the symlink in its place says; "": there is none
}

// StaleFile is a file or a symlink of a wanted build that has to go: production has no row for it any longer,
// or has another file under its name. It may be gone already, so that only its ledger entry goes.
type StaleFile struct {
	Build  volumes.Build `json:"build"` // on the copy volume
	Dir    string        `json:"dir"`
	Path   string        `json:"path"`             // below the build's directory
	Bytes  int64         `json:"bytes"`            // 0 for a symlink
	Target string        `json:"target,omitempty"` // what the symlink in its place says; "": there is none
}

// Kept is something below topdir that differs from the plan and stays.
type Kept struct {
	Path string `json:"path"`
	Why  string `json:"why"`
	// Wanted: a compose needs what the plan has in this place.
	Wanted bool `json:"wanted,omitempty"`
}

// Pending reports whether Apply would change more than the ledger.
func (a Actions) Pending() bool {
	return len(a.Volumes)+len(a.Builds)+len(a.Links)+len(a.RemoveLinks)+len(a.Remove)+len(a.Stale)+len(a.Own) > 0 || a.instead != nil ||
		slices.ContainsFunc(a.Strays, func(s Stray) bool { return s.Keep == "" })
}

// Err returns a *LeftOutError with the files that no source has and all else that is kept back, or nil.
func (a Actions) Err() error { return a.leftOut(nil) }

func (a Actions) leftOut(broken []error) error {
	// Builds fail in another order in each run.
	slices.SortStableFunc(broken, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	var all []error
	for _, m := range a.Missing {
		all = append(all, m)
	}
	for _, h := range a.Held {
		all = append(all, h)
	}
	all = append(all, broken...)
	whole := map[string]bool{} // builds that are not copied at all
	for _, err := range all {
		if h := heldBy(err); h.Kind == "build" && h.Name != "" {
			whole[h.Name] = true
		}
	}
	// A build that is not copied needs no further message about its files.
	all = slices.DeleteFunc(all, func(err error) bool { h := heldBy(err); return h.Kind != "build" && whole[h.Name] })
	if len(all) == 0 {
		return nil
	}
	return &LeftOutError{all}
}

// Bytes returns how many bytes Apply will read to make files, as far as is known.
func (a Actions) Bytes() (n int64) {
	for _, b := range a.Builds {
		n += b.bytes()
	}
	return n
}

// files returns how many files Apply will make, without symlinks.
func (a Actions) files() (n int64) {
	for _, b := range a.Builds {
		for _, f := range b.Files {
			if f.Op != OpSymlink {
				n++
			}
		}
	}
	return n
}

func (b BuildAction) bytes() (n int64) {
	for _, f := range b.Files {
		n += max(f.Bytes, 0)
	}
	return n
}

// WriteTo prints one line for each action, in a stable order. The names were checked: none has a line break.
func (a Actions) WriteTo(w io.Writer) (int64, error) {
	c := &counting{w: bufio.NewWriter(w)}
	line := func(format string, args ...any) { fmt.Fprintf(c, format+"\n", args...) }
	verb := func(l LinkAction) string {
		switch {
		case l.Switch:
			return "switch"
		case l.Convert:
			return "convert"
		case l.Mend:
			return "mend"
		}
		return "link"
	}
	if a.Rebuilt != "" {
		line("make the ledger anew: %q", a.Rebuilt)
	}
	for _, l := range a.Volumes {
		line("%s %s -> %s", verb(l), l.Path, l.Target)
	}
	for _, b := range a.Builds {
		if len(b.Files) == 0 {
			line("complete %s", b.Dir)
		}
		for _, f := range b.Files {
			switch {
			case f.Op == OpSymlink:
				line("symlink %s/%s -> %s", b.Dir, f.Path, f.Target)
			case f.Bytes < 0:
				line("%s %s/%s", f.Op, b.Dir, f.Path)
			default:
				line("%s %s/%s %d bytes", f.Op, b.Dir, f.Path, f.Bytes)
			}
		}
	}
	for _, l := range a.Links {
		line("%s %s -> %s", verb(l), l.Path, l.Target)
	}
	for _, c := range a.Own {
		line("own %s", c)
	}
	for _, l := range a.RemoveLinks {
		line("unlink %s -> %s", l.Path, l.Target)
	}
	for _, r := range a.Remove {
		line("remove %s %d files %d bytes", r.Dir, r.Files, r.Bytes)
		if r.Stub != "" {
			line("link %s -> %s", r.Dir, r.Stub)
		}
	}
	for _, f := range a.Stale {
		line("remove %s/%s %d bytes: production does not have it any longer", f.Dir, f.Path, f.Bytes)
		if f.Target != "" {
			line("symlink %s/%s -> %s", f.Dir, f.Path, f.Target)
		}
	}
	for _, b := range a.Leaving {
		line("unwanted %s", b.NVR())
	}
	for _, g := range a.Grace {
		line("keep %s until %s", g.Dir, g.Until.UTC().Format(time.RFC3339))
	}
	for _, s := range a.Strays {
		if s.Keep != "" {
			line("keep %s: left by a move that failed, it seems, but %s", s.Path, s.Keep)
		} else {
			line("remove %s %d files %d bytes: left by a move that failed", s.Path, s.Files, s.Bytes)
		}
	}
	for _, k := range a.Kept {
		line("keep %s: %s", k.Path, k.Why)
	}
	for _, n := range a.Nowhere {
		line("nowhere volume %s: %d builds, %d left out: %s", n.Volume, n.Builds, n.Wanted, n.Why)
	}
	for _, m := range a.Missing {
		line("missing %s %s", m.Build, m.Path)
	}
	for _, b := range a.LeftOut {
		line("leave %s on %s", b.NVR(), b.Volume)
	}
	for _, h := range a.Held {
		line("hold %s", h.Error())
	}
	return c.n, c.w.Flush()
}

type counting struct {
	w *bufio.Writer
	n int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
