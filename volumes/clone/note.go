package clone

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap/durable"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

const (
	notesDir = ledger.Dir + "/clones"
	pointer  = ledger.Dir + "/clone" // a symlink to the clone in use
	noteForm = 1
)

// State is how far a clone has come.
type State string

// The states.
const (
	Unfinished State = "unfinished" // it was begun, and not shown yet
	Ready      State = "ready"      // it was shown
	Leaving    State = "leaving"    // it is to be discarded
)

// Note is the note of a clone below topdir. It is there, on the disk, before the clone is made, and until it is gone.
type Note struct {
	Format int `json:"format"`
	Clone
	Provider string    `json:"provider"`
	Volume   string    `json:"volume"`             // staging's name of the volume that shows it
	Snapshot string    `json:"snapshot,omitempty"` // id of the snapshot after which it was made
	Source   string    `json:"source,omitempty"`   // production's tree, for volumes that the clone does not have
	Made     time.Time `json:"made"`
	State    State     `json:"state"`
	Proven   bool      `json:"proven,omitempty"`  // verify found staging ready with it
	Stale    bool      `json:"stale,omitempty"`   // verify found that it no longer shows what it was made of
	Path     string    `json:"path,omitempty"`    // the directory that stands for production's topdir
	Compose  string    `json:"compose,omitempty"` // the directory for composes in it
}

// Link is what vol/NAME/packages says if it shows the clone.
func (n *Note) Link() volumes.Link {
	return volumes.VolumeLink{Name: n.Volume, Source: "."}.Link(n.Path)
}

// Check says why the clone cannot be used: it is gone, not mounted, or stale (*StaleError).
func (n *Note) Check() error {
	packages := filepath.Join(n.Path, "packages")
	names, err := readNames(packages)
	switch {
	case n.Stale:
		return &StaleError{n.ID, "verify found that it no longer shows what it was made of"}
	case errors.Is(err, fs.ErrNotExist):
		if n.Lower != nil && n.Lower.Check() != nil {
			break
		}
		return fmt.Errorf("clone %s: %s is not there: it was removed, or is not mounted; kojisnap clones --mount mounts clones again, kojisnap clone makes a new one", n.ID, packages)
	case err != nil:
		return &StaleError{n.ID, fmt.Sprintf("it cannot be read: %v", err)}
	case names == 0:
		return &StaleError{n.ID, packages + " is empty"}
	}
	if n.Lower == nil {
		return nil
	}
	if err := n.Lower.Check(); err != nil {
		err.(*StaleError).ID = n.ID
		return err
	}
	return nil
}

// readNames returns how many names a directory has, at most 1.
func readNames(dir string) (int, error) {
	f, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	names, err := f.Readdirnames(1)
	if err == io.EOF {
		err = nil
	}
	return len(names), err
}

// Notes returns the notes of a topdir's clones, the oldest first. A note that cannot be read is an error: a clone
// that nobody remembers is never removed.
func Notes(topdir string) ([]Note, error) {
	dir := filepath.Join(topdir, notesDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("notes of clones: %w", err)
	}
	var notes []Note
	for _, e := range entries {
		id, isNote := strings.CutSuffix(e.Name(), ".json")
		if !isNote || durable.IsTemp(e.Name()) {
			continue
		}
		n, err := readNote(filepath.Join(dir, e.Name()))
		if err == nil && n.ID != id {
			err = fmt.Errorf("is the note of %q", n.ID)
		}
		if err != nil {
			return nil, fmt.Errorf("note of a clone %s: %w: correct it, or remove it, and the clone", filepath.Join(dir, e.Name()), err)
		}
		notes = append(notes, n)
	}
	slices.SortFunc(notes, func(a, b Note) int { return cmp.Or(a.Made.Compare(b.Made), strings.Compare(a.ID, b.ID)) })
	return notes, nil
}

func readNote(path string) (n Note, err error) {
	f, err := os.Open(path)
	if err != nil {
		return n, err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&n); err != nil {
		return n, err
	}
	if _, err := ParseID(n.ID); err != nil {
		return n, err
	}
	switch {
	case n.Format != noteForm:
		return n, fmt.Errorf("format %d: this kojisnap reads format %d", n.Format, noteForm)
	case n.State != Unfinished && n.State != Ready && n.State != Leaving:
		return n, fmt.Errorf("state %q is unknown", n.State)
	case (n.State == Ready || n.Path != "") && !filepath.IsAbs(n.Path):
		return n, fmt.Errorf("path %q is not absolute", n.Path)
	}
	return n, volumes.CheckName("staging volume name", n.Volume)
}

// Current returns the note of the clone that a staging volume of a topdir shows, nil if it shows none.
func Current(topdir, volume string) (*Note, error) {
	if err := volumes.CheckName("staging volume name", volume); err != nil {
		return nil, err
	}
	notes, err := Notes(topdir)
	if err != nil || len(notes) == 0 {
		return nil, err
	}
	return currentOf(notes, topdir, volume), nil
}

func currentOf(notes []Note, topdir, volume string) *Note {
	target, err := os.Readlink(filepath.Join(topdir, "vol", volume, "packages"))
	if err != nil {
		return nil
	}
	for i, n := range notes {
		if n.Path != "" && n.Volume == volume && target == n.Link().Target {
			return &notes[i]
		}
	}
	return nil
}

// OnRecord reports whether a directory is a clone, by a topdir's notes.
func OnRecord(topdir, dir string) bool {
	notes, err := Notes(topdir)
	if err != nil {
		return false
	}
	info, err := os.Stat(dir)
	return err == nil && slices.ContainsFunc(notes, func(n Note) bool {
		if n.Path == "" || n.State == Leaving {
			return false
		}
		is, err := os.Stat(n.Path)
		return err == nil && os.SameFile(info, is)
	})
}

// write makes a note durable.
func (n *Note) write(top *topdir.Dir) error {
	n.Format = noteForm
	if err := top.EnsureDir(notesDir); err != nil {
		return err
	}
	text, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	err = durable.WriteFile(top.Join(notesDir+"/"+n.ID+".json"), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		if f, ok := w.(*os.File); ok && err == nil {
			err = top.Own(f)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("note of clone %s: %w", n.ID, err)
	}
	return nil
}

func (n *Note) remove(top *topdir.Dir) error {
	return durable.Remove(top.Join(notesDir + "/" + n.ID + ".json"))
}
