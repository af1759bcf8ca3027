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
)

// EventFileName is where the event to pin is kept below topdir, whose web server serves it, if nothing else
// is said.
const EventFileName = "kojisnap-event"

// EventFile is a file with the event to pin composes at: its number and a newline, readable for all. A load
// writes it after its commit, so that it never names an event that the database does not hold; what a kill
// kept from being written the next load writes, also one that has nothing else to do.
type EventFile struct {
	Path string // "": none
	// Asked says that somebody named the file: that it cannot be written is an error. Else it is told.
	Asked bool
	Owner *volumes.Owner // nil: the process's
}

// eventText is what such a file holds. Anything else is somebody else's.
var eventText = regexp.MustCompile(`^[0-9]{1,19}\n$`)

// read returns the event that the file has, 0 if there is none. What is there and not such a file is an error
// that says so.
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

// check refuses, before the work, a file that somebody named and that could not be written after it.
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

// withdraw takes the file away before a load goes back behind the event that the database holds: that one is
// not to be pinned any longer once the load is done. write gives it back.
func (f EventFile) withdraw(ctx context.Context, conn *pgx.Conn, env string, event int64) error {
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

// write gives the file the event to pin by the database, if that is the environment's. It looks once more:
// another load may have come and gone meanwhile.
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

// unwritten is what follows of a file that could not be written after a load that went well.
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

// put replaces the file, if it says another event.
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

// tidy removes what kills left.
func (f EventFile) tidy() {
	dir, name := filepath.Split(f.Path)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && durable.IsTemp(e.Name()) && strings.HasPrefix(e.Name(), "."+name+".") && time.Since(info.ModTime()) > time.Hour {
			_ = os.Remove(filepath.Join(dir, e.Name())) // it is in nobody's way
		}
	}
}

// EventFileIn is the file that a name stands for: below topdir, unless it is an absolute path. Without a topdir
// there is none.
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
