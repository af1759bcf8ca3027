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

// Op is how a file comes to be, or what becomes of it.
type Op string

const (
	OpLink    Op = "hardlink"
	OpReflink Op = "reflink"
	OpCopy    Op = "copy"
	OpSplice  Op = "splice" // a signed copy of signature header and unsigned rpm
	OpFetch   Op = "fetch"
	OpSymlink Op = "symlink"
)

// Actions is what is to do, as data: Diff computes it, --dry-run prints it, Apply
// does it. The zero value is nothing.
type Actions struct {
	CopyVolume  string                 `json:"copy_volume,omitempty"`
	Volumes     []LinkAction           `json:"volumes,omitempty"`
	Builds      []BuildAction          `json:"builds,omitempty"`
	Links       []LinkAction           `json:"links,omitempty"`
	RemoveLinks []volumes.Link         `json:"remove_links,omitempty"`
	Remove      []RemoveAction         `json:"remove,omitempty"`
	Stale       []StaleFile            `json:"stale,omitempty"`    // single files of wanted builds that go
	Own         []topdir.Change        `json:"own,omitempty"`      // owners and modes that are not as they are to be
	Strays      []Stray                `json:"strays,omitempty"`   // copies that moves in Koji left when they failed
	Kept        []Kept                 `json:"kept,omitempty"`     // not ours, so it stays
	Nowhere     []Nowhere              `json:"nowhere,omitempty"`  // production's volumes that are not here
	Missing     []*source.MissingError `json:"missing,omitempty"`  // wanted, and at no source: their builds are left out
	LeftOut     []volumes.Build        `json:"left_out,omitempty"` // not on the copy volume for that; Volume is where they stay
	Held        []*HeldError           `json:"-"`                  // what else is kept back: results have it in one list with Missing
	Present     int                    `json:"present"`            // files that are there already
	Absent      int                    `json:"absent"`             // optional files that production does not have
	Damaged     []Damaged              `json:"damaged,omitempty"`  // files that were put there, are damaged since, and are made again
	Adopted     int                    `json:"adopted,omitempty"`  // present files and symlinks that the ledger did not have
	Rebuilt     string                 `json:"rebuilt,omitempty"`  // why the ledger is made anew
	Leaving     []volumes.Build        `json:"leaving,omitempty"`  // on the copy volume, found unwanted now
	Grace       []GraceBuild           `json:"grace,omitempty"`    // on the copy volume, unwanted, and kept for some time yet

	logs       map[string]*ledger.Build // by directory: see seenLogs
	away       []string                 // of each build that is left out because its volume is not here, production's volume
	removal    bool                     // of DiffRemove
	retargeted bool                     // symlinks of builds are moved over to the path that the hub has for topdir

	known   *ledger.Ledger // that Diff compared with
	instead *ledger.Ledger // the ledger from now on, if it is made anew
	notes   ledger.Batch   // what the ledger learns of what is there already
}

// GraceBuild is a build that no plan has wanted since a time, and that may go later.
type GraceBuild struct {
	Build volumes.Build `json:"build"` // on the copy volume
	Dir   string        `json:"dir"`
	Since time.Time     `json:"since"`
	Until time.Time     `json:"until"`
}

// add adds what was found of a build.
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

// LinkAction makes a symlink, or has it say another thing.
type LinkAction struct {
	volumes.Link
	Switch bool `json:"switch,omitempty"`
	// Convert: of a volume, whose directory replaces a symlink.
	Convert bool `json:"convert,omitempty"`
	// Mend: it was there, and is gone: by a delete or a move in Koji that failed, mostly.
	Mend bool `json:"mend,omitempty"`

	stray *Stray // that is in its place
}

// BuildAction makes files of a build on the copy volume. One without files marks a
// build complete whose making was interrupted at its very end.
type BuildAction struct {
	Build        volumes.Build `json:"build"`  // with production's volume
	SourceVolume string        `json:"behind"` // the staging volume that leads to production's files of it
	Source       string        `json:"source"` // production's directory of it, relative to production's topdir
	Dir          string        `json:"dir"`    // relative to topdir
	New          bool          `json:"new"`    // the directory is renamed into place at once
	Files        []FileAction  `json:"files,omitempty"`
	Dirs         []string      `json:"dirs,omitempty"` // in it: symlinks of ours that become directories
	Stub         bool          `json:"stub,omitempty"` // its directory takes the place of a symlink of ours

	single  *ledger.Build  // has the symlinks whose directory a FileAction with Dir replaces
	entries []ledger.Entry // that the ledger is to have beside those of Files
	again   bool           // something of it was kept back: the next run is to look at it, too
}

// replaces tells whether a file is in a directory that takes the place of a symlink.
func (b *BuildAction) replaces(file string) bool {
	return slices.ContainsFunc(b.Dirs, func(dir string) bool { return strings.HasPrefix(file, dir+"/") })
}

// FileAction makes a file of a build. Op is what is expected: a hard link that
// cannot be made becomes a reflink or a copy.
type FileAction struct {
	Op      Op            `json:"op"`
	Path    string        `json:"path"`            // below the build's directory
	Bytes   int64         `json:"bytes,omitempty"` // -1: not known
	Target  string        `json:"target,omitempty"`
	Replace bool          `json:"replace,omitempty"` // ours is there, and damaged or a symlink
	Dir     bool          `json:"dir,omitempty"`     // a symlink that takes the place of a directory of symlinks of ours
	File    *volumes.File `json:"file,omitempty"`    // what is planned, with size and digest; of a symlink nothing
}

// RemoveAction removes a build that is not wanted any longer from the copy volume.
type RemoveAction struct {
	Build volumes.Build `json:"build"` // on the copy volume
	Dir   string        `json:"dir"`
	Files int           `json:"files"`
	Bytes int64         `json:"bytes"`
	Stub  string        `json:"stub,omitempty"` // what the symlink in its place says; "": there is none
}

// StaleFile is a file or a symlink of a wanted build that goes: no row of production's names it any longer, or what
// production has under its name is another file. It may be gone already, and only the ledger has it.
type StaleFile struct {
	Build  volumes.Build `json:"build"` // on the copy volume
	Dir    string        `json:"dir"`
	Path   string        `json:"path"`             // below the build's directory
	Bytes  int64         `json:"bytes"`            // of a symlink 0
	Target string        `json:"target,omitempty"` // what the symlink in its place says; "": there is none
}

// Kept is something below topdir that is not as the plan has it, and stays.
type Kept struct {
	Path string `json:"path"`
	Why  string `json:"why"`
	// Wanted: a compose needs what the plan has there.
	Wanted bool `json:"wanted,omitempty"`
}

// Pending tells whether Apply would change anything but what the ledger knows.
func (a Actions) Pending() bool {
	return len(a.Volumes)+len(a.Builds)+len(a.Links)+len(a.RemoveLinks)+len(a.Remove)+len(a.Stale)+len(a.Own) > 0 || a.instead != nil ||
		slices.ContainsFunc(a.Strays, func(s Stray) bool { return s.Keep == "" })
}

// Err is a *LeftOutError of the files that no source has and of what else is kept back, nil if that
// is nothing.
func (a Actions) Err() error { return a.leftOut(nil) }

func (a Actions) leftOut(broken []error) error {
	// In what order they failed differs from run to run.
	slices.SortStableFunc(broken, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	var all []error
	for _, m := range a.Missing {
		all = append(all, m)
	}
	for _, h := range a.Held {
		all = append(all, h)
	}
	all = append(all, broken...)
	whole := map[string]bool{} // builds that get no copy at all
	for _, err := range all {
		if h := heldBy(err); h.Kind == "build" && h.Name != "" {
			whole[h.Name] = true
		}
	}
	// What the copy of one of these would lack is no news.
	all = slices.DeleteFunc(all, func(err error) bool { h := heldBy(err); return h.Kind != "build" && whole[h.Name] })
	if len(all) == 0 {
		return nil
	}
	return &LeftOutError{all}
}

// Bytes is how many bytes Apply will read to make files, as far as is known.
func (a Actions) Bytes() (n int64) {
	for _, b := range a.Builds {
		n += b.bytes()
	}
	return n
}

// files is how many files Apply will make, symlinks not among them.
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

// WriteTo prints one line an action, in stable order. The names in it were
// checked: none holds a line break.
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
