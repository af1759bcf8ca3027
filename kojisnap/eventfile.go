package kojisnap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/durable"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// EventFileName is the default name of the file with the event to pin. It is below topdir, so that topdir's web
// server serves it.
const EventFileName = "kojisnap-event"

// EventFile is a file with the event to pin composes at: its number and a newline, readable for all. A load
// writes it after its commit, so that it never names an event that the database does not hold. If a load is
// killed in between, the next one writes it, even if it has nothing else to do.
type EventFile struct {
	Path string // "": none
	// Asked says that somebody named the file: if it cannot be written, that is an error, and otherwise only
	// logged.
	Asked bool
	Owner *topdir.Owner // nil: the process's
}

// eventText matches what such a file holds. A file with anything else is not kojisnap's.
var eventText = regexp.MustCompile(`^[0-9]{1,19}\n$`)

// read returns the event in the file, 0 if there is no file. It refuses a file that is not kojisnap's.
func (f EventFile) read() (event int64, err error) {
	info, err := os.Lstat(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, f.foreign("no regular file")
	}
	in, err := os.OpenFile(f.Path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	body, err := io.ReadAll(io.LimitReader(in, 32))
	if err != nil {
		return 0, err
	}
	if len(body) > 0 && !eventText.Match(body) {
		return 0, f.foreign("not one number alone")
	}
	event, _ = strconv.ParseInt(string(body[:max(0, len(body)-1)]), 10, 64)
	return event, nil
}

func (f EventFile) foreign(what string) error {
	return fmt.Errorf("event file %s: what is there is %s, and so not kojisnap's: remove it, or name another file with --event-file (--event-file '': none)", f.Path, what)
}

// check refuses, before any work is done, a file that somebody named and that could not be written afterwards.
func (f EventFile) check() error {
	if f.Path == "" || !f.Asked {
		return nil
	}
	if _, err := f.read(); err != nil {
		return err
	}
	if err := durable.CheckWritable(f.Path); err != nil {
		return fmt.Errorf("event file: %w", err)
	}
	return nil
}

// remove removes the file before a load to an earlier event than the database holds: nobody must pin that
// event once the load is done. write makes the file again.
func (f EventFile) remove(ctx context.Context, conn *pgx.Conn, env string, event int64) error {
	if f.Path == "" {
		return nil
	}
	pin, err := status.ReadPin(ctx, conn)
	if err != nil || pin.Mark.CheckEnv(env) != nil || pin.Event <= event {
		return nil // the load says what is wrong
	}
	if have, err := f.read(); err != nil || have == 0 {
		return nil // write says what is wrong
	}
	if err := os.Remove(f.Path); err != nil && f.Asked {
		return fmt.Errorf("event file: %w", err)
	}
	return nil
}

// write writes the event to pin, if the database is the environment's. Then it asks the database once more,
// because another load may have committed meanwhile.
func (f EventFile) write(ctx context.Context, conn *pgx.Conn, env string) error {
	if f.Path == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for written := int64(-1); ; {
		pin, err := status.ReadPin(ctx, conn)
		if err == nil {
			err = pin.Mark.CheckEnv(env)
		}
		if err != nil || pin.Event == written {
			return err
		}
		if err := f.put(pin.Event); err != nil {
			return err
		}
		written = pin.Event
	}
}

// unwritten returns or logs the error of write after a successful load.
func (f EventFile) unwritten(ctx context.Context, err error, log *slog.Logger) error {
	switch {
	case err == nil:
		return nil
	case f.Asked:
		return fmt.Errorf("all is done but for the event file: %w", err)
	case log == nil:
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS): // a host that only reads topdir
		log.InfoContext(ctx, "the event to pin is not kept in a file that composes can read", "err", err)
	default:
		log.WarnContext(ctx, "the event to pin is not kept in a file that composes can read", "err", err)
	}
	return nil
}

// put replaces the file if it has another event.
func (f EventFile) put(event int64) error {
	have, err := f.read()
	if err != nil || have == event {
		return err
	}
	if event == 0 {
		return os.Remove(f.Path)
	}
	f.tidy()
	return durable.WriteFile(f.Path, func(w io.Writer) error {
		if file, ok := w.(*os.File); ok && f.Owner != nil {
			if err := file.Chown(f.Owner.UID, f.Owner.GID); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintln(w, event)
		return err
	})
}

// tidy removes temporary files that killed loads left.
func (f EventFile) tidy() {
	dir, name := filepath.Split(f.Path)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && durable.IsTemp(e.Name()) && strings.HasPrefix(e.Name(), "."+name+".") && time.Since(info.ModTime()) > time.Hour {
			_ = os.Remove(filepath.Join(dir, e.Name())) // if it stays, it does no harm
		}
	}
}

// EventFileIn returns the path of an event file: an absolute name as it is, any other below topdir. It is empty
// if name is, or if a relative name has no topdir.
func EventFileIn(topdir, name string) (string, error) {
	switch {
	case name == "" || filepath.IsAbs(name):
		return name, nil
	case topdir == "":
		return "", nil
	}
	if err := volumes.CheckPath("event file", name); err != nil {
		return "", err
	}
	return filepath.Join(topdir, name), nil
}
