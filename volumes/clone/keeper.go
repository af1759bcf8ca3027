package clone

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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

// Keeper keeps the clones of one topdir. All fields but Compose, Attributes, ComposeOwner, Keep and Source are needed.
type Keeper struct {
	Topdir       string
	Volume       string // staging's name of the volume that shows production's topdir
	Env          string
	Source       string // production's tree, which other volumes go on to show
	ProviderName string
	Provider     Provider
	Keep         int    // so many clones stay beside the one in use
	Compose      string // the directory for composes, made in each clone; empty: none is made
	ComposeOwner *topdir.Owner
	Attributes   topdir.Attributes // of notes and symlinks below topdir
	Log          *slog.Logger
	Now          func() time.Time // nil: time.Now
	// Hook, if not nil, is called after each step with its name; if it fails, so does the step. It is for tests.
	Hook func(step string) error
}

// Cloned is what Make did.
type Cloned struct {
	ID       string  `json:"id"`
	Path     string  `json:"path"`               // the clone, as staging's topdir is to production
	Compose  string  `json:"compose,omitempty"`  // the directory for composes in it
	Resumed  bool    `json:"resumed,omitempty"`  // an earlier run had begun it
	Previous string  `json:"previous,omitempty"` // the clone that was in use before
	Kept     bool    `json:"kept,omitempty"`     // nothing was made: the clone in use is of the snapshot
	Seconds  float64 `json:"seconds"`
}

// held is an open topdir, with its lock.
type held struct {
	*topdir.Dir
	unlock func()
}

func (h held) close() { h.unlock(); h.Close() }

// open opens topdir and takes the lock that all changes below it take.
func (k *Keeper) open() (held, error) {
	if err := volumes.CheckName("staging volume name", k.Volume); err != nil {
		return held{}, err
	}
	readOnly := k.Source
	if _, err := os.Stat(readOnly); err != nil {
		readOnly = "" // what is not here cannot be topdir
	}
	top, err := topdir.Open(k.Topdir, readOnly)
	if err != nil {
		return held{}, err
	}
	top.SetAttributes(k.Attributes)
	unlock, err := ledger.Lock(top)
	if err != nil {
		top.Close()
		return held{}, err
	}
	return held{top, unlock}, nil
}

// openNotes is open, and reads the notes of all clones.
func (k *Keeper) openNotes() (held, []Note, error) {
	top, err := k.open()
	if err != nil {
		return held{}, nil, err
	}
	notes, err := Notes(top.Path())
	if err != nil {
		top.close()
		return held{}, nil, err
	}
	return top, notes, nil
}

func (k *Keeper) step(name string) error {
	if k.Hook == nil {
		return nil
	}
	return k.Hook(name)
}

func (k *Keeper) now() time.Time {
	if k.Now == nil {
		return time.Now()
	}
	return k.Now()
}

// Make makes a clone after an event of production, and leads the volume there. If an earlier run began one after the
// same event, it goes on with that. Until the last step the volume shows what it showed before.
func (k *Keeper) Make(ctx context.Context, event int64, snapshot string) (*Cloned, error) {
	began := time.Now()
	top, notes, err := k.openNotes()
	if err != nil {
		return nil, err
	}
	defer top.close()
	m := &Cloned{}
	if now := currentOf(notes, top.Path(), k.Volume); now != nil {
		m.Previous = now.ID
		if now.State == Unfinished { // killed when it was just shown
			now.State = Ready
			if err := now.write(top.Dir); err != nil {
				return nil, err
			}
		}
	}
	n, err := k.begin(top, notes, event, snapshot, m)
	if err != nil {
		return nil, err
	}
	if err := k.build(ctx, top, n); err != nil {
		return nil, fmt.Errorf("clone %s by %s: %w", n.ID, k.ProviderName, err)
	}
	if err := k.switchTo(top, notes, n); err != nil {
		return nil, fmt.Errorf("clone %s: %w", n.ID, err)
	}
	m.ID, m.Path, m.Compose, m.Seconds = n.ID, n.Path, n.Compose, time.Since(began).Round(time.Millisecond).Seconds()
	return m, nil
}

// begin returns the note of the clone to make: of one that an earlier run began after the same event, or a new one.
func (k *Keeper) begin(top held, notes []Note, event int64, snapshot string, m *Cloned) (*Note, error) {
	id, err := NewID(k.Env, event, k.now())
	if err != nil {
		return nil, err
	}
	for _, n := range slices.Backward(notes) {
		begun, err := ParseID(n.ID)
		if err == nil && n.State == Unfinished && k.mine(n) && begun.Event == event {
			m.Resumed = true
			return &n, nil
		}
	}
	for slices.ContainsFunc(notes, func(n Note) bool { return n.ID == id.String() }) { // two in one second
		id.Time = id.Time.Add(time.Second)
	}
	n := &Note{Clone: Clone{ID: id.String()}, Provider: k.ProviderName, Volume: k.Volume, Snapshot: snapshot, Source: k.Source, Made: k.now().UTC(), State: Unfinished}
	if err := n.write(top.Dir); err != nil {
		return nil, err
	}
	return n, k.step("note")
}

// mine reports whether a note is of a clone that this keeper's provider made for its environment and volume.
func (k *Keeper) mine(n Note) bool {
	id, err := ParseID(n.ID)
	return err == nil && id.Env == k.Env && n.Provider == k.ProviderName && n.Volume == k.Volume
}

// build makes the clone of a note, and everything in it, but does not show it.
func (k *Keeper) build(ctx context.Context, top held, n *Note) error {
	id, err := ParseID(n.ID)
	if err != nil {
		return err
	}
	c, err := k.Provider.Create(ctx, id)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if c.ID != n.ID {
		return fmt.Errorf("create: the provider answered with clone %q", c.ID)
	}
	if err := k.step("create"); err != nil {
		return err
	}
	path, err := k.Provider.Mount(ctx, c)
	if err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if err := k.step("mount"); err != nil {
		return err
	}
	if err := k.checkPlace(top, path); err != nil {
		return err
	}
	n.Clone, n.Path = c, filepath.Clean(path)
	if err := k.makeCompose(n); err != nil {
		return err
	}
	if err := k.step("compose"); err != nil {
		return err
	}
	if err := n.write(top.Dir); err != nil {
		return err
	}
	return k.step("built")
}

// checkPlace refuses a path that is not that of a tree of production's, apart from topdir.
func (k *Keeper) checkPlace(top held, path string) error {
	if !filepath.IsAbs(path) || strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("mount: the provider says that the clone is at %q: want an absolute path", path)
	}
	if _, err := topdir.CheckReadOnlyVolume(path); err != nil {
		return fmt.Errorf("the clone is not production's tree: %w", err)
	}
	if names, err := readNames(filepath.Join(path, "packages")); err != nil || names == 0 {
		return errors.Join(err, fmt.Errorf("the clone is not production's tree: %s is empty", filepath.Join(path, "packages")))
	}
	// Opened so, topdir is refused if it is the clone, or below it.
	other, err := topdir.Open(top.Path(), path)
	if err != nil {
		return err
	}
	other.Close()
	return writable(path)
}

// writable refuses a clone on a read-only mount.
func writable(path string) error {
	m, err := topdir.MountOf(resolved(path))
	if err == nil && m.ReadOnly {
		err = fmt.Errorf("the clone at %s is mounted read-only (%s, %s): composes could not write in it", path, m.Source, m.Type)
	}
	return err
}

func resolved(path string) string {
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	return path
}

// makeCompose makes the directory for composes in the clone. It is all that kojisnap writes there.
func (k *Keeper) makeCompose(n *Note) error {
	if k.Compose == "" {
		return nil
	}
	if err := volumes.CheckName("name of the directory for composes", k.Compose); err != nil {
		return err
	}
	root, err := os.OpenRoot(n.Path) // so that no symlink of production's tree leads elsewhere
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Mkdir(k.Compose, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("directory for composes: %w", err)
	}
	info, err := root.Lstat(k.Compose)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is there in production, and is no directory: choose another name for the directory of composes", k.Compose)
	}
	if err == nil && k.ComposeOwner != nil {
		err = root.Lchown(k.Compose, k.ComposeOwner.UID, k.ComposeOwner.GID)
	}
	if err != nil {
		return fmt.Errorf("directory for composes: %w", err)
	}
	n.Compose = filepath.Join(n.Path, k.Compose)
	return nil
}

// switchTo leads the volume to a clone by one rename, and then the pointer.
func (k *Keeper) switchTo(top held, notes []Note, n *Note) error {
	if err := k.lead(top, notes, n.Link()); err != nil {
		return err
	}
	if err := k.step("switch"); err != nil {
		return err
	}
	n.State = Ready
	if err := n.write(top.Dir); err != nil {
		return err
	}
	if err := k.step("ready"); err != nil {
		return err
	}
	if err := k.point(top, n.Path); err != nil {
		return err
	}
	return k.step("pointer")
}

// lead makes vol/NAME/packages say where a link leads. What kojisnap did not put there stays, and is an error. The
// ledger is told, if there is one: a topdir that lost its ledger must not get one here, as a copy would take it for whole.
func (k *Keeper) lead(top held, notes []Note, l volumes.Link) error {
	known := ledger.New()
	var intent, done ledger.Batch
	note := func(*ledger.Batch) error { return nil }
	if state, err := ledger.State(top.Path()); err != nil {
		return err
	} else if state != "" {
		have, w, err := ledger.Open(top.Dir, nil)
		if err != nil {
			return err
		}
		defer w.Close()
		known, note = have, w.Append
	}
	ours := func(path, target string) bool {
		return known.Ours(path)(target) || slices.ContainsFunc(notes, func(n Note) bool {
			return n.Path != "" && n.Volume == k.Volume && n.Link() == volumes.Link{Path: path, Target: target}
		})
	}
	if s, err := top.CheckVolume(l, ours); err != nil || s.Outcome == topdir.Unchanged {
		return err
	}
	intent.Link(l.Path, l.Target)
	if err := note(&intent); err != nil {
		return err
	}
	if err := k.step("intent"); err != nil {
		return err
	}
	if err := top.RemoveAll(switchName); err != nil { // a killed run's
		return err
	}
	if _, err := top.EnsureVolume(l, switchName, ours); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(top.Join(l.Path))); err != nil {
		return err
	}
	done.LinksMade(1)
	return note(&done)
}

// switchName is the name that a symlink has before it is renamed.
const switchName = ledger.Dir + "/clone-switch"

// point leads the pointer, a symlink below topdir, to a clone's directory. Empty: the pointer goes.
func (k *Keeper) point(top held, path string) error {
	st, err := top.Readlink(pointer)
	switch {
	case err == nil && st == path:
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case path == "" && err != nil:
		return nil
	case path == "":
		return top.Remove(pointer)
	}
	if err := top.RemoveAll(switchName); err != nil {
		return err
	}
	if err := top.Symlink(path, switchName); err != nil {
		return err
	}
	if err := top.Rename(switchName, pointer); err != nil {
		return err
	}
	return durable.SyncDir(top.Join(ledger.Dir))
}
