package lockfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// holder is the note that the holder of a lock file writes into it, for processes that find it locked.
type holder struct {
	Kojisnap string    `json:"kojisnap"` // "lock": a file that has anything else is not written
	PID      int       `json:"pid"`
	Host     string    `json:"host"`
	Command  string    `json:"command"`
	Since    time.Time `json:"since"`
}

const (
	holderMark = "lock"
	maxHolder  = 4096
)

// noteHolder writes a note about this process into a lock file that it holds, and returns a function that
// removes the note. The lock works without a note: the file may be another user's, or have other content.
func noteHolder(path, command string) (remove func()) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return func() {}
	}
	var info syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &info); err != nil || info.Mode&syscall.S_IFMT != syscall.S_IFREG || info.Nlink != 1 || info.Size > 0 && readHolder(f) == nil {
		f.Close()
		return func() {}
	}
	host, _ := os.Hostname()
	body, err := json.Marshal(holder{holderMark, os.Getpid(), host, command, time.Now().UTC().Truncate(time.Second)})
	if err == nil && f.Truncate(0) == nil {
		_, _ = f.WriteAt(append(body, '\n'), 0)
	}
	return func() {
		_ = f.Truncate(0) // not by its name, which may lead elsewhere by now
		f.Close()
	}
}

// readHolder returns the note in a lock file, nil if there is none of kojisnap's.
func readHolder(r io.Reader) *holder {
	body, err := io.ReadAll(io.LimitReader(r, maxHolder))
	var h holder
	if err != nil || json.Unmarshal(body, &h) != nil || h.Kojisnap != holderMark {
		return nil
	}
	if odd := func(r rune) bool { return !unicode.IsPrint(r) }; h.PID <= 0 || strings.ContainsFunc(h.Host+h.Command, odd) {
		return nil // not a kojisnap's: anyone who may write the file may have put it there
	}
	return &h
}

// liveHolder is readHolder, but nil if the note is that of a process that was killed.
func liveHolder(r io.Reader) *holder {
	h := readHolder(r)
	host, _ := os.Hostname()
	if h == nil || h.Host == host && errors.Is(syscall.Kill(h.PID, 0), syscall.ESRCH) {
		return nil
	}
	return h
}

// heldError is ErrLocked with the holder of the file, if the file has a note.
func heldError(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ErrLocked
	}
	defer f.Close()
	h := liveHolder(f)
	if h == nil {
		return fmt.Errorf("%w (the file does not say which; fuser %s tells)", ErrLocked, path)
	}
	return fmt.Errorf("%w: pid %d on %s, kojisnap %s, since %s", ErrLocked, h.PID, h.Host, h.Command, h.Since.Format(time.RFC3339))
}

// command is the command of this process, without its flags, which may hold passwords.
func command() string {
	for _, arg := range os.Args[1:] {
		if !strings.HasPrefix(arg, "-") {
			return arg
		}
	}
	return filepath.Base(os.Args[0])
}
